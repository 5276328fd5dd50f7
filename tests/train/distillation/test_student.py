"""The small student is taught what the teachers answered, and nothing about sound that is left out."""

import numpy as np
import pytest
from rich.console import Console

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import Archive
from headnod_train.distillation.recordings import RecordingError
from headnod_train.distillation.student import (
    StudentBatches,
    TeacherAnswers,
    fit_student,
    from_archive,
    from_windows,
    joined,
    targets,
)
from headnod_train.distillation.window_sets import CLASSES, GENRE, SMALL, WindowSet
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.run_folder import TrainingSettings

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KINDS = ["music", "gtzan", "speech", "noise", "noise"]
GENRES = [-1, 1, -1, -1, -1]


@pytest.fixture
def rng():
    return np.random.default_rng(4)


def window_set(kinds=KINDS, genres=GENRES):
    rng, n = np.random.default_rng(0), len(kinds)
    log_mel = {
        name: rng.uniform(-60, 0, (n, front.frames, front.n_mels)).astype(np.float16)
        for name, front in (("clean16", GENRE), ("degraded16", GENRE), ("clean22", SMALL), ("degraded22", SMALL))
    }
    return WindowSet(
        **log_mel,
        kind=np.array(kinds),
        track=np.arange(n, dtype=np.int32),
        genre=np.array(genres, np.int8),
        yamnet=np.zeros((n, CLASSES), np.float16),
        names=np.array([f"track {place}" for place in range(n)]),
    )


def answers(music):
    genre = np.log(np.tile(np.array([0.7, 0.2, 0.1], np.float32), (len(music), 1)))
    return TeacherAnswers(genre, np.array(music, np.float32), np.zeros((len(music), 50), np.float32))


def test_music_is_taught_the_teachers_genre_and_labels_half_of_it():
    taught, useful = targets(window_set(), answers([1.0, 1.0, 0.0, 0.0, 0.9]))
    np.testing.assert_allclose(taught.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(taught[0], [0.7, 0.2, 0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(taught[1], [0.35, 0.6, 0.05, 0.0], atol=1e-6)
    np.testing.assert_allclose(taught[2:4, 3], 1.0)
    assert useful.tolist() == [True, True, True, True, False]


def test_unlabelled_recordings_without_music_are_taught_less_genre():
    taught, _ = targets(window_set(), answers([0.1, 0.1, 0.0, 0.0, 0.0]))
    assert taught[0, 3] == pytest.approx(0.8)
    assert taught[1, 3] == 0.0


SHORT = FrontEnd(n_mfcc=16)


def student_set(windows, music, front_end=SHORT):
    embedding = np.random.default_rng(1).normal(size=(len(windows), 7)).astype(np.float32)
    return from_windows(windows, answers(music), embedding, front_end)


def batches(windows, music):
    front_end = SHORT
    spread = np.zeros(16, np.float32), np.ones(16, np.float32)
    return StudentBatches(
        student_set(windows, music, front_end), bands=128, spread=spread, equalise=3.0,
        settings=TrainingSettings(epochs=1, batch=len(windows), seed=3),
    )  # fmt: skip


def test_jingles_among_the_noises_are_left_out():
    windows = student_set(window_set(), [1.0, 1.0, 0.0, 0.0, 0.9])
    assert windows.kind.tolist() == KINDS[:4]
    assert len(windows.clean) == len(windows.degraded) == len(windows.answers) == len(windows.tags) == 4


def test_tracks_of_an_archive_give_windows_clean_and_in_rooms(tmp_path, rng):
    front_end, labels = FrontEnd(n_mfcc=16), ("jazz", "rock")
    archive = archive_of(rng, labels)
    np.savez(tmp_path / "tags.npz", tags=rng.uniform(size=(16, 50)), track=np.repeat(archive.tracks, 2))
    windows = from_archive(archive, tmp_path / "tags.npz", labels, front_end, numbers=7, rng=rng)
    # A track of 100 frames of 77.5 ms holds four windows of 38 frames that start every 1.5 s, 19 frames.
    assert len(windows) == 8 * 4
    np.testing.assert_allclose(windows.answers.sum(axis=1), 1.0, atol=1e-5)
    assert (windows.answers.argmax(axis=1) == np.repeat([0, 1], 16)).all()
    np.testing.assert_allclose(windows.clean[4], front_end.cepstra(archive.log_mel(1)[:38]), atol=0.3)
    assert not np.allclose(windows.clean, windows.degraded)
    embedding = np.ones((5, 7), np.float32)
    both = joined(windows, from_windows(window_set(genres=[-1] * 5), two_answers(), embedding, front_end))
    assert np.isnan(both.embedding[:32]).all()
    assert np.isfinite(both.embedding[32:]).all()
    assert len(both) == 32 + 5
    assert len(both.names) == 8 + 5


def two_answers():
    music = np.array([1, 1, 0, 0, 0], np.float32)
    return TeacherAnswers(np.log(np.full((5, 2), 0.5, np.float32)), music, np.zeros((5, 50), np.float32))


def archive_of(rng, labels, each=4):
    tracks = each * len(labels)
    return Archive(
        levels=rng.integers(1, 255, (tracks, 100, 128)).astype(np.uint8),
        floor_db=np.full(tracks, -80, np.float32),
        range_db=np.full(tracks, 80, np.float32),
        tracks=np.array([f"track {place}" for place in range(tracks)]),
        genres=np.repeat(labels, each),
        splits=np.full(tracks, "train"),
        artists=np.arange(tracks, dtype=np.int32),
    )


def test_a_batch_is_made_of_seed_epoch_and_step_alone():
    windows = window_set()
    first, again, later = (next(batches(windows, [1, 1, 0, 0, 0]).epoch(epoch)) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first.features, again.features)
    assert not np.array_equal(first.features, later.features)
    assert first.features.shape[1:] == (38, 16)


def test_windows_without_music_alone_are_refused():
    with pytest.raises(RecordingError, match="no music"):
        batches(window_set(["speech", "noise"], [-1, -1]), [0, 0])


def test_a_tiny_student_learns_and_writes_its_run(tmp_path):
    settings = TrainingSettings(epochs=2, batch=5, width=3, seed=1)
    network = fit_student(
        student_set(window_set(), [1, 1, 0, 0, 0]), tmp_path,
        data="music.npz", labels=("x", "y", "z"),
        tag_names=tuple(map(str, range(50))), front_end=FrontEnd(n_mfcc=16), settings=settings,
        augmentation=MelAugmentation(), teacher="large-1.0.0", console=Console(quiet=True),
    )  # fmt: skip
    genres, tags, embedding = network(np.zeros((1, 38, 16), np.float32))
    assert (genres.shape[1], tags.shape[1]) == (4, 50)
    # Both heads read the embedding, so it says what they say.
    logits = network.get_layer("logits")
    np.testing.assert_allclose(embedding @ logits.kernel + logits.bias, genres, atol=1e-5)
    assert {"recipe.json", "tracks.txt", "weights.keras", "history.json"} <= {path.name for path in tmp_path.iterdir()}
