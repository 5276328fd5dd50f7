"""Bent windows are still windows, and the seed says how they were bent."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headnod.features.frontend import FrontEnd
from headnod_train.acoustics import Bands
from headnod_train.training.augment import LEAD, MelAugmentation, augment, through_rooms

STILL = MelAugmentation(equalise=0.0, noise=(300.0, 300.0), masks=0, mixup=0.0, rooms=0.0)


def windows(seed, count=3, frames=12, mels=32):
    return np.random.default_rng(seed).uniform(-80, 0, (count, frames, mels)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 20))
def test_bending_keeps_shape_and_stays_finite(seed, count, frames):
    heard = windows(seed, count, frames)
    bent = augment(heard, MelAugmentation(), np.random.default_rng(seed))
    assert bent.shape == heard.shape
    assert bent.dtype == np.float32
    assert np.isfinite(bent).all()


def test_the_same_seed_bends_alike_and_another_does_not():
    heard = windows(0)
    first, again, other = (augment(heard, MelAugmentation(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_bending_leaves_what_it_was_given_alone():
    heard = windows(0)
    kept = heard.copy()
    augment(heard, MelAugmentation(), np.random.default_rng(0))
    assert np.array_equal(heard, kept)


def test_without_any_bending_windows_come_out_as_they_were():
    heard = windows(0)
    assert np.allclose(augment(heard, STILL, np.random.default_rng(0)), heard, atol=1e-3)


@pytest.mark.parametrize("field", ["equalise", "masks"])
def test_each_strength_bends_by_itself(field):
    how = MelAugmentation(**{**vars(STILL), field: 2})
    assert np.abs(augment(windows(0), how, np.random.default_rng(0)) - windows(0)).max() > 0.01


def test_noise_fills_what_was_silent():
    heard = np.full((1, 12, 32), -80.0, np.float32)
    heard[:, :, 5] = 0.0
    how = MelAugmentation(**{**vars(STILL), "noise": (20.0, 20.0)})
    silent = np.delete(augment(heard, how, np.random.default_rng(0)), 5, axis=2)
    assert -60 < silent.mean() < -20


def test_only_the_asked_share_of_windows_goes_into_rooms_and_all_lose_their_lead():
    bands = Bands(FrontEnd())
    heard = np.random.default_rng(0).uniform(-60, 0, (40, LEAD + 10, 128)).astype(np.float32)
    none = through_rooms(heard.copy(), replace(STILL, rooms=0.0), bands, np.random.default_rng(1))
    assert np.array_equal(none, heard[:, LEAD:])
    half = through_rooms(heard.copy(), replace(STILL, rooms=0.5), bands, np.random.default_rng(1))
    changed = np.abs(half - heard[:, LEAD:]).max(axis=(1, 2)) > 0.1
    assert 10 <= changed.sum() <= 30
    assert np.isfinite(half).all()


def test_a_compressor_evens_out_loudness_and_nothing_else():
    heard = windows(0)
    heard[:, :6] += 30
    bent = augment(heard, replace(STILL, compression=1.0), np.random.default_rng(0))
    assert (np.ptp(bent.mean(axis=2), axis=1) < np.ptp(heard.mean(axis=2), axis=1)).all()
    assert np.allclose(np.diff(bent, axis=2), np.diff(heard, axis=2), atol=1e-3)
