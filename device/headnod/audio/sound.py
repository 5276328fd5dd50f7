"""Decoded sound of one file or stream, before it is mixed to mono, and how decoding may fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.audio.channels import ChannelMixer
from headnod.audio.resampling import Resampler
from headnod.errors import AudioError


@dataclass(frozen=True)
class Sound:
    """What an open file holds."""

    rate: int
    """Frames per second."""

    channels: int
    """Channels of each frame."""

    frames: int | None
    """Length that its header promises; None where there is no such promise."""

    blocks: Iterator[NDArray[np.float32]]
    """Samples in [-1, 1], each of shape (n, channels)."""


class CutOffError(AudioError):
    """A file ended before the length that its header promises."""


class DamagedError(AudioError):
    """The decoder met bytes that it cannot read."""


def conformed(sound: Sound, rate: int, channels: int) -> Iterator[NDArray[np.float32]]:
    """The blocks of a sound at another rate and channel count.

    Where either differs the channels are mixed, and each channel that comes out is that mix.
    """
    if (sound.rate, sound.channels) == (rate, channels):
        yield from sound.blocks
        return
    resampler, mixer = Resampler(sound.rate, rate), ChannelMixer(sound.rate, sound.channels)
    for frames in sound.blocks:
        yield np.repeat(resampler.convert(mixer.mix(frames))[:, None], channels, axis=1)
    yield np.repeat(resampler.finish()[:, None], channels, axis=1)
