"""An evaluation counts what a model says; calibration fits what it should have said."""

import dataclasses

import msgspec
import numpy as np
import pytest
from rich.console import Console

from headnod.frontend import FrontEnd
from headnod.manifest import FORMAT, Manifest, Rejection, Standardisation, Tensor, Training
from headnod.model import softmax
from headnod_train.archive import ArchiveError, read_archive
from headnod_train.learn.calibrate import fit_certainty, fit_temperature
from headnod_train.measure.evaluate import evaluate, judge, save
from headnod_train.measure.listening import Heard
from headnod_train.measure.pictures import draw_confusion
from tone_archive import GENRES, write_tones

FRONT_END = FrontEnd(n_mfcc=20)
QUIET = Console(quiet=True)


class Stubborn:
    """A model that says the same of everything."""

    def __init__(self, *logits, labels=GENRES, certainty=0.0):
        self.labels, self.front_end = labels, FRONT_END
        size = FRONT_END.n_mfcc
        self.manifest = Manifest(
            FORMAT, "stubborn", "1.0.0", {}, labels, FRONT_END, Standardisation((0.0,) * size, (1.0,) * size),
            Tensor((1, 38, size), "int8"), Tensor((1, len(labels)), "int8"), 1.0, Rejection(certainty),
            Training("", "", {}), {}, {},
        )  # fmt: skip
        self._logits = np.array(logits, np.float32)

    def logits(self, features):
        assert features.shape == (FRONT_END.frames, FRONT_END.n_mfcc)
        return self._logits


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return read_archive(write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END), FRONT_END)


def measured(archive, model, **others):
    return evaluate(model, archive, data="tones.npz", split="valid", console=QUIET, **others)


def test_a_model_that_always_says_one_of_three_genres_is_right_on_a_third(archive):
    found = measured(archive, Stubborn(2, 0, 0))
    assert (found.windows.accuracy, found.windows.count) == (0.3333, 24)
    assert (found.tracks.accuracy, found.tracks.count) == (0.3333, 6)
    assert found.confusion.windows == [[8, 0, 0], [8, 0, 0], [8, 0, 0]]
    assert found.confusion.tracks == [[2, 0, 0], [2, 0, 0], [2, 0, 0]]


def test_its_calibration_error_is_its_confidence_less_a_third(archive):
    confidence = float(softmax(np.array([2.0, 0, 0], np.float32)).max())
    found = measured(archive, Stubborn(2, 0, 0))
    assert found.calibration.ece == pytest.approx(confidence - 1 / 3, abs=1e-4)
    assert found.calibration.ece_of_windows == pytest.approx(confidence - 1 / 3, abs=1e-4)


@pytest.mark.parametrize(("certainty", "named"), [(0.7, 1.0), (0.8, 0.0)])
def test_only_estimates_as_certain_as_the_bundle_wants_are_named(certainty, named):
    settled = judge(np.full((4, 2), [0.75, 0.25], np.float32), np.array([0, 0, 0, 1]), np.arange(4), certainty)
    assert (settled.accuracy, settled.named) == (0.75, named)
    assert settled.accuracy_of_named == 0.75 * named


def test_agreement_with_the_float_network_counts_windows(archive):
    assert measured(archive, Stubborn(2, 0, 0), float_model=Stubborn(9, 1, 0)).float_agreement == 1.0
    assert measured(archive, Stubborn(2, 0, 0), float_model=Stubborn(0, 1, 0)).float_agreement == 0.0
    assert measured(archive, Stubborn(2, 0, 0)).float_agreement is None


def test_a_model_of_other_genres_is_refused(archive):
    with pytest.raises(ArchiveError, match="genre 'noisy'"):
        measured(archive, Stubborn(1, 0, labels=("high", "low")))


def test_tracks_too_short_for_the_stream_are_refused(archive):
    short = dataclasses.replace(archive, levels=archive.levels[:, :100])
    with pytest.raises(ArchiveError, match=r"tones\.npz: no valid track fills 12 s"):
        measured(short, Stubborn(2, 0, 0))


def test_the_json_has_the_promised_keys(archive, tmp_path):
    path = tmp_path / "evaluation.json"
    save(measured(archive, Stubborn(2, 0, 0)), path)
    found = msgspec.json.decode(path.read_bytes())
    for shares in (found["windows"], found["tracks"], found["stream"]["after_12s"]):
        assert {"accuracy", "ci95", "count"} <= shares.keys()
        assert len(shares["ci95"]) == 2
    assert "ece" in found["calibration"]
    assert found["confusion"]["labels"] == list(GENRES)
    assert found["split"] == "valid"


def test_pictures_of_windows_and_tracks_are_drawn(archive, tmp_path):
    drawn = draw_confusion(measured(archive, Stubborn(2, 0, 0)), tmp_path)
    assert [path.name for path in drawn] == ["confusion-windows.png", "confusion-tracks.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_the_stream_starts_anew_with_every_track():
    logits = np.array([[5, 0], [0, 1], [0, 1], [5, 0]], np.float32)
    tracks = np.array([0, 0, 1, 1])
    stream = Heard(logits, tracks, np.array([0, 0, 1, 1])).stream(1.0)
    assert np.allclose(stream[[0, 2]], softmax(logits[[0, 2]]), atol=1e-6)
    assert stream[1].argmax() == 0


def test_seconds_count_from_the_start_of_each_track():
    heard = Heard(np.zeros((5, 2), np.float32), np.array([0, 0, 0, 1, 1]), np.zeros(5, np.intp))
    assert heard.seconds.tolist() == [3, 6, 9, 3, 6]


def overconfident(temperature, tracks=3000):
    """Windows whose chances are right once their logits are divided by a temperature."""
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, (tracks, 4)).astype(np.float32)
    targets = (softmax(honest).cumsum(axis=1) > rng.uniform(size=(tracks, 1))).argmax(axis=1)
    return Heard(honest * np.float32(temperature), np.arange(tracks), targets)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoilt_the_chances_is_found_again(temperature):
    assert fit_temperature(overconfident(temperature)) == pytest.approx(temperature, rel=0.08)


def test_the_certainty_leaves_at_most_a_twentieth_unnamed():
    heard = overconfident(1.0)
    confidence = heard.stream(1.0).max(axis=1)
    certainty = fit_certainty(heard, 1.0)
    assert 0.04 < (confidence < certainty).mean() <= 0.05
