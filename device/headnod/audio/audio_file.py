"""Audio files, and Ctrl-C while they are decoded.

libsndfile reads by calling Python, and an exception in such a call is printed and lost: Ctrl-C would be reported as
a damaged file, or have no effect. So signals are delayed to the end of a block.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from headnod.audio.blocks import Block
from headnod.audio.decoding import open_sound
from headnod.audio.processing import CONSTANT, ChannelMixer, OutputRate, Resampler, remove_dc
from headnod.audio.sound import Sound
from headnod.errors import AudioError
from headnod.features.frontend import Audio


@contextmanager
def audio_file(path: Path, rate: int) -> Iterator[Iterator[Audio]]:
    """Open an audio file as mono blocks of one sample rate; see `file_blocks`.

    >>> from headnod.resources import demo_clip
    >>> with audio_file(demo_clip(), 22_050) as blocks:
    ...     round(sum(block.size for block in blocks) / 22_050)
    27
    """
    with file_blocks(path, rate) as blocks:
        yield (block for block in blocks if isinstance(block, np.ndarray))


@contextmanager
def file_blocks(path: Path, rate: int | OutputRate) -> Iterator[Iterator[Block]]:
    """Open an audio file as mono blocks, decoded on demand.

    Args:
        path: The file; also a named pipe, `/dev/stdin` or a process substitution with its content.
        rate: Sample rate of the blocks.

    Yields:
        Mono blocks in [-1, 1] without a DC offset, and changes of an `OutputRate`. For a
        truncated file, all its blocks and then an error.

    Raises:
        AudioError: The file is absent, empty, not audio, or damaged.
    """
    delivered = rate.delivered if isinstance(rate, OutputRate) else rate
    try:
        if _is_pipe(path):
            from headnod.audio.audio_process import stream_blocks  # noqa: PLC0415 - starts a process

            pipe = os.open(path, os.O_RDONLY)
            try:
                yield remove_dc(stream_blocks(pipe, str(path), rate), delivered, least=CONSTANT)
            finally:
                os.close(pipe)
            return
        # Opened by Python, so that the error message names a folder or a missing permission.
        with path.open("rb") as raw:
            yield remove_dc(_blocks(open_sound(raw, str(path)), rate), delivered, least=CONSTANT)
    except AudioError:
        raise
    except OSError as error:
        message = f"{path}: {(error.strerror or str(error)).lower()}"
        raise AudioError(message) from error


def header_duration(path: Path) -> float | None:
    """Duration of a file in seconds according to its header; None if the header has none.

    Raises:
        AudioError: The file is absent or not audio.
    """
    try:
        if _is_pipe(path):
            return None
        with path.open("rb") as raw:
            sound = open_sound(raw, str(path))
            return None if sound.frames is None else sound.frames / sound.rate
    except OSError as error:
        if isinstance(error, AudioError):
            raise
        message = f"{path}: {(error.strerror or str(error)).lower()}"
        raise AudioError(message) from error


def _is_pipe(path: Path) -> bool:
    found = path.stat()
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        message = f"{path}: is empty (was the recording or the copy interrupted?)"
        raise AudioError(message)
    return not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode)


def _blocks(sound: Sound, rate: int | OutputRate) -> Iterator[Block]:
    resampler, mixer = Resampler(sound.rate, rate), ChannelMixer(sound.rate, sound.channels)
    for frames in sound.blocks:
        yield from resampler.blocks(mixer.mix(frames))
    yield resampler.finish()


@contextmanager
def delayed_interrupt() -> Iterator[None]:
    """Delay a Ctrl-C to the end of the `with` block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[bool] = []
    former = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if pressed and callable(former):
        former(signal.SIGINT, None)


def uninterrupted(blocks: Iterator[Audio]) -> Iterator[Audio]:
    """The same blocks, with Ctrl-C delayed to the end of each block."""
    while True:
        with delayed_interrupt():
            block = next(blocks, None)
        if block is None:
            return
        yield block
