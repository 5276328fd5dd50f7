"""The teacher's head: from fifty tags to ten genres, by standardised logistic regression.

It learns from stored answers of the tagger about labelled tracks, which are clean and complete, and has so few numbers
that a few hundred tracks suffice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

INVERSE_STRENGTHS = (0.001, 0.003, 0.01, 0.03)
"""Inverse strengths of regularisation that are tried."""


@dataclass(frozen=True)
class Head:
    """Weights of a linear layer on tags as probabilities."""

    kernel: NDArray[np.float64]
    """(50, genres)."""

    bias: NDArray[np.float64]
    """(genres,)."""

    def log_probabilities(self, tag_logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Log probability of each genre, (n, genres), for logits of tags, (n, 50)."""
        logits = 1.0 / (1.0 + np.exp(-np.asarray(tag_logits, np.float64))) @ self.kernel + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def fit_head(tags: NDArray[np.floating], genres: NDArray[np.intp], *, inverse_strength: float) -> Head:
    """Fit the head.

    Args:
        tags: Probabilities of tags, (n, 50).
        genres: The genre of each row, (n,).
        inverse_strength: The smaller, the more regularised (C of scikit-learn).
    """
    tags = np.asarray(tags, np.float64)
    mean, deviation = tags.mean(axis=0), tags.std(axis=0)
    fitted = LogisticRegression(C=inverse_strength, max_iter=1000).fit((tags - mean) / deviation, genres)
    kernel = fitted.coef_ / deviation
    return Head(kernel.T, fitted.intercept_ - kernel @ mean)


def choose_strength(
    tags: NDArray[np.floating],
    genres: NDArray[np.intp],
    artists: NDArray[np.intp],
    *,
    strengths: Sequence[float] = INVERSE_STRENGTHS,
    folds: int = 5,
) -> float:
    """The inverse strength that is right most often on artists that a fit has not seen."""
    right = dict.fromkeys(strengths, 0)
    for learned, held in GroupKFold(folds).split(tags, genres, artists):
        for strength in strengths:
            head = fit_head(tags[learned], genres[learned], inverse_strength=strength)
            said = head.log_probabilities(_logits(tags[held])).argmax(axis=1)
            right[strength] += int((said == genres[held]).sum())
    return max(strengths, key=lambda strength: right[strength])


def read_tags(tags: Path, archive: Path) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """Stored answers of the tagger, with genre and artist of each row.

    Tracks that the archive does not have are left out. An unknown artist counts as one of its own.
    """
    with np.load(tags) as said, np.load(archive) as music:
        rows, names = said["tags"].astype(np.float32), said["track"]
        order = {name: place for place, name in enumerate(music["track"])}
        known = np.isin(names, list(order))
        rows, places = rows[known], np.array([order[name] for name in names[known]])
        genres = np.unique(music["genre"], return_inverse=True)[1][places]
        artists = music["artist"][places].astype(np.intp)
    return rows, genres, np.where(artists < 0, -1 - places, artists)


def _logits(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(probabilities, np.float64), 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(clipped / (1.0 - clipped)))
