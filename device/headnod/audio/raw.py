"""Raw samples from a pipe, such as `arecord -t raw | headnod listen --audio -`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from headnod.audio.channels import ChannelMixer
from headnod.audio.convert import Resampler, from_s16
from headnod.frontend import Audio

_CHUNK = 16_384


def raw_blocks(pipe: int, *, rate: int, wanted: int, channels: int = 1) -> Iterator[Audio]:
    """The sound of a pipe until it is closed.

    Args:
        pipe: A file descriptor that gives little-endian 16-bit samples, interleaved.
        rate: Samples per second that come.
        wanted: Sample rate that the blocks shall have.
        channels: Channels that come.

    Yields:
        Mono blocks in [-1, 1).
    """
    resampler, mixer = Resampler(rate, wanted), ChannelMixer(rate, channels)
    rest, width = b"", 2 * channels
    while chunk := os.read(pipe, _CHUNK):
        whole = rest + chunk
        used = len(whole) // width * width
        rest = whole[used:]
        yield resampler.convert(mixer.mix(from_s16(whole[:used], channels)))
    yield resampler.finish()
