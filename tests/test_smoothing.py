"""What was heard shortly before has a say, and no more than that."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.smoothing import Smoother, mean_of

JAZZ, METAL = np.array([0.8, 0.2], np.float32), np.array([0.2, 0.8], np.float32)
scores = st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3).map(
    lambda weights: (np.array(weights) / sum(weights)).astype(np.float32)
)


def after(windows, smoother):
    said = None
    for window in windows:
        said = smoother.update(window)
    return said


def test_the_first_scores_are_said_as_they_are():
    assert Smoother(seconds=12.0, every=3.0).update(JAZZ) == pytest.approx(JAZZ, abs=1e-6)


@given(st.lists(scores, min_size=1, max_size=20), st.sampled_from((0.0, 3.0, 12.0, 600.0)))
def test_smoothed_scores_are_chances(windows, seconds):
    said = after(windows, Smoother(seconds=seconds, every=3.0))
    assert said.sum() == pytest.approx(1.0, abs=1e-5)
    assert (said >= 0).all()


def test_scores_that_stay_stay():
    assert after([JAZZ] * 50, Smoother(seconds=12.0, every=3.0)) == pytest.approx(JAZZ, abs=1e-5)


def test_a_new_genre_takes_the_lead_with_its_second_window():
    # Weights 1, e^-1/2, e^-1 …: two new windows outweigh all that went before.
    smoother = Smoother(seconds=12.0, every=3.0)
    after([JAZZ] * 50, smoother)
    assert smoother.update(METAL).argmax() == 0
    assert smoother.update(METAL).argmax() == 1


@pytest.mark.parametrize("every", [1.0, 3.0, 6.0])
def test_after_twelve_seconds_six_sevenths_of_what_was_are_forgotten(every):
    smoother = Smoother(seconds=12.0, every=every)
    after([JAZZ] * 100, smoother)
    said = after([METAL] * round(12.0 / every), smoother)
    evidence = np.log(said[1] / said[0]) / np.log(METAL[1] / METAL[0])
    assert evidence == pytest.approx(1.0 - 2.0 * np.exp(-2.0), abs=1e-3)


def test_evidence_is_weighed_as_an_exponential_mean_of_logarithms():
    smoother = Smoother(seconds=12.0, every=3.0)
    windows = [np.array(window, np.float32) for window in ([0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.3, 0.3, 0.4])]
    said = after(windows, smoother)
    weights = np.exp([-1.0, -0.5, 0.0])
    expected = np.exp(weights @ np.log(windows) / weights.sum())
    assert said == pytest.approx(expected / expected.sum(), abs=1e-6)


def test_no_smoothing_says_each_window_as_it_is():
    smoother = Smoother(seconds=0.0, every=3.0)
    smoother.update(JAZZ)
    assert smoother.update(METAL) == pytest.approx(METAL, abs=1e-6)


def test_forgetting_starts_anew():
    smoother = Smoother(seconds=12.0, every=3.0)
    after([JAZZ] * 10, smoother)
    smoother.forget()
    assert smoother.update(METAL) == pytest.approx(METAL, abs=1e-6)


def test_a_chance_of_nothing_is_evidence_but_not_for_ever():
    smoother = Smoother(seconds=12.0, every=3.0)
    never = smoother.update(np.array([1.0, 0.0], np.float32))
    assert np.isfinite(never).all()
    assert after([METAL] * 10, smoother).argmax() == 1


def test_the_mean_of_a_file_weighs_every_window_alike():
    windows = [JAZZ, METAL, METAL]
    expected = np.exp(np.log(windows).mean(axis=0))
    assert mean_of(windows) == pytest.approx(expected / expected.sum(), abs=1e-6)
    assert mean_of(windows[::-1]) == pytest.approx(mean_of(windows), abs=1e-6)
