"""Streams that begin with a header: decoded by a process of their own, which can be killed when it hangs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from headnod.audio.blocks import Block
from headnod.audio.channels import ChannelMixer
from headnod.audio.containers import kind_of
from headnod.audio.forward import head_of
from headnod.audio.microphone import Capture
from headnod.audio.resampling import OutputRate, Resampler, from_s16
from headnod.errors import AudioError

_FOREVER = 3.0e6
"""Seconds: a writer may pause for as long as it likes."""


def first_bytes(pipe: int) -> bytes:
    """What a pipe begins with: enough to tell what it is, if it gives so much."""
    return head_of(lambda size: os.read(pipe, size))


def stream_blocks(pipe: int, name: str, rate: int | OutputRate) -> Iterator[Block]:
    """The sound of a pipe that gives a WAV, FLAC, Ogg or MP3 file, or another that PyAV reads.

    Args:
        pipe: A file descriptor.
        name: What to call it in errors.
        rate: Sample rate that the blocks shall have.

    Yields:
        Mono blocks in [-1, 1], and changes of an `OutputRate`.
    """
    begins = first_bytes(pipe)
    if not begins:
        message = f"{name}: gave no audio before it ended"
        raise AudioError(message)
    yield from decoded_blocks(pipe, begins, name, rate)


def decoded_blocks(pipe: int, begins: bytes, name: str, rate: int | OutputRate) -> Iterator[Block]:
    """The sound of a pipe whose first bytes were read already."""
    with decoder(pipe, begins, name) as capture:
        resampler, mixer = Resampler(capture.rate, rate), ChannelMixer(capture.rate, capture.channels)
        while samples := capture.read(_FOREVER):
            yield from resampler.blocks(mixer.mix(from_s16(samples, capture.channels)))
        yield resampler.finish()
        capture.check_end()


def decoder(pipe: int, begins: bytes, name: str) -> Capture:
    """A process that decodes a pipe to raw samples.

    Args:
        pipe: A file descriptor that gives the rest of the stream.
        begins: What was read of it already.
        name: What to call it in errors.

    Raises:
        AudioError: It is no audio that can be read.
    """
    command = [sys.executable, "-P", "-m", "headnod.audio.decoder", name, begins.hex()]
    return Capture(command, stdin=pipe, name=name, opening=_FOREVER)


def open_command(command: list[str], rate: int, channels: int) -> Capture:
    """A program that stands for the microphone: its samples, or its file where it writes one with a header.

    Raises:
        AudioError: It cannot be started, gives nothing, or gives a file that cannot be read.
    """
    capture = Capture(command, rate=rate, channels=channels)
    try:
        begins = capture.first_bytes()
        if kind_of(begins) is None:
            return capture
        return decoder(capture.fileno(), begins, f"the output of '{command[0]}'").belongs_to(capture)
    except BaseException:
        capture.close()
        raise
