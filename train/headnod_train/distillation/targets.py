"""Predictions of the teachers for prepared windows: the tagger with a linear head, and YAMNet, both on clean sound.

Their log-probabilities are added: the tagger with its head is more accurate on music like the labelled tracks, YAMNet
on other music, and the sum is more accurate than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.inference.manifest import sigmoid
from headnod_train.distillation.recordings import RecordingError
from headnod_train.distillation.student import TeacherAnswers
from headnod_train.distillation.window_sets import WindowSet
from headnod_train.distillation.yamnet import genre_scores
from headnod_train.pretrained.augmentation import network_input
from headnod_train.pretrained.head import Head
from headnod_train.pretrained.pruning import Parameters
from headnod_train.pretrained.quantisation import evaluated
from headnod_train.storage import open_npz, write_npz

YAMNET_WEIGHTS = (0.1, 0.2)
"""Weights of YAMNet's log-probability relative to the tagger's, on labelled clips and on other music.

With 1.0 the head on the tagger's embedding loses five points on labelled clips.
"""

_FAINT = 0.003
"""Added to YAMNet's scores before they are normalised: smaller scores are noise."""
_AT_ONCE = 2048


def teach(
    windows: WindowSet,
    tagger: Parameters,
    head: Head,
    classes: Sequence[str],
    labels: tuple[str, ...],
) -> TeacherAnswers:
    """Compute the predictions of the teachers.

    Args:
        windows: Prepared windows.
        tagger: The pruned tagger.
        head: Linear layer from its tags to genres.
        classes: Names of YAMNet's classes.
        labels: Genres, in the order of the head's outputs.
    """
    offset = float(tagger["offset"])
    tags = np.concatenate(
        [
            evaluated(tagger, network_input(windows.clean16[start : start + _AT_ONCE], offset))["tags"]
            for start in range(0, len(windows), _AT_ONCE)
        ]
    )
    scores = windows.yamnet.astype(np.float32)
    weight = np.where(windows.kind == "gtzan", *YAMNET_WEIGHTS)[:, None]
    genre = combined(head.log_probabilities(sigmoid(tags)), genre_scores(scores, list(classes), labels), weight)
    return TeacherAnswers(genre.astype(np.float32), scores[:, list(classes).index("Music")], tags)


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
    """Read predictions from a file.

    Raises:
        RecordingError: The file is malformed, or has predictions for other windows.
    """
    with open_npz(path, "a file of teachers' answers", RecordingError) as held:
        answers = TeacherAnswers(held["genre"], held["music"], held["tags"].astype(np.float32))
    if len(answers.music) != len(windows):
        message = (
            f"{path}: has predictions for {len(answers.music)} windows, not {len(windows)} (delete it, distil again)"
        )
        raise RecordingError(message)
    return answers
