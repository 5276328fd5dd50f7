"""The last layer of a student is fitted to labels, whatever its teacher predicted."""

import numpy as np
import pytest

from headnod_train.backend import keras, repeatable
from headnod_train.distillation.answer_layer import fit_answers_to_labels
from headnod_train.distillation.student import TrainingSet

GENRES, FRAMES, COEFFICIENTS = 3, 4, 6
SPREAD = np.zeros(COEFFICIENTS, np.float32), np.full(COEFFICIENTS, 0.5, np.float32)


@pytest.fixture
def network():
    repeatable(1)
    windows = keras.Input((FRAMES, COEFFICIENTS))
    embedding = keras.layers.Flatten()(windows)
    answers = keras.layers.Dense(GENRES + 1, name="logits")(embedding)
    return keras.Model(windows, [answers, keras.layers.Dense(2, name="tags")(embedding), embedding])


def training_set(kind, raised, answers):
    """Windows with one coefficient raised."""
    rng, n = np.random.default_rng(len(kind)), len(kind)
    windows = rng.normal(2.0, 1.0, (2, n, FRAMES, COEFFICIENTS))
    windows[:, np.arange(n), :, raised] += 6.0
    clean, degraded = windows.astype(np.float16)
    empty = np.zeros((n, 2), np.float32)
    return TrainingSet(clean, degraded, np.array(kind), answers.astype(np.float32), empty, empty, ())


def sets(labels):
    """Labelled windows, half of whose targets is the teacher's genre 0, and music, speech and noise."""
    archived = 0.5 * np.eye(GENRES + 1)[labels] + 0.5 * np.eye(GENRES + 1)[np.zeros_like(labels)] * 0.9
    kinds = np.resize(["speech", "noise", "music"], 60)
    other = np.where(kinds == "music", 0, GENRES)
    return (
        training_set(np.full(len(labels), "gtzan"), labels, archived),
        training_set(kinds, np.where(kinds == "music", GENRES + 1, other), np.eye(GENRES + 1)[other]),
    )


def answers(network, windows):
    return np.asarray(network((windows.astype(np.float32) - SPREAD[0]) / SPREAD[1])[0]).argmax(axis=1)


def test_labels_speech_and_noise_are_answered_clean_and_degraded(network):
    labels = np.resize([0, 0, 0, 0, 1, 2], 90)
    archived, prepared = sets(labels)
    fit_answers_to_labels(network, archived, prepared, SPREAD)
    other = prepared.kind != "music"
    for windows, sounds in ((archived.clean, prepared.clean), (archived.degraded, prepared.degraded)):
        assert (answers(network, windows) == labels).mean() > 0.95
        assert (answers(network, sounds[other]) == GENRES).mean() > 0.95


def test_degraded_windows_count_less_than_clean_ones(network):
    labels = np.resize(np.arange(GENRES), 210)
    archived, prepared = sets(labels)
    # The same sounds with contrary labels: the clean ones decide.
    contrary = TrainingSet(
        archived.clean, archived.clean[np.roll(np.arange(210), 1)], archived.kind, archived.answers, archived.tags,
        archived.embedding, (),
    )  # fmt: skip
    fit_answers_to_labels(network, contrary, prepared, SPREAD)
    assert (answers(network, contrary.clean) == labels).mean() > 0.95


def test_without_speech_and_noise_the_answer_not_music_is_kept(network):
    archived, prepared = sets(np.resize(np.arange(GENRES), 90))
    kernel = network.get_layer("logits").get_weights()[0].copy()
    none = TrainingSet(*(part[:0] for part in vars(prepared).values() if isinstance(part, np.ndarray)), ())
    fit_answers_to_labels(network, archived, none, SPREAD)
    fitted = network.get_layer("logits").get_weights()[0]
    np.testing.assert_array_equal(fitted[:, GENRES], kernel[:, GENRES])
    assert not np.allclose(fitted[:, :GENRES], kernel[:, :GENRES])


def test_two_answers_are_told_apart(network):
    archived, prepared = sets(np.resize([1, 2], 90))
    none = TrainingSet(*(part[:0] for part in vars(prepared).values() if isinstance(part, np.ndarray)), ())
    fit_answers_to_labels(network, archived, none, SPREAD)
    assert (answers(network, archived.clean) == np.resize([1, 2], 90)).mean() > 0.85
