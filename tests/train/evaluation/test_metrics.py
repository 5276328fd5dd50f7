"""Figures agree with those computed by hand."""

import numpy as np
import pytest

from headnod_train.evaluation.metrics import (
    by_track,
    calibration_error,
    confusion,
    most_confident,
    negative_log_likelihood,
    noise_floor,
    reliability,
    share_right,
    top_confidence,
    wilson_interval,
)


def test_accuracy_is_the_share_of_right_answers():
    share = share_right(np.array([True, True, False, True]), np.array([0, 0, 1, 1]))
    assert (share.accuracy, share.count) == (0.75, 4)


@pytest.mark.parametrize(
    ("right", "count", "interval"),
    [(8, 10, (0.4902, 0.9433)), (0, 3, (0.0, 0.5615)), (3, 3, (0.4385, 1.0)), (50, 100, (0.4038, 0.5962))],
)
def test_an_interval_of_independent_tracks_holds_for_few_and_for_none_right(right, count, interval):
    assert wilson_interval(right / count, count) == pytest.approx(interval, abs=1e-4)


def test_an_interval_over_tracks_is_wider_than_windows_pretend():
    tracks = np.repeat(np.arange(40), 10)
    right = np.repeat(np.arange(40) % 2 == 0, 10)
    low, high = share_right(right, tracks).ci95
    # Forty coin throws: 0.5 +- 1.96 * 0.5 / sqrt(40); 400 would give a third of that.
    assert low == pytest.approx(0.345, abs=0.03)
    assert high == pytest.approx(0.655, abs=0.03)


def test_the_same_answers_always_give_the_same_interval():
    right, tracks = np.arange(30) % 3 == 0, np.arange(30)
    assert share_right(right, tracks) == share_right(right, tracks)


def test_all_right_has_no_spread():
    assert share_right(np.ones(5, bool), np.arange(5)).ci95 == (1.0, 1.0)


def test_confusion_counts_what_was_played_by_row():
    counts = confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probabilities = np.array([[0.8, 0.2]] * 10, np.float32)
    assert calibration_error(probabilities, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0, abs=1e-6)
    assert calibration_error(probabilities, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3, abs=1e-6)


def test_gaps_of_different_bins_do_not_cancel():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    assert calibration_error(probabilities, np.array([1, 0])) == pytest.approx((0.9 + 0.4) / 2, abs=1e-6)


def test_full_confidence_falls_into_the_last_bin():
    assert calibration_error(np.array([[1.0, 0.0]], np.float32), np.array([0])) == 0.0


def test_surprise_is_the_mean_negative_log_likelihood():
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], np.float32)
    assert negative_log_likelihood(probabilities, np.array([0, 0])) == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_a_track_is_judged_by_the_mean_log_score_of_its_windows():
    probabilities = np.array([[0.6, 0.4], [0.6, 0.4], [0.01, 0.99], [0.9, 0.1]], np.float32)
    scores = by_track(probabilities, np.array([0, 0, 0, 1]))
    assert scores.argmax(axis=1).tolist() == [1, 0]
    assert scores[0, 0] == pytest.approx((2 * np.log(0.6) + np.log(0.01)) / 3, abs=1e-5)


def test_bins_of_reliability_add_up_to_the_calibration_error():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 500).astype(np.float32)
    targets = rng.integers(4, size=500)
    bins = reliability(probabilities, targets)
    assert sum(each.count for each in bins) == 500
    error = sum(each.count * abs(each.confidence - each.accuracy) for each in bins) / 500
    assert error == pytest.approx(calibration_error(probabilities, targets), abs=1e-4)


def test_the_surest_are_kept_and_ties_keep_their_order():
    confidence = np.array([0.2, 0.9, 0.5, 0.9, 0.1], np.float32)
    assert most_confident(confidence, 0.6).tolist() == [1, 3, 2]
    assert most_confident(confidence, 0.0).tolist() == [1]


def test_no_music_leaves_nothing_sure():
    probabilities = np.array([[0.7, 0.2], [0.3, 0.1], [0.5, 0.5]], np.float32)
    assert top_confidence(probabilities).tolist() == pytest.approx([0.7, 0.0, 0.5])


def test_true_chances_of_many_tracks_show_no_error_and_those_of_few_do():
    probabilities = np.repeat(np.random.default_rng(0).dirichlet(np.ones(3), 40).astype(np.float32), 100, axis=0)
    assert noise_floor(probabilities, np.arange(4000)) < 0.03
    assert noise_floor(probabilities, np.arange(4000) // 100) > 0.1
