"""Batches are fresh each epoch and the same for the same seed."""

import numpy as np
import pytest

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import read_archive
from headnod_train.training.archive_batches import (
    ArchiveBatches,
    TrainingBatch,
    WindowSource,
    labelled,
    mixup_batch,
    not_music,
)
from headnod_train.training.augment import MelAugmentation
from support.tones import write_tones

FRONT_END = FrontEnd(n_mfcc=20)
SPREAD = np.zeros(20, np.float32), np.full(20, 30, np.float32)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    path = write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END)
    return read_archive(path, FRONT_END).subset("train")


def batches(train, seed, *more):
    first = WindowSource(train, labelled(train, train.labels, FRONT_END, other=bool(more)))
    return ArchiveBatches(
        [first, *more], front_end=FRONT_END, spread=SPREAD, augmentation=MelAugmentation(), batch=8, seed=seed
    )  # fmt: skip


def test_the_same_seed_gives_the_same_batches_epoch_after_epoch(train):
    one, same = batches(train, 3), batches(train, 3)
    for epoch in (1, 2):
        for left, right in zip(one.epoch(epoch), same.epoch(epoch), strict=True):
            assert all(map(np.array_equal, left, right))


def test_an_epoch_needs_none_before_it(train):
    one, other = batches(train, 3), batches(train, 3)
    for _ in one.epoch(1):
        pass
    assert np.array_equal(next(one.epoch(2)).features, next(other.epoch(2)).features)


def test_another_seed_and_another_epoch_give_other_batches(train):
    first = next(batches(train, 3).epoch(1)).features
    assert not np.array_equal(first, next(batches(train, 4).epoch(1)).features)
    assert not np.array_equal(first, next(batches(train, 3).epoch(2)).features)


def test_an_epoch_hears_each_track_as_often_as_an_evaluation_does(train):
    one = batches(train, 0)
    assert len(one) == 12 * 4 // 8 == len(list(one.epoch(1)))


def test_balanced_batches_show_each_genre_equally_and_every_window_of_a_rare_one(train):
    tracks = np.flatnonzero((train.genres != train.labels[0]) | (np.cumsum(train.genres == train.labels[0]) == 1))
    few = train.chosen(np.isin(np.arange(len(train)), tracks))
    source = WindowSource(few, labelled(few, few.labels, FRONT_END, other=False))
    made = ArchiveBatches(
        [source],
        front_end=FRONT_END,
        spread=SPREAD,
        augmentation=MelAugmentation(mixup=0.0),
        batch=4,
        seed=1,
        balance=True,
    )
    shown = np.concatenate([batch.genres.argmax(axis=1) for batch in made.epoch(1)])
    counts = np.bincount(shown)
    assert counts.max() - counts.min() <= 1
    assert np.bincount([few.labels.index(genre) for genre in few.genres]).tolist() == [1, 4, 4]


def test_a_batch_holds_standardised_features_and_probabilities(train):
    batch = next(batches(train, 0).epoch(1))
    assert batch.features.shape == (8, FRONT_END.frames, FRONT_END.n_mfcc)
    assert batch.features.dtype == np.float32
    assert batch.genres.shape == (8, 3)
    assert np.allclose(batch.genres.sum(axis=1), 1.0)
    assert np.isfinite(batch.features).all()


def test_what_is_no_music_comes_beside_the_music_in_its_share(train):
    noises = WindowSource(train, not_music(train, train.labels, FRONT_END, 0), share=0.25)
    batch = next(batches(train, 0, noises).epoch(1))
    assert batch.genres.shape == (10, 4)
    assert 0.0 < batch.genres[:, 3].sum() <= 4.0


def test_short_tracks_give_only_what_is_real_of_them(train):
    short = train.chosen(np.arange(len(train)))
    short.frames[:] = FRONT_END.frames
    short.levels[:, FRONT_END.frames :] = 255
    still = MelAugmentation(equalise=0, noise=(300, 300), masks=0, mixup=0, rooms=0)
    source = WindowSource(short, labelled(short, short.labels, FRONT_END))
    one = ArchiveBatches([source], front_end=FRONT_END, spread=SPREAD, augmentation=still, batch=4, seed=0)
    loudest = (short.floor_db + short.range_db).max() * np.sqrt(128)
    for batch in one.epoch(1):
        assert (np.abs(batch.features[..., 0] * 30) < np.abs(loudest) + 400).all()
        whole = {tuple(np.round(FRONT_END.cepstra(short.log_mel(row))[0, :3] / 30, 2)) for row in range(len(short))}
        assert {tuple(np.round(window[0, :3], 2)) for window in batch.features} <= whole


def test_mixing_keeps_answers_probabilities_and_the_own_genre_ahead():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((16, 4, 3)).astype(np.float32)
    answers = np.eye(4, dtype=np.float32)[np.arange(16) % 4]
    blended = mixup_batch(
        TrainingBatch(features, answers, np.zeros((16, 0), np.float32), np.ones(16, np.float32)), 0.5, rng
    )
    assert blended.features.shape == features.shape
    assert np.allclose(blended.genres.sum(axis=1), 1.0)
    assert (blended.genres[np.arange(16), np.arange(16) % 4] >= 0.5).all()
    assert not np.array_equal(blended.features, features)
