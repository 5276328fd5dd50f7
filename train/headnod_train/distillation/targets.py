"""Targets of a distillation: the tagger with a linear head, and YAMNet, both on clean sound; and the genre heads.

The log-probabilities of both teachers are added: the tagger with its head is more accurate on music like the labelled
tracks, YAMNet on other music, and the sum is more accurate than either.

The teacher's head is a standardised logistic regression from fifty tags to genres, fitted on stored tags of labelled
tracks; it has so few parameters that a few hundred tracks suffice. A sigmoid in int8 would cost half a point, so the
network has a hidden layer on the embedding instead, trained on the teachers' predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from headnod.inference.manifest import sigmoid
from headnod_train.backend import keras, tf
from headnod_train.dataset.archive import Archive
from headnod_train.distillation.batches import network_input
from headnod_train.distillation.network import Parameters
from headnod_train.distillation.quantisation import evaluated
from headnod_train.distillation.recordings import RecordingError
from headnod_train.distillation.student import TeacherAnswers, targets
from headnod_train.distillation.tagging import TaggerError
from headnod_train.distillation.window_sets import WindowSet, genre_scores
from headnod_train.storage import open_npz, write_npz

INVERSE_STRENGTHS = (0.001, 0.003, 0.01, 0.03)
"""Candidates for the inverse strength of regularisation."""


@dataclass(frozen=True)
class Head:
    """Weights of a linear layer on tags as probabilities."""

    kernel: NDArray[np.float64]
    """(50, genres)."""

    bias: NDArray[np.float64]
    """(genres,)."""

    def log_probabilities(self, tags: NDArray[np.floating]) -> NDArray[np.float64]:
        """Log probability of each genre, (n, genres), for probabilities of tags, (n, 50)."""
        logits = np.asarray(tags, np.float64) @ self.kernel + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def fit_head(tags: NDArray[np.floating], genres: NDArray[np.intp], *, inverse_strength: float) -> Head:
    """Fit the head.

    Args:
        tags: Probabilities of tags, (n, 50).
        genres: The genre of each row, (n,).
        inverse_strength: C of scikit-learn: the smaller, the stronger the regularisation.
    """
    tags = np.asarray(tags, np.float64)
    mean, deviation = tags.mean(axis=0), tags.std(axis=0)
    fitted = LogisticRegression(C=inverse_strength, max_iter=1000).fit((tags - mean) / deviation, genres)
    kernel = fitted.coef_ / deviation
    return Head(kernel.T, fitted.intercept_ - kernel @ mean)


def choose_strength(tags: NDArray[np.floating], genres: NDArray[np.intp], artists: NDArray[np.intp]) -> float:
    """The inverse strength with the highest accuracy in cross-validation by artist."""
    right = dict.fromkeys(INVERSE_STRENGTHS, 0)
    for learned, held in GroupKFold(5).split(tags, genres, artists):
        for strength in INVERSE_STRENGTHS:
            head = fit_head(tags[learned], genres[learned], inverse_strength=strength)
            guesses = head.log_probabilities(tags[held]).argmax(axis=1)
            right[strength] += int((guesses == genres[held]).sum())
    return max(INVERSE_STRENGTHS, key=lambda strength: right[strength])


def read_tags(
    path: Path, learned: Archive, labels: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """Stored tags of tracks, with the genre and the artist of each row."""
    with open_npz(path, "a file of tags (make it with 'headnod-train tag')", TaggerError) as stored:
        rows, names = np.asarray(stored["tags"], np.float32), stored["track"]
    order = {str(name): place for place, name in enumerate(learned.tracks)}
    known = np.isin(names, list(order))
    if not known.any():
        raise TaggerError(f"{path}: has no track of the train split (its first is '{names[0] if len(names) else ''}')")
    places = np.array([order[str(name)] for name in names[known]], np.intp)
    artists = learned.artists[places].astype(np.intp)
    # A track without a known artist is a group of its own.
    return rows[known], learned.targets(labels)[places], np.where(artists < 0, -1 - places, artists)


HIDDEN = 64
_BATCH, _RATE = 256, 3e-3
_TEACHER = 0.95
"""Share of the teachers' prediction in the target of a labelled window; the rest is its label."""
_SMOOTHED = 0.05
"""Label smoothing. It halves the range of the logits, and so their int8 step."""
_MUSIC_GAIN = 3.0


def answer_targets(windows: WindowSet, teachers: TeacherAnswers) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Targets of the network's answers; see `headnod_train.distillation.student.targets`."""
    return targets(windows, teachers, teacher_share=_TEACHER, music_gain=_MUSIC_GAIN, smoothing=_SMOOTHED)


def fit_answers(embeddings: NDArray[np.float32], targets: NDArray[np.float32], *, steps: int, seed: int) -> Parameters:
    """Train the head.

    Args:
        embeddings: (n, 200).
        targets: Probabilities, (n, answers).
        steps: Steps of Adam, with batches of 256.
        seed: Seed of the weights and batches.

    Returns:
        `hidden.kernel`, `hidden.bias`, `answers.kernel` and `answers.bias`.
    """
    rng = np.random.default_rng(seed)
    sizes = (embeddings.shape[1], HIDDEN, targets.shape[1])
    values = []
    for given, made in pairwise(sizes):
        values += [rng.normal(0.0, (2.0 / given) ** 0.5, (given, made)), np.zeros(made)]
    variables = [tf.Variable(value, dtype=tf.float32) for value in values]
    rate = keras.optimizers.schedules.CosineDecay(_RATE, steps)
    adam = keras.optimizers.AdamW(rate, weight_decay=3e-3)

    def learn(x: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu6(x @ variables[0] + variables[1])
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(wanted, hidden @ variables[2] + variables[3]))
        adam.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    graph = tf.function(learn)
    for _ in range(steps):
        rows = rng.integers(len(embeddings), size=_BATCH)
        graph(tf.constant(embeddings[rows]), tf.constant(targets[rows]))
    names = ("hidden.kernel", "hidden.bias", "answers.kernel", "answers.bias")
    return {name: variable.numpy().astype(np.float64) for name, variable in zip(names, variables, strict=True)}


YAMNET_WEIGHTS = (0.1, 0.2)
"""Weights of YAMNet's log-probability relative to the tagger's, on labelled clips and on other music.

With 1.0 the head on the tagger's embedding loses five points on labelled clips.
"""

_FAINT = 0.003
"""Added to YAMNet's scores before they are normalised: smaller scores are noise."""
_AT_ONCE = 2048


def teach(
    windows: WindowSet, tagger: Parameters, head: Head, classes: Sequence[str], labels: tuple[str, ...]
) -> TeacherAnswers:
    """Compute the predictions of the teachers."""
    tags = outputs_of(tagger, windows.clean16, "tags")
    scores = windows.yamnet.astype(np.float32)
    weight = np.where(windows.kind == "gtzan", *YAMNET_WEIGHTS)[:, None]
    genre = combined(head.log_probabilities(sigmoid(tags)), genre_scores(scores, list(classes), labels), weight)
    return TeacherAnswers(genre.astype(np.float32), scores[:, list(classes).index("Music")], tags)


def outputs_of(parameters: Parameters, log_mel: NDArray[np.float16], name: str) -> NDArray[np.float32]:
    """One output of the network in float32 for memory-mapped windows in decibels, (n, numbers)."""
    offset = float(parameters["offset"])
    starts = range(0, len(log_mel), _AT_ONCE)
    parts = [evaluated(parameters, network_input(log_mel[start : start + _AT_ONCE], offset))[name] for start in starts]
    return np.concatenate(parts)


def combined(
    log_probabilities: NDArray[np.floating], scores: NDArray[np.floating], weight: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Log-probabilities of both teachers combined, (n, labels).

    Args:
        log_probabilities: Log-probabilities of the tagger, (n, labels).
        scores: Scores of YAMNet for the same genres, (n, labels).
        weight: Weight of YAMNet, (n, 1).
    """
    summed = log_probabilities + weight * np.log(scores + _FAINT)
    return np.asarray(summed - np.logaddexp.reduce(summed, axis=1, keepdims=True), np.float64)


def save_targets(path: Path, answers: TeacherAnswers) -> None:
    """Write predictions to a file."""
    write_npz(path, {"tags": answers.tags.astype(np.float16), "genre": answers.genre, "music": answers.music})


def read_targets(path: Path, windows: WindowSet) -> TeacherAnswers:
    """Read predictions from a file."""
    with open_npz(path, "a file of teachers' answers", RecordingError) as held:
        answers = TeacherAnswers(held["genre"], held["music"], held["tags"].astype(np.float32))
    if len(answers.music) != len(windows):
        raise RecordingError(
            f"{path}: has predictions for {len(answers.music)} windows, not {len(windows)} (delete it, distil again)"
        )
    return answers
