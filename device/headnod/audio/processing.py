"""Mixing to mono, DC removal and resampling, for blocks of any source.

A stereo microphone may have sound on one side only (an I²S module with its L/R pin high,
a broken capsule), and channels of opposite phase cancel in a mean. MEMS microphones on I²S
may add a DC offset of a tenth of full scale, which masks the quiet cells of all features;
recordings made with them have it too, so files and microphones are treated alike.
"""

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

CHANNEL_MEMORY = 5.0
"""Averaging time for the comparison of channels, in seconds."""

QUIET_DB, AUDIBLE_DB = 20.0, 12.0
"""A channel is excluded if it is quieter than the loudest by the first number of decibels, and included again
above the second."""

CANCELLED, RESTORED = 0.1, 0.25
"""Ratio of the power of the mean to the mean of the powers: channels cancel below the first (correlation
below -0.8) until it exceeds the second (-0.5). Independent channels have 0.5."""

STEADY_DB, LIVELY_DB = 0.8, 1.5
"""Standard deviation of the level of a channel over pieces of 20 ms: white noise has 0.2 dB, music over 2 dB.
Below the first a channel counts as steady until it exceeds the second, above the second as lively."""

_WITHIN_DB = 40.0
"""A lively channel that is quieter than a steady one by this is crosstalk, and does not exclude the steady one."""
_SILENT = 1e-10
_PIECE = 0.02


class ChannelMixer:
    """Mixes a stream to the mean of the channels with sound, selected with hysteresis.

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
            channels: Channels per frame.
        """
        self._rate = rate
        self.channels = channels
        """Channels per frame."""
        self._piece = max(round(_PIECE * rate), 1)
        self._seen = 0.0
        self._covariance = np.zeros((channels, channels))
        self._level, self._square = np.zeros(channels), np.zeros(channels)
        self._audible = np.ones(channels, bool)
        self._steady = np.zeros(channels, bool)
        self._cancels = False
        self.used: tuple[int, ...] = tuple(range(channels))
        """Indices of the channels in the mix."""

    def mix(self, frames: NDArray[np.float32]) -> Audio:
        """Mix frames of shape (n, channels) to mono samples of shape (n,)."""
        if self.channels == 1 or not len(frames):
            return frames[:, 0] if self.channels == 1 else np.empty(0, np.float32)
        began, before = self._seen > 0.0, self.used
        self._compare(frames)
        mono = _mean(frames, self.used)
        if began and before != self.used:
            # A cross-fade, because a step from one mix to another would be a click.
            ramp = np.linspace(0.0, 1.0, min(self._piece, len(mono)), dtype=np.float32)
            mono = mono.copy()
            mono[: ramp.size] += (1.0 - ramp) * (_mean(frames[: ramp.size], before) - mono[: ramp.size])
        return mono

    def _compare(self, frames: NDArray[np.float32]) -> None:
        # Sums along rows of two numbers take ten times as long.
        columns = np.ascontiguousarray(frames.T)
        moving = columns - columns.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
        covariance = (moving @ moving.T).astype(np.float64) / len(frames)
        if covariance.diagonal().max() < _SILENT or not np.isfinite(covariance).all():
            return
        seconds = len(frames) / self._rate
        self._seen = min(self._seen + seconds, CHANNEL_MEMORY)
        weight = min(seconds / self._seen, 1.0)
        self._covariance += weight * (covariance - self._covariance)
        levels = _piece_levels(columns, self._piece)
        self._level += weight * (levels.mean(axis=1) - self._level)
        self._square += weight * (np.square(levels).mean(axis=1) - self._square)
        self._select()

    def _select(self) -> None:
        powers = self._covariance.diagonal()
        below = 10.0 * np.log10(np.maximum(powers, 1e-20) / powers.max())
        deviation = np.sqrt(np.maximum(self._square - np.square(self._level), 0.0))
        lively = (deviation > LIVELY_DB) & (below > -_WITHIN_DB)
        # Without a lively channel there is no music to prefer over a steady channel.
        if lively.any():
            self._steady = (deviation < STEADY_DB) | (self._steady & (deviation < LIVELY_DB))
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
    return frames[:, used[0]] if len(used) == 1 else frames[:, used].mean(axis=1)


def _piece_levels(columns: NDArray[np.float32], piece: int) -> NDArray[np.float64]:
    """Level of each piece in decibels, shape (channels, pieces), of differences of neighbours to suppress hum."""
    step = np.diff(columns, axis=1, prepend=columns[:, :1])
    size = min(piece, step.shape[1])
    pieces = step[:, : step.shape[1] // size * size].reshape(len(step), -1, size)
    return 10.0 * np.log10(np.maximum(np.square(pieces).mean(axis=2, dtype=np.float64), 1e-14))


DC_MEMORY = 10.0
"""Averaging time of the DC offset in seconds: long, so that it is constant during music."""

CONSTANT = 0.1
"""Ratio of mean to root mean square above which a file has a DC offset. The bass of music has means of up to
0.06 over 0.4 s; files below this ratio are not changed."""


@overload
def remove_dc(blocks: Iterable[Audio], rate: int, *, least: float = 0.0) -> Iterator[Audio]: ...
@overload
def remove_dc(blocks: Iterable[Block], rate: int, *, least: float = 0.0) -> Iterator[Block]: ...
def remove_dc(blocks: Iterable[Block], rate: int, *, least: float = 0.0) -> Iterator[Block]:
    """Remove the DC offset.

    Args:
        blocks: Mono samples, gaps and rate changes.
        rate: Sample rate of the first blocks.
        least: Nothing is removed until the ratio of mean to root mean square has exceeded this once.

    Yields:
        Each block minus the mean of the last seconds. Blocks of equal samples are not
        changed up to a constant and do not count in the mean, so that a muted microphone
        is still detected.
    """
    seen, mean, power, shifted = 0, 0.0, 0.0, False
    for block in blocks:
        if isinstance(block, Gap):
            yield block
            continue
        if isinstance(block, RateChange):
            seen, rate = block.place(seen), block.rate
            yield block
            continue
        if block.size and np.ptp(block) > 0:
            seen = min(seen + block.size, round(DC_MEMORY * rate))
            weight = min(block.size / seen, 1.0)
            mean += weight * (float(block.mean(dtype=np.float64)) - mean)
            power += weight * (float(block.var(dtype=np.float64)) - power)
            shifted = shifted or abs(mean) > least * np.sqrt(power)
        yield block - np.float32(mean) if shifted else block


KEPT = 4.0
"""Seconds that are repeated after a rate change: more than a window of any shipped model."""
_EDGE = 0.05
"""Seconds after a start within sound that the filter distorts."""

LEAST_RATE, MOST_RATE, MOST_CHANNELS = 1_000, 768_000, 64
"""Range of valid sample rates, and largest number of channels; others come from damaged headers."""


class OutputRate:
    """Requested sample rate of a stream, which may change while the stream runs."""

    def __init__(self, rate: int) -> None:
        """Start with `rate` samples per second."""
        self.wanted = self.delivered = rate
        """The requested rate, and the rate of the blocks up to now."""


class Resampler:
    """Converts a mono stream to another sample rate.

    The anti-aliasing filter of soxr is flat up to 91 % of the lower Nyquist frequency, so a
    microphone at 48 kHz gives the same features as a file at 22,050 Hz.

    >>> resampler = Resampler(48_000, 24_000)
    >>> sum(resampler.convert(np.zeros(48_000, np.float32)).size for _ in range(3)) + resampler.finish().size
    72000
    """

    def __init__(self, rate: int, wanted: int | OutputRate) -> None:
        """Convert from `rate` to `wanted` samples per second.

        With an `OutputRate` the last seconds are kept, so that `blocks` can
        repeat them after a change of the requested rate.
        """
        self._rate, self._output = rate, wanted if isinstance(wanted, OutputRate) else None
        self._start(wanted.delivered if isinstance(wanted, OutputRate) else wanted)
        self._recent: deque[Audio] = deque()
        self._kept = self._taken = self._given = 0

    def convert(self, mono: Audio) -> Audio:
        """Convert the next samples, shape (n,). The number of results varies, because the filter delays them."""
        converted = self._stream.resample_chunk(mono) if self._stream else mono
        self._given += converted.size
        return converted

    def blocks(self, mono: Audio) -> Iterator[Audio | RateChange]:
        """Like `convert`; a change of the requested rate comes first, with the last seconds at the new rate."""
        if self._output is not None:
            if self._output.wanted != self._output.delivered:
                yield from self._changed(self._output)
            self._keep(mono)
        yield self.convert(mono)

    def finish(self) -> Audio:
        """The remaining samples at the end of the stream, shape (n,)."""
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
        # Only multiples of `step` are at a whole position at the new rate.
        step = self._rate // math.gcd(self._rate, rate)
        first = self._taken - self._kept
        begin = -(-first // step) * step
        recent = np.concatenate([*self._recent, np.empty(0, np.float32)])[begin - first :]
        given = self._given
        self._start(rate)
        again = self.convert(recent)
        # After a start within sound, the first results are distorted by the filter.
        edge = math.ceil(_EDGE * rate) if begin and again.size > 2 * _EDGE * rate else 0
        place = begin * rate // self._rate + edge
        repeated = round(given * rate / former) - place
        self._given = place - edge + again.size
        output.delivered = rate
        yield RateChange(former, rate, repeated)
        yield again[edge:]


def mono_blocks(
    pieces: Iterable[NDArray[np.float32]], rate: int, channels: int, wanted: int | OutputRate
) -> Iterator[Audio | RateChange]:
    """Mix and resample the pieces of a stream, each of shape (n, channels)."""
    resampler, mixer = Resampler(rate, wanted), ChannelMixer(rate, channels)
    for frames in pieces:
        yield from resampler.blocks(mixer.mix(frames))
    yield resampler.finish()


def resampled(audio: Audio, rate: int, wanted: int) -> Audio:
    """Mono samples at another sample rate, shape (n,)."""
    return np.asarray(soxr.resample(audio, rate, wanted), np.float32)


def from_s16(samples: bytes, channels: int) -> NDArray[np.float32]:
    """Interleaved little-endian 16-bit samples as float32 in [-1, 1), shape (n, channels)."""
    whole = np.frombuffer(samples, "<i2").reshape(-1, channels)
    return whole.astype(np.float32) * np.float32(1.0 / 32768.0)
