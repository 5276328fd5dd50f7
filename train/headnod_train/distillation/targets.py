"""The teachers' answers to prepared windows: the tagger with a linear head, and YAMNet, both on the clean sound.

Their log-probabilities are added: the tagger with its head is better on music like the labelled tracks, YAMNet on all
other, and together they are better than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.inference.prediction import sigmoid
from headnod_train.distillation.recordings import RecordingError
from headnod_train.distillation.student import TeacherAnswers
from headnod_train.distillation.window_sets import WindowSet
from headnod_train.distillation.yamnet import genre_scores
from headnod_train.pretrained.augmentation import network_input
from headnod_train.pretrained.head import Head
from headnod_train.pretrained.pruning import Parameters
from headnod_train.pretrained.quantisation import evaluated
from headnod_train.storage import open_npz, write_npz

YAMNET_WEIGHTS = (1.0, 1.0)
"""Weights of YAMNet's log-probability beside the tagger's: on labelled clips, and on other music."""

_FAINT = 0.003
"""Is added to YAMNet's scores before they are normalised: below this they are noise."""
_AT_ONCE = 2048


def teach(
    windows: WindowSet,
    tagger: Parameters,
    head: Head,
    classes: Sequence[str],
    labels: tuple[str, ...],
    *,
    yamnet_weights: tuple[float, float] = YAMNET_WEIGHTS,
) -> TeacherAnswers:
    """Ask the teachers.

    Args:
        windows: Prepared windows.
        tagger: The pruned tagger.
        head: From its tags to genres.
        classes: Names of YAMNet's scores.
        labels: Genres, in the order of the head's answers.
        yamnet_weights: As `YAMNET_WEIGHTS`.
    """
    offset = float(tagger["offset"])
    tags = np.concatenate(
        [
            evaluated(tagger, network_input(windows.clean16[start : start + _AT_ONCE], offset))["tags"]
            for start in range(0, len(windows), _AT_ONCE)
        ]
    )
    scores = windows.yamnet.astype(np.float32)
    weight = np.where(windows.kind == "gtzan", *yamnet_weights)[:, None]
    genre = combined(head.log_probabilities(sigmoid(tags)), genre_scores(scores, list(classes), labels), weight)
    return TeacherAnswers(genre.astype(np.float32), scores[:, list(classes).index("Music")], tags)


def combined(
    log_probabilities: NDArray[np.floating], scores: NDArray[np.floating], weight: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Log-probabilities of both teachers together, (n, labels).

    Args:
        log_probabilities: The tagger's, (n, labels).
        scores: YAMNet's for the same genres, (n, labels).
        weight: Of YAMNet, (n, 1).
    """
    summed = log_probabilities + weight * np.log(scores + _FAINT)
    return np.asarray(summed - np.logaddexp.reduce(summed, axis=1, keepdims=True), np.float64)


def save_targets(path: Path, answers: TeacherAnswers) -> None:
    """Keep answers in a file."""
    write_npz(path, {"tags": answers.tags.astype(np.float16), "genre": answers.genre, "music": answers.music})


def read_targets(path: Path, windows: WindowSet) -> TeacherAnswers:
    """Answers of a file.

    Raises:
        RecordingError: It holds none, or those of other windows.
    """
    with open_npz(path, "a file of teachers' answers", RecordingError) as held:
        answers = TeacherAnswers(held["genre"], held["music"], held["tags"].astype(np.float32))
    if len(answers.music) != len(windows):
        message = f"{path}: answers {len(answers.music)} windows, there are {len(windows)} (make them again)"
        raise RecordingError(message)
    return answers
