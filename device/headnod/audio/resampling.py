"""Sample rate and sample format: what came, as mono float32 at the model's rate."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from headnod.audio.blocks import RateChange
from headnod.features.frontend import Audio

KEPT = 4.0
"""Seconds that are repeated after a change of the rate: more than a window of any shipped model."""
_EDGE = 0.05

LEAST_RATE, MOST_RATE = 1_000, 768_000
"""Sample rates outside these are taken for damage."""


class OutputRate:
    """The sample rate that a stream's blocks shall have. It may change while the stream runs."""

    def __init__(self, rate: int) -> None:
        """Deliver blocks of `rate` samples per second."""
        self.wanted = self.delivered = rate


class Resampler:
    """A mono stream brought to another sample rate.

    soxr's anti-alias filter is flat to 91 % of the lower Nyquist frequency, so a
    microphone at 48 kHz gives the features that a file at 22,050 Hz gives.
    """

    def __init__(self, rate: int, wanted: int | OutputRate) -> None:
        """Bring audio of `rate` samples per second to `wanted`.

        For an `OutputRate` the last seconds are kept, so that `blocks` can
        repeat them when the wanted rate changes.
        """
        self._rate, self._output = rate, wanted if isinstance(wanted, OutputRate) else None
        self._start(wanted.delivered if isinstance(wanted, OutputRate) else wanted)
        self._recent: deque[Audio] = deque()
        self._kept = self._taken = self._given = 0

    def convert(self, mono: Audio) -> Audio:
        """Resample what came next, samples in [-1, 1], shape (n,): fewer or more come out, as the filter allows."""
        converted = self._stream.resample_chunk(mono) if self._stream else mono
        self._given += converted.size
        return converted

    def blocks(self, mono: Audio) -> Iterator[Audio | RateChange]:
        """The same, after a change of the wanted rate with the last seconds at the new rate before it."""
        if self._output is not None:
            if self._output.wanted != self._output.delivered:
                yield from self._changed(self._output)
            self._keep(mono)
        yield self.convert(mono)

    def finish(self) -> Audio:
        """What the filter still held when the stream ended."""
        nothing = np.empty(0, np.float32)
        return self._stream.resample_chunk(nothing, last=True) if self._stream else nothing

    def _start(self, wanted: int) -> None:
        self._stream = soxr.ResampleStream(self._rate, wanted, 1, dtype="float32") if self._rate != wanted else None

    def _keep(self, mono: Audio) -> None:
        self._recent.append(mono)
        self._kept += mono.size
        self._taken += mono.size
        while self._kept - self._recent[0].size > KEPT * self._rate:
            self._kept -= self._recent.popleft().size

    def _changed(self, output: OutputRate) -> Iterator[Audio | RateChange]:
        former, rate = output.delivered, output.wanted
        # Only a multiple of this many samples is a whole number at the new rate.
        step = self._rate // math.gcd(self._rate, rate)
        first = self._taken - self._kept
        begin = -(-first // step) * step
        recent = np.concatenate([*self._recent, np.empty(0, np.float32)])[begin - first :]
        given = self._given
        self._start(rate)
        again = self.convert(recent)
        # What the filter makes of a beginning in the midst of sound is left out.
        edge = math.ceil(_EDGE * rate) if begin and again.size > 2 * _EDGE * rate else 0
        place = begin * rate // self._rate + edge
        repeated = round(given * rate / former) - place
        self._given = place - edge + again.size
        output.delivered = rate
        yield RateChange(former, rate, repeated)
        yield again[edge:]


def resampled(audio: Audio, rate: int, wanted: int) -> Audio:
    """A stretch of mono samples at another sample rate, shape (n,)."""
    return np.asarray(soxr.resample(audio, rate, wanted), np.float32)


def from_s16(samples: bytes, channels: int) -> NDArray[np.float32]:
    """Little-endian 16-bit samples, interleaved, as float32 in [-1, 1), shape (n, channels)."""
    whole = np.frombuffer(samples, "<i2").reshape(-1, channels)
    return whole.astype(np.float32) * np.float32(1.0 / 32768.0)
