"""Raw samples from a pipe, such as `arecord -t raw | headnod listen --audio -`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from headnod.audio.blocks import Block
from headnod.audio.channels import ChannelMixer
from headnod.audio.containers import kind_of
from headnod.audio.encoded_stream import decoded_blocks, first_bytes
from headnod.audio.resampling import OutputRate, Resampler, from_s16

_CHUNK = 16_384


def raw_blocks(pipe: int, *, rate: int, wanted: int | OutputRate, channels: int = 1) -> Iterator[Block]:
    """The sound of a pipe until it is closed.

    Args:
        pipe: A file descriptor that gives little-endian 16-bit samples, interleaved; or a WAV, FLAC, Ogg or
            MP3 file, which is recognised by its header and says its own rate and channels.
        rate: Samples per second that come.
        wanted: Sample rate that the blocks shall have.
        channels: Channels that come.

    Yields:
        Mono blocks in [-1, 1), and changes of an `OutputRate`.
    """
    begins = first_bytes(pipe)
    if kind_of(begins) is not None:
        yield from decoded_blocks(pipe, begins, "standard input", wanted)
        return
    resampler, mixer = Resampler(rate, wanted), ChannelMixer(rate, channels)
    rest, width, chunk = b"", 2 * channels, begins
    while chunk:
        whole = rest + chunk
        used = len(whole) // width * width
        rest = whole[used:]
        yield from resampler.blocks(mixer.mix(from_s16(whole[:used], channels)))
        chunk = os.read(pipe, _CHUNK)
    yield resampler.finish()
