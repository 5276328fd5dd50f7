"""Calibration finds what was spoilt, and the certainty leaves as little music unnamed as it says."""

import numpy as np
import pytest
from rich.console import Console

from headnod.inference.manifest import softmax
from headnod_train.dataset.archive import read_archive
from headnod_train.evaluation.calibration import REFUSED, calibrate, fit, fit_certainty, scoring_temperature
from headnod_train.evaluation.predictions import Predictions
from support.tones import FRONT_END, Nearest, write_tones

QUIET = Console(quiet=True)


def overconfident(temperature, tracks=1500, seed=0):
    """Windows whose chances are right once their logits are divided by a temperature."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (tracks, 4)).astype(np.float32)
    targets = (softmax(honest).cumsum(axis=1) > rng.uniform(size=(tracks, 1))).argmax(axis=1)
    return Predictions(honest * np.float32(temperature), np.arange(tracks), targets, 4)


@pytest.mark.parametrize("said", [Predictions.stream, Predictions.scores])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoilt_the_chances_is_found_again(temperature, said):
    assert scoring_temperature(overconfident(temperature), [], said) == pytest.approx(temperature, rel=0.12)


def test_clean_and_degraded_music_weigh_the_same():
    clean, arrived = overconfident(1.0), [overconfident(4.0, seed=seed) for seed in (1, 2, 3)]
    alone = scoring_temperature(clean, arrived[:1], Predictions.scores)
    assert 1.2 < alone < 3.8
    assert scoring_temperature(clean, arrived, Predictions.scores) == pytest.approx(alone, rel=0.12)


def test_a_mean_of_windows_may_be_surer_than_each():
    rng = np.random.default_rng(0)
    targets = np.repeat(rng.integers(4, size=200), 6)
    logits = (np.eye(4)[targets] + rng.normal(0, 1.0, (1200, 4))).astype(np.float32)
    heard = Predictions(logits, np.repeat(np.arange(200), 6), targets, 4)
    assert scoring_temperature(heard, [], Predictions.stream) < 0.7 * scoring_temperature(heard, [], Predictions.scores)


def test_the_certainty_leaves_as_much_unnamed_as_it_may():
    confidence = overconfident(1.0).scores(1.0).max(axis=1)
    certainty = fit_certainty(confidence)
    assert REFUSED - 0.005 < (confidence < certainty).mean() <= REFUSED


def test_the_certainty_is_that_of_music_in_noise():
    clean, noisy = overconfident(5.0), overconfident(0.3)
    found = fit(clean, [], [noisy], Predictions.scores)
    refused = noisy.scores(found.temperature).max(axis=1) < found.threshold
    assert refused.mean() <= REFUSED


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return read_archive(write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END), FRONT_END)


def test_stream_and_single_windows_are_calibrated_each(archive):
    stream, single = calibrate(Nearest(archive), archive.subset("valid"), console=QUIET)
    assert stream.temperature > 0
    assert single.temperature > 0
    assert stream != single


@pytest.mark.parametrize(("taken", "certain"), [(2.0, False), (0.5, True)])
def test_music_that_is_taken_for_none_counts_as_refused(taken, certain):
    logits = np.zeros((1000, 5), np.float32)
    logits[:, 1] = 2.0
    logits[: round(taken * REFUSED * 1000), 4] = 9.0
    heard = Predictions(logits, np.arange(1000), np.ones(1000, np.intp), 4)
    assert (fit(heard, [], [heard], Predictions.scores).threshold > 0.2) == certain
