"""Bent windows are still windows, and the seed says how they were bent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headnod_train.learn.augment import Augmentation, bend, mix

STILL = Augmentation(equalise=0.0, noise=(300.0, 300.0), warp=0.0, contrast=0.0, masks=0, mixup=0.0)


def windows(seed, count=3, frames=12, mels=32):
    return np.random.default_rng(seed).uniform(-80, 0, (count, frames, mels)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 20))
def test_bending_keeps_shape_and_stays_finite(seed, count, frames):
    heard = windows(seed, count, frames)
    bent = bend(heard, Augmentation(), np.random.default_rng(seed))
    assert bent.shape == heard.shape
    assert bent.dtype == np.float32
    assert np.isfinite(bent).all()


def test_the_same_seed_bends_alike_and_another_does_not():
    heard = windows(0)
    first, again, other = (bend(heard, Augmentation(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bending_leaves_what_it_was_given_alone():
    heard = windows(0)
    kept = heard.copy()
    bend(heard, Augmentation(), np.random.default_rng(0))
    assert np.array_equal(heard, kept)


def test_without_any_bending_windows_come_out_as_they_were():
    heard = windows(0)
    assert np.allclose(bend(heard, STILL, np.random.default_rng(0)), heard, atol=1e-3)


@pytest.mark.parametrize("field", ["equalise", "warp", "contrast"])
def test_each_strength_bends_by_itself(field):
    how = Augmentation(**{**vars(STILL), field: 0.2})
    assert np.abs(bend(windows(0), how, np.random.default_rng(0)) - windows(0)).max() > 0.01


def test_noise_fills_what_was_silent():
    heard = np.full((1, 12, 32), -80.0, np.float32)
    heard[:, :, 5] = 0.0
    how = Augmentation(**{**vars(STILL), "noise": (20.0, 20.0)})
    silent = np.delete(bend(heard, how, np.random.default_rng(0)), 5, axis=2)
    assert -60 < silent.mean() < -20


def test_mixing_keeps_answers_probabilities_and_the_own_genre_ahead():
    features = np.random.default_rng(0).standard_normal((16, 4, 3)).astype(np.float32)
    answers = np.eye(4, dtype=np.float32)[np.arange(16) % 4]
    mixed, blended = mix(features, answers, Augmentation(mixup=0.5), np.random.default_rng(1))
    assert mixed.shape == features.shape
    assert np.allclose(blended.sum(axis=1), 1.0)
    assert (blended[np.arange(16), np.arange(16) % 4] >= 0.5).all()
    assert not np.array_equal(mixed, features)
