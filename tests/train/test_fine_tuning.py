"""Fine-tuning of the dense layer: it learns what the embedding leaves out, and nothing where there is nothing."""

import numpy as np
import pytest

from headnod.inference.manifest import MODEL, read_manifest
from headnod.resources import find_model
from headnod.teaching.fitting import Features, fit
from headnod.teaching.last_layer import LastLayer
from headnod_train.teaching.fine_tuning import fine_tune


@pytest.fixture(scope="module")
def last():
    folder = find_model("genre")
    return LastLayer((folder / MODEL).read_bytes(), read_manifest(folder))


def windows(last, labels):
    """Inputs of both layers for 120 tracks of 3 windows, 30 artists.

    The label shifts the inputs of the dense layer in a direction that its weights do not pass on.
    """
    rng = np.random.default_rng(3)
    dense = last.dense
    hidden = np.linalg.svd(dense.kernel)[2][-1]
    label = np.repeat(labels, 3)
    pooled = rng.normal(0.0, 0.5, (len(label), dense.kernel.shape[1])) + 3.0 * np.outer(2 * label - 1, hidden)
    embedding = np.clip(dense.logits(pooled), *last.bounds)
    values = np.concatenate([embedding, rng.random((len(label), 64))], axis=1)
    tracks = np.repeat(np.arange(120), 3)
    return Features(values.astype(np.float32), label, tracks, tracks // 4), pooled.astype(np.float32)


def test_a_difference_that_the_shipped_embedding_leaves_out_is_learned(last):
    music, pooled = windows(last, np.arange(120) // 4 % 2)
    fitted = fit(music, 2)
    assert (fitted.held_out.argmax(axis=1) == music.labels).mean() < 0.65
    tuned = fine_tune(music, pooled, last, fitted)
    assert (tuned.held_out.argmax(axis=1) == music.labels).mean() > 0.9
    assert tuned.gain.ci95[0] > 0.2
    assert tuned.epochs > 0
    assert (tuned.network.logits(pooled, music.values).argmax(axis=1) == music.labels).mean() > 0.95


def test_labels_by_chance_give_no_gain(last):
    music, pooled = windows(last, np.zeros(120, np.intp))
    labels = np.random.default_rng(5).integers(0, 2, 30)[music.groups]
    music = Features(music.values, labels, music.tracks, music.groups)
    tuned = fine_tune(music, pooled, last, fit(music, 2))
    assert tuned.gain.ci95[0] <= 0.0
