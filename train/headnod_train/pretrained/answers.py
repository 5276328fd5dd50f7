"""The head inside the file: from the embedding to ten genres and an answer for sound that is no music.

The teacher's head reads probabilities of tags, and a sigmoid in int8 costs half a point. So a hidden layer on the
embedding learns what the teachers say.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headnod_train.backend import keras, tf
from headnod_train.distillation.student import TeacherAnswers
from headnod_train.distillation.window_sets import WindowSet
from headnod_train.pretrained.pruning import Parameters

HIDDEN = 64
_BATCH, _RATE = 256, 3e-3
_TEACHER = 0.95
"""How much of the target of a labelled window is the teachers' answer; the rest is its label."""
_SMOOTHED = 0.05
"""Share of a target that is spread over all answers. It halves the range of the logits, and with it their int8 step."""
_MUSIC = 0.5
"""YAMNet's score for music above which sound listed as noise is left out: some files are jingles."""


def answer_targets(windows: WindowSet, teachers: TeacherAnswers) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What the network shall answer.

    Returns:
        Probabilities of genres and of no music, (n, genres + 1), and which windows are worth learning from, (n,).
    """
    genre = np.exp(teachers.genre)
    labelled = windows.genre >= 0
    labels = np.eye(genre.shape[1], dtype=np.float32)[np.maximum(windows.genre, 0)]
    genre[labelled] = _TEACHER * genre[labelled] + (1.0 - _TEACHER) * labels[labelled]
    listed = np.isin(windows.kind, ("music", "gtzan"))
    # Game music has voices and machines in it.
    music = np.where(windows.kind == "music", np.clip(3.0 * teachers.music, 0.0, 1.0), listed).astype(np.float32)
    useful = listed | (teachers.music < _MUSIC)
    answers = np.column_stack([genre * music[:, None], 1.0 - music])
    return ((1.0 - _SMOOTHED) * answers + _SMOOTHED / answers.shape[1]).astype(np.float32), useful


def fit_answers(
    embeddings: NDArray[np.float32], targets: NDArray[np.float32], *, steps: int, seed: int, decay: float = 3e-3
) -> Parameters:
    """Learn the head.

    Args:
        embeddings: (n, 200).
        targets: Probabilities, (n, answers).
        steps: Of Adam, with batches of 256.
        seed: Decides weights and batches.
        decay: Weight decay.

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
    adam = keras.optimizers.AdamW(rate, weight_decay=decay)

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
