"""Several channels become one: their mean, or the channel that carries the sound.

A stereo microphone may have sound on one side only (an I²S module whose L/R pin is high, a HAT with a broken
capsule), and channels that are each other's opposite cancel in a mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
