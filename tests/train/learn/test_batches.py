"""Batches are fresh each epoch and the same for the same seed."""

import numpy as np
import pytest

from headnod.frontend import FrontEnd
from headnod_train.archive import read_archive
from headnod_train.learn.augment import Augmentation
from tone_archive import write_tones

pytest.importorskip("tensorflow", reason="training needs tensorflow: pip install 'headnod[train]'")
from headnod_train.learn.batches import Batches

FRONT_END = FrontEnd(n_mfcc=20)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return read_archive(write_tones(tmp_path_factory.mktemp("tones") / "tones.npz", FRONT_END), FRONT_END)


def batches(archive, seed, batch=8):
    train = archive.subset("train")
    spread = np.zeros(20, np.float32), np.full(20, 30, np.float32)
    return Batches(
        train, train.targets(train.labels),
        front_end=FRONT_END, spread=spread, augmentation=Augmentation(), batch=batch, seed=seed,
    )  # fmt: skip


def test_the_same_seed_gives_the_same_batches_epoch_after_epoch(archive):
    one, same = batches(archive, 3), batches(archive, 3)
    for _ in range(2):
        for step in range(len(one)):
            for left, right in zip(one[step], same[step], strict=True):
                assert np.array_equal(left, right)
        one.on_epoch_end()
        same.on_epoch_end()


def test_another_seed_and_another_epoch_give_other_batches(archive):
    one, other = batches(archive, 3), batches(archive, 4)
    first = one[0][0]
    assert not np.array_equal(first, other[0][0])
    one.on_epoch_end()
    assert not np.array_equal(first, one[0][0])


def test_an_epoch_hears_each_track_as_often_as_an_evaluation_does(archive):
    assert len(batches(archive, 0)) == 12 * 4 // 8


def test_a_batch_holds_standardised_features_and_probabilities(archive):
    features, answers = batches(archive, 0)[0]
    assert features.shape == (8, FRONT_END.frames, FRONT_END.n_mfcc)
    assert answers.shape == (8, 3)
    assert np.allclose(answers.sum(axis=1), 1.0)
    assert np.isfinite(features).all()


def test_a_collection_smaller_than_a_batch_is_one_step(archive):
    few = batches(archive, 0, batch=500)
    assert len(few) == 1
    assert len(few[0][0]) == 48
