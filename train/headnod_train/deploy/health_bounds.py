"""The bounds of health: how spread a model's answers are when all is well, for a probation to hold it to.

Alone because it needs an archive, which signing otherwise does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.inference.manifest import Health
from headnod.inference.model import GenreModel
from headnod.updates.probation import entropy
from headnod_train.dataset.archive import Archive
from headnod_train.evaluation.predictions import predict

_MARGIN = 0.25
"""What is left between the least of what was measured and what is a fault: a room is no archive."""


def measure(model: GenreModel, archive: Archive, *, split: str, console: Console) -> Health:
    """Bounds of the mean entropy of some windows of one piece of music.

    Args:
        model: The model of the bundle.
        archive: Tracks to run the model on.
        split: The side of it that is used.
        console: Where progress is shown.

    Raises:
        ArchiveError: The split is empty, or a genre is none of the model's.
    """
    heard = predict(model, archive.subset(split), console=console)
    return health_of_scores(heard.stream(model.manifest.temperature), heard.tracks)


def health_of_scores(scores: NDArray[np.floating], tracks: NDArray[np.intp]) -> Health:
    """Bounds of the mean entropy of each track's scores.

    Args:
        scores: Probabilities of each window, shape (windows, answers).
        tracks: Track of each window, shape (windows,).
    """
    spread = np.array([entropy(tuple(map(float, row))) for row in scores])
    return bounds([float(spread[tracks == track].mean()) for track in np.unique(tracks)])


def bounds(means: list[float]) -> Health:
    """Bounds around the mean entropy of each track (0-1), with room on either side.

    >>> bounds([0.2, 0.4, 0.8])
    Health(entropy_low=0.05, entropy_high=0.95)
    """
    low, high = min(means), max(means)
    return Health(entropy_low=round(_MARGIN * low, 4), entropy_high=round(1.0 - _MARGIN * (1.0 - high), 4))
