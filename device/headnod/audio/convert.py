"""Sample rate and sample format: what came, as mono float32 at the model's rate."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from headnod.frontend import Audio

LEAST_RATE, MOST_RATE = 1_000, 768_000
"""Sample rates outside these are taken for damage."""


class Resampler:
    """A mono stream brought to another sample rate.

    soxr's anti-alias filter is flat to 91 % of the lower Nyquist frequency, so a
    microphone at 48 kHz gives the features that a file at 22,050 Hz gives.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        """Bring audio of `rate` samples per second to `wanted`."""
        self._stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32") if rate != wanted else None

    def convert(self, mono: Audio) -> Audio:
        """Resample what came next, samples in [-1, 1], shape (n,): fewer or more come out, as the filter allows."""
        return self._stream.resample_chunk(mono) if self._stream else mono

    def finish(self) -> Audio:
        """What the filter still held when the stream ended."""
        nothing = np.empty(0, np.float32)
        return self._stream.resample_chunk(nothing, last=True) if self._stream else nothing


def from_s16(samples: bytes, channels: int) -> NDArray[np.float32]:
    """Little-endian 16-bit samples, interleaved, as float32 in [-1, 1), shape (n, channels)."""
    whole = np.frombuffer(samples, "<i2").reshape(-1, channels)
    return whole.astype(np.float32) * np.float32(1.0 / 32768.0)
