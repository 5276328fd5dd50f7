"""An evaluation counts what a model says of music whose genre is known."""

import dataclasses

import msgspec
import numpy as np
import pytest
from rich.console import Console

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import FORMAT, Manifest, Rejection, Standardisation, Tensor, Training, softmax
from headnod.pipeline.listener import ListenerSettings
from headnod.testing import FixedModel
from headnod_train.dataset.archive import ArchiveError, read_archive
from headnod_train.evaluation.conditions import CONDITIONS
from headnod_train.evaluation.evaluate import evaluate, trained_on
from headnod_train.evaluation.listener_sounds import estimates
from headnod_train.evaluation.predictions import Predictions, stream_accuracy
from headnod_train.evaluation.results import EvaluationError, load
from headnod_train.evaluation.tables import LEAKY, LEARNED, warning
from headnod_train.storage import write_json
from headnod_train.training.provenance import track_hashes
from support.signals import RATE, music
from support.tones import GENRES, write_tones

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

    def scores(self, features):
        return softmax(self.logits(features))


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


def said(scores, tracks, *, labels):
    """A hearing of windows with these scores."""
    return Predictions(np.log(np.array(scores, np.float32)), np.array(tracks), np.zeros(len(tracks), np.intp), labels)


@pytest.mark.parametrize(("certainty", "named"), [(0.7, 1.0), (0.8, 0.0)])
def test_only_estimates_as_certain_as_the_bundle_wants_are_named(certainty, named):
    heard = said([[0.75, 0.25]] * 4, range(4), labels=2)
    settled = stream_accuracy(heard.kept(1.0), heard.shown(1.0, certainty), np.array([0, 0, 0, 1]), np.arange(4))
    assert (settled.accuracy, settled.named) == (0.75, named)
    assert settled.accuracy_of_named == 0.75 * named


def test_what_is_likelier_no_music_is_never_named_and_has_a_likeliest_genre():
    heard = said([[0.2, 0.1, 0.7], [0.6, 0.2, 0.2]], range(2), labels=2)
    assert heard.shown(1.0, 0.0).tolist() == [-1, 0]
    assert heard.kept(1.0).tolist() == [0, 0]


def test_the_stream_names_what_the_listener_names_and_keeps_it_as_long():
    scores = [[0.8, 0.2], [0.35, 0.65], [0.35, 0.65], [0.35, 0.65], [0.2, 0.8], [0.35, 0.65]]
    tracks = [0, 0, 0, 0, 0, 1]
    model = FixedModel(*scores[:5])
    window = model.front_end.window_samples
    settings = ListenerSettings()
    sound = [music(1.0 + 4 * settings.every)[: round(4 * settings.every * RATE) + window]]
    genres = [each.genre for each in estimates(model, sound)]
    shown = said(scores, tracks, labels=2).shown(1.0, 0.0)
    assert genres == [model.labels[place] for place in shown[:5]] == ["jazz", "jazz", "jazz", "jazz", "metal"]
    assert shown[5] == 1


def test_agreement_with_the_float_network_counts_windows(archive):
    assert measured(archive, Stubborn(2, 0, 0), float_model=Stubborn(9, 1, 0)).float_agreement == 1.0
    assert measured(archive, Stubborn(2, 0, 0), float_model=Stubborn(0, 1, 0)).float_agreement == 0.0
    assert measured(archive, Stubborn(2, 0, 0)).float_agreement is None


def test_a_model_of_other_genres_is_refused(archive):
    with pytest.raises(ArchiveError, match="genre 'noisy'"):
        measured(archive, Stubborn(1, 0, labels=("high", "low")))


def test_tracks_too_short_for_the_stream_are_judged_without_it(archive):
    frames = np.full(len(archive), 100, np.int32)
    found = measured(dataclasses.replace(archive, levels=archive.levels[:, :100], frames=frames), Stubborn(2, 0, 0))
    assert (found.stream.after_12s, found.unsaid.accuracy_of_80) == (None, None)
    assert (found.stream.after_6s.count, found.windows.count) == (6, 12)


def test_the_json_has_the_promised_keys(archive, tmp_path):
    path = tmp_path / "evaluation.json"
    write_json(path, measured(archive, Stubborn(2, 0, 0)))
    found = msgspec.json.decode(path.read_bytes())
    for shares in (found["windows"], found["tracks"], found["stream"]["after_12s"]):
        assert {"accuracy", "ci95", "count"} <= shares.keys()
        assert len(shares["ci95"]) == 2
    assert "ece" in found["calibration"]
    assert found["confusion"]["labels"] == list(GENRES)
    assert found["split"] == "valid"


def test_what_was_written_is_read_again(archive, tmp_path):
    found = measured(archive, Stubborn(2, 0, 0), conditions=CONDITIONS[:2], other=Stubborn(0, 2, 0))
    write_json(tmp_path / "evaluation.json", found)
    assert load(tmp_path / "evaluation.json") == found


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b"[1"])
def test_a_file_that_is_no_evaluation_is_named(tmp_path, content):
    path = tmp_path / "other.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EvaluationError, match=r"other\.json: "):
        load(path)


def test_each_genre_is_counted_for_itself(archive):
    found = measured(archive, Stubborn(2, 0, 0))
    assert [(genre.label, genre.windows, genre.tracks, genre.count) for genre in found.genres] == [
        ("high", 1.0, 1.0, 2), ("low", 0.0, 0.0, 2), ("noisy", 0.0, 0.0, 2)
    ]  # fmt: skip


def test_without_its_float_file_a_bundle_is_taken_at_its_word_and_that_is_reported(archive):
    model = Stubborn(2, 0, 0)
    model.manifest = msgspec.structs.replace(model.manifest, measured={"float_agreement": 0.98})
    found = measured(archive, model)
    assert (found.float_agreement, found.float_agreement_of) == (
        0.98, "from the manifest of stubborn-1.0.0; --float measures it"
    )  # fmt: skip
    assert measured(archive, model, float_model=Stubborn(9, 1, 0)).float_agreement_of == "measured here"


def test_what_a_leaky_archive_gives_is_labelled(archive):
    assert not measured(archive, Stubborn(2, 0, 0)).leaky
    assert measured(dataclasses.replace(archive, leaky=True), Stubborn(2, 0, 0)).leaky


def learned_by(archive, **recipe):
    manifest = msgspec.structs.replace(Stubborn(2, 0, 0).manifest, training=Training("", "", recipe))
    return trained_on(manifest, archive, data="tones.npz", split="valid")


@pytest.mark.parametrize(
    ("recipe", "learned"),
    [
        ({"data": "tones.npz", "tracks": 18, "sides": "train, valid"}, True),
        ({"data": "tones.npz", "tracks": 12, "sides": "train"}, False),
        ({"data": "tones.npz", "tracks": 12}, False),
        ({"data": "renamed.npz", "tracks": 18, "sides": "train, valid"}, True),
        ({"data": "other.npz", "tracks": 17, "sides": "train, valid"}, False),
        ({"data": "tones.npz", "sides": "train, valid, test"}, True),
        ({}, False),
    ],
)
def test_whether_a_model_learned_from_a_side_is_read_from_its_manifest(archive, recipe, learned):
    assert learned_by(archive, **recipe) == learned


def test_training_tracks_are_recognised_by_their_names(archive):
    valid = archive.tracks[archive.splits == "valid"].tolist()
    assert learned_by(archive, data="tones.npz", sides="train", track_hashes=track_hashes(valid[:1]))
    assert not learned_by(archive, data="tones.npz", tracks=18, sides="valid", track_hashes=track_hashes(["other"]))
    # Another collection may use the same names.
    assert not learned_by(archive, data="another.npz", tracks=1, track_hashes=track_hashes(valid))


def test_gtzan_tracks_are_recognised_in_an_archive_of_any_name_and_split(archive):
    hashes = track_hashes(["jazz.00001"])
    renamed = np.where(np.arange(len(archive)) == len(archive) - 1, "jazz/jazz.00001", archive.tracks)
    gtzan = dataclasses.replace(archive, tracks=renamed, splits=np.full(len(archive), "valid"))
    assert learned_by(gtzan, data="another.npz", tracks=1, track_hashes=hashes)
    assert not learned_by(archive, data="another.npz", tracks=1, track_hashes=hashes)


def test_hashes_of_tracks_are_not_part_of_the_evaluation(archive):
    model = Stubborn(2, 0, 0)
    recipe = {"epochs": 3, "track_hashes": track_hashes(["jazz.00001"])}
    model.manifest = msgspec.structs.replace(model.manifest, training=Training("", "", recipe))
    assert measured(archive, model).recipe == {"epochs": 3}


def test_figures_on_what_a_model_learned_from_are_labelled(archive):
    found = measured(archive, Stubborn(2, 0, 0), learned=True)
    assert (found.leaky, found.learned) == (True, True)
    assert warning(found) == LEARNED
    assert warning(measured(dataclasses.replace(archive, leaky=True), Stubborn(2, 0, 0))) == LEAKY


def test_the_stream_starts_anew_with_every_track():
    logits = np.array([[5, 0], [0, 1], [0, 1], [5, 0]], np.float32)
    tracks = np.array([0, 0, 1, 1])
    stream = Predictions(logits, tracks, np.array([0, 0, 1, 1]), 2).stream(1.0)
    assert np.allclose(stream[[0, 2]], softmax(logits[[0, 2]]), atol=1e-6)
    assert stream[1].argmax() == 0


def test_seconds_count_from_the_start_of_each_track():
    heard = Predictions(np.zeros((5, 2), np.float32), np.array([0, 0, 0, 1, 1]), np.zeros(5, np.intp), 2)
    assert heard.seconds.tolist() == [3, 6, 9, 3, 6]


def test_the_interval_by_artist_is_wider_than_that_by_track(archive):
    model, valid = Stubborn(2, 0, 0), archive.splits == "valid"
    alone = measured(dataclasses.replace(archive, artists=np.full(len(archive), -1, np.int32)), model)
    assert alone.tracks_by_artist is None
    # One artist for each genre: a genre is right or wrong as a whole.
    artists = np.unique(archive.genres, return_inverse=True)[1].astype(np.int32)
    found = measured(dataclasses.replace(archive, artists=artists), model)
    assert found.tracks_by_artist.accuracy == found.tracks.accuracy
    assert found.tracks_by_artist.count == valid.sum()
    widths = [share.ci95[1] - share.ci95[0] for share in (found.tracks_by_artist, found.tracks)]
    assert widths[0] > widths[1]
    # Tracks of unknown artists are resampled one by one.
    unknown = np.where(np.arange(len(archive)) == 0, 0, -1).astype(np.int32)
    assert measured(dataclasses.replace(archive, artists=unknown), model).tracks_by_artist is None
