"""Songs one after another: delays and wavering are counted as a listener would notice them."""

import numpy as np
import pytest

from headnod_train.dataset.archive import read_archive
from headnod_train.evaluation.listener_sounds import _order, _wavering, song_changes
from support.tones import FRONT_END, Nearest, tone_arrays


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("tones") / "tones.npz"
    np.savez_compressed(path, **tone_arrays(FRONT_END, train=6, valid=0))
    return read_archive(path, FRONT_END)


class Late(Nearest):
    """Answers as one who heard the music so many windows ago."""

    def __init__(self, archive, windows):
        super().__init__(archive)
        self._waiting = [np.zeros(3, np.float32)] * windows

    def scores(self, features):
        self._waiting.append(super().scores(features))
        return self._waiting.pop(0)


class Fickle(Nearest):
    """Names another genre every time, sure of each."""

    def __init__(self, archive):
        super().__init__(archive)
        self._said = 0

    def scores(self, features):
        assert features.shape
        self._said += 1
        return np.eye(3, dtype=np.float32)[self._said % 3]


def found(archive, model):
    return song_changes(model, archive, named=archive.targets(model.labels))


def test_a_model_that_knows_every_window_names_a_song_within_a_few(archive):
    changes = found(archive, Nearest(archive))
    assert changes.changes == len(archive) - 1
    assert 1.0 < changes.median_seconds < 9.0
    assert changes.never < 0.2
    assert changes.spurious_per_10_min < 10


def test_a_model_that_is_one_window_late_is_three_seconds_later(archive):
    prompt, late = found(archive, Nearest(archive)), found(archive, Late(archive, 1))
    assert late.median_seconds - prompt.median_seconds == pytest.approx(3.0, abs=1.0)


def test_a_fickle_model_is_counted(archive):
    assert found(archive, Fickle(archive)).spurious_per_10_min > 50


def test_a_genre_that_is_never_named_has_no_delay(archive):
    changes = found(archive, Nearest(archive, threshold=1.0))
    assert (changes.median_seconds, changes.never, changes.seconds) == (None, 1.0, ())
    assert changes.spurious_per_10_min == 0.0


def test_changes_between_tracks_that_the_model_does_not_know_are_kept_apart(archive):
    wrong = song_changes(Nearest(archive), archive, named=(archive.targets(Nearest(archive).labels) + 1) % 3)
    assert (wrong.changes, wrong.median_seconds) == (0, None)
    assert wrong.median_seconds_of_all is not None


def test_one_genre_alone_has_no_changes(archive):
    low = archive.chosen(archive.genres == "low")
    assert song_changes(Nearest(archive), low, named=low.targets(Nearest(archive).labels)) is None


def test_no_song_follows_one_of_its_genre():
    targets = np.repeat([0, 1, 2], [5, 3, 2])
    order = _order(targets, np.random.default_rng(0))
    assert len(set(order)) == len(order) >= 8
    assert all(np.diff(targets[order]) != 0)


@pytest.mark.parametrize(
    ("before", "shown", "wavering"),
    [
        (0, [0, 0, 1, 1], 0),
        (0, [0, 2, 1, 1], 1),
        (0, [1, 0, 1, 1], 2),
        (0, [1, None, 1], 0),
        (0, [None, 0, 0], 0),
        (0, [1, 0], 2),
        (None, [1, 1], 0),
        (None, [None, None], 0),
    ],
)
def test_the_change_that_the_song_made_is_none_too_many(before, shown, wavering):
    assert _wavering(before, shown) == wavering
