"""Sounds made by a formula: music that belongs to nobody.

Golden windows go into the repository, so nothing of a collection may be in
them; these are varied enough to reach every part of a front end and a network.
"""

from __future__ import annotations

import numpy as np

from headnod.frontend import Audio, Features, FrontEnd


def sounds(front_end: FrontEnd, count: int, *, seed: int) -> list[Audio]:
    """Chords over a beat in noise, each in its own key, tempo and balance.

    Returns:
        Windows of mono audio in [-1, 1], each (front_end.window_samples,).
    """
    rng = np.random.default_rng(seed)
    return [_sound(front_end, rng) for _ in range(count)]


def golden_features(front_end: FrontEnd, count: int = 6, *, seed: int = 1) -> Features:
    """Features of such sounds, shape (count, frames, n_mfcc)."""
    return np.stack([front_end.mfcc(sound) for sound in sounds(front_end, count, seed=seed)])


def _sound(front_end: FrontEnd, rng: np.random.Generator) -> Audio:
    seconds = np.arange(front_end.window_samples) / front_end.sample_rate
    root = rng.uniform(55.0, 440.0)
    chord = np.zeros(seconds.size)
    for interval in rng.choice([0, 3, 4, 7, 10, 12, 16], size=4, replace=False):
        for overtone in range(1, 9):
            pitch = root * 2.0 ** (interval / 12.0) * overtone
            if pitch < front_end.sample_rate / 2:
                chord += np.sin(2.0 * np.pi * (pitch * seconds + rng.uniform())) / overtone**1.3
    beat = np.exp(-((seconds * rng.uniform(1.0, 3.0)) % 1.0) * rng.uniform(4.0, 20.0))
    hiss = np.convolve(rng.standard_normal(seconds.size), np.full(int(rng.integers(1, 12)), 0.3), "same")
    mixed = chord * rng.uniform(0.2, 1.0) + beat * hiss * rng.uniform(0.1, 3.0) + 0.01 * hiss
    return (0.5 * mixed / np.abs(mixed).max()).astype(np.float32)
