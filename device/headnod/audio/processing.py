"""Mixing to mono, DC removal and resampling: blocks of any source as the front end needs them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import overload

import numpy as np
import soxr
from numpy.typing import NDArray

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.features.frontend import Audio

MEMORY = 5.0
"""Seconds over which channels are compared."""

QUIET_DB, AUDIBLE_DB = 20.0, 12.0
"""A channel that is this much quieter than the loudest is left out, and taken back when nearer than the second."""

CANCELLED, RESTORED = 0.1, 0.25
"""Power of the mean over the mean of the powers: under the first (correlation below -0.8) channels cancel, over the
second (-0.5) they do not. Independent channels have 0.5."""

STEADY_DB, LIVELY_DB = 0.8, 1.5
"""Scatter of a channel's level over moments of 20 ms: white noise has 0.2 dB, music over 2 dB."""

_WITHIN_DB = 40.0
"""A lively channel this far under a steady one is crosstalk, and no reason to leave the steady one out."""
_SILENT = 1e-10
_MOMENT = 0.02


class ChannelMixer:
    """Mixes a stream to one channel, and changes its choice only on clear evidence (hysteresis).

    >>> mixer = ChannelMixer(22_050, 2)
    >>> hiss = np.random.default_rng(0).normal(0.0, 0.1, 22_050).astype(np.float32)
    >>> np.array_equal(mixer.mix(np.stack([np.zeros_like(hiss), hiss], axis=1)), hiss)
    True
    >>> mixer.used
    (1,)
    """

    def __init__(self, rate: int, channels: int) -> None:
        """Start with all channels.

        Args:
            rate: Frames per second.
            channels: Channels of each frame.
        """
        self._rate = rate
        self.channels = channels
        """Channels of each frame."""
        self._moment = max(round(_MOMENT * rate), 1)
        self._seen = 0.0
        self._covariance = np.zeros((channels, channels))
        self._level, self._square = np.zeros(channels), np.zeros(channels)
        self._audible = np.ones(channels, bool)
        self._steady = np.zeros(channels, bool)
        self._cancels = False
        self.used: tuple[int, ...] = tuple(range(channels))
        """Channels that are mixed now, from 0."""

    def mix(self, frames: NDArray[np.float32]) -> Audio:
        """Mono samples of the next frames, shape (n, channels)."""
        if self.channels == 1 or not len(frames):
            return frames[:, 0] if self.channels == 1 else np.empty(0, np.float32)
        began, before = self._seen > 0.0, self.used
        self._look(frames)
        mono = _mean(frames, self.used)
        if began and before != self.used:
            # A step from one mix to another would sound as a click.
            ramp = np.linspace(0.0, 1.0, min(self._moment, len(mono)), dtype=np.float32)
            mono = mono.copy()
            mono[: ramp.size] += (1.0 - ramp) * (_mean(frames[: ramp.size], before) - mono[: ramp.size])
        return mono

    def _look(self, frames: NDArray[np.float32]) -> None:
        moving = frames - frames.mean(axis=0, dtype=np.float64).astype(np.float32)
        covariance = (moving.T @ moving).astype(np.float64) / len(moving)
        if covariance.diagonal().max() < _SILENT or not np.isfinite(covariance).all():
            return
        seconds = len(frames) / self._rate
        self._seen = min(self._seen + seconds, MEMORY)
        weight = min(seconds / self._seen, 1.0)
        self._covariance += weight * (covariance - self._covariance)
        levels = _moment_levels(frames, self._moment)
        self._level += weight * (levels.mean(axis=0) - self._level)
        self._square += weight * (np.square(levels).mean(axis=0) - self._square)
        self._choose()

    def _choose(self) -> None:
        powers = self._covariance.diagonal()
        below = 10.0 * np.log10(np.maximum(powers, 1e-20) / powers.max())
        scatter = np.sqrt(np.maximum(self._square - np.square(self._level), 0.0))
        lively = (scatter > LIVELY_DB) & (below > -_WITHIN_DB)
        # Where nothing is lively there is no music to compare a steady channel with.
        if lively.any():
            self._steady = (scatter < STEADY_DB) | (self._steady & (scatter < LIVELY_DB))
        candidates = ~self._steady if not self._steady.all() else np.ones_like(self._steady)
        loudest = powers[candidates].max()
        self._audible = np.where(
            self._audible,
            powers > loudest * 10.0 ** (-QUIET_DB / 10.0),
            powers > loudest * 10.0 ** (-AUDIBLE_DB / 10.0),
        )
        chosen = np.flatnonzero(candidates & self._audible)
        left = self._covariance[np.ix_(chosen, chosen)]
        share = left.mean() / max(float(left.diagonal().mean()), 1e-20)
        self._cancels = len(chosen) > 1 and share < (RESTORED if self._cancels else CANCELLED)
        self.used = (int(chosen[left.diagonal().argmax()]),) if self._cancels else tuple(map(int, chosen))


def _mean(frames: NDArray[np.float32], used: tuple[int, ...]) -> Audio:
    if len(used) == 1:
        return frames[:, used[0]]
    return frames.mean(axis=1) if len(used) == frames.shape[1] else frames[:, used].mean(axis=1)


def _moment_levels(frames: NDArray[np.float32], moment: int) -> NDArray[np.float64]:
    """Decibels of each moment, shape (moments, channels), of the difference of neighbours: that takes away hum."""
    step = np.diff(frames, axis=0, prepend=frames[:1])
    size = min(moment, len(step))
    pieces = step[: len(step) // size * size].reshape(-1, size, frames.shape[1])
    return 10.0 * np.log10(np.maximum(np.square(pieces).mean(axis=1, dtype=np.float64), 1e-14))


MEMORY = 10.0
"""Seconds whose mean is taken for the constant: long, so that it stands still while music plays."""


CONSTANT = 0.1
"""Share of the sound's own root mean square from which the mean of a file counts as a constant. The bass of music
leaves up to 0.06 in the mean of 0.4 s; what is under this share stays, so that most files pass to the bit."""


@overload
def centred(blocks: Iterable[Audio], rate: int, *, least: float = 0.0) -> Iterator[Audio]: ...
@overload
def centred(blocks: Iterable[Block], rate: int, *, least: float = 0.0) -> Iterator[Block]: ...
def centred(blocks: Iterable[Block], rate: int, *, least: float = 0.0) -> Iterator[Block]:
    """The same sound about zero.

    Args:
        blocks: Mono samples, and holes.
        rate: Samples per second.
        least: Share of the root mean square that the mean must reach once before it is taken away.

    Yields:
        Each block less the mean of the last seconds. A block whose samples are
        all the same stays so and has no say in the mean: a muted microphone
        must still be seen to be muted.
    """
    seen, mean, power, shifted = 0, 0.0, 0.0, least <= 0.0
    for block in blocks:
        if isinstance(block, Gap):
            yield block
            continue
        if isinstance(block, RateChange):
            seen, rate = block.place(seen), block.rate
            yield block
            continue
        if block.size and np.ptp(block) > 0:
            seen = min(seen + block.size, round(MEMORY * rate))
            weight = min(block.size / seen, 1.0)
            mean += weight * (float(block.mean(dtype=np.float64)) - mean)
            power += weight * (float(block.var(dtype=np.float64)) - power)
            shifted = shifted or abs(mean) > least * np.sqrt(power)
        yield block - np.float32(mean) if shifted else block


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
