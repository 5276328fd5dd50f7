"""Smoothing: what was heard shortly before has a say in what is heard now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headnod.model import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = 1e-6


def mean_of(scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of scores in the log domain, shape (labels,), summing to 1."""
    return softmax(_evidence(np.stack(scores)).mean(axis=0))


class Smoother:
    """A running mean of scores in the log domain.

    Log scores add up like evidence: one confident window outweighs several
    doubtful ones, and a genre that was once ruled out must earn its way back.

    >>> smoother = Smoother(seconds=12.0, every=3.0)
    >>> smoother.update(np.array([0.5, 0.5], np.float32)).round(2).tolist()
    [0.5, 0.5]
    >>> smoother.update(np.array([0.9, 0.1], np.float32)).round(2).tolist()
    [0.78, 0.22]
    """

    def __init__(self, *, seconds: float, every: float) -> None:
        """Average over so many seconds of scores that come so often.

        An exponential mean that weighs like a plain mean over `seconds` has a
        time constant of half of that.
        """
        self._keep = math.exp(-2.0 * every / seconds) if seconds > 0 else 0.0
        self._sum: NDArray[np.floating] | float = 0.0
        self._weight = 0.0

    def update(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores smoothed with those before them, shape (labels,), summing to 1."""
        self._sum = self._keep * self._sum + _evidence(scores)
        self._weight = self._keep * self._weight + 1.0
        return softmax(np.asarray(self._sum / self._weight, np.float32))

    def forget(self) -> None:
        """Start anew: what comes next has nothing to do with what was."""
        self._sum = 0.0
        self._weight = 0.0


def _evidence(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log(np.maximum(scores, np.float32(_LEAST)))
