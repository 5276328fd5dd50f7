"""The embeddings of the last hours' windows, in memory only: what a correction can refer to.

An embedding describes how a window sounds; no audio can be made from it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.pipeline.estimate import Estimate

if TYPE_CHECKING:
    from headnod.clock import Clock
    from headnod.inference.manifest import Manifest, Prediction

CAPACITY = 4_800
"""Windows that are kept: four hours at one in three seconds, 2 MB for an embedding of 200 numbers."""


class EmbeddedWindows(NamedTuple):
    """Windows of one network body, the oldest first."""

    model: str
    """Name and version of the model that listened."""

    body: str
    """`Manifest.body` of its network."""

    answers: tuple[str, ...]
    """Meaning of each score."""

    times: NDArray[np.float64]
    """Time of each window's estimate, seconds since 1970, (windows,)."""

    embeddings: NDArray[np.float16]
    """(windows, size)."""

    scores: NDArray[np.float16]
    """Probabilities of the window alone, (windows, answers)."""

    def between(self, start: float, end: float) -> NDArray[np.bool_]:
        """Whether each window is from `start` to `end`, both included, in seconds since 1970, (windows,)."""
        return (self.times >= start) & (self.times <= end)

    def rows(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> EmbeddedWindows:
        """Some of the windows."""
        return self._replace(times=self.times[rows], embeddings=self.embeddings[rows], scores=self.scores[rows])


class RecentWindows:
    """A bounded buffer of windows; thread-safe.

    Times are kept by the monotonic clock, so a wall clock that is set later gives the right dates.
    """

    def __init__(self, clock: Clock, *, capacity: int = CAPACITY) -> None:
        """Start empty."""
        self._clock, self._capacity = clock, capacity
        self._lock = threading.Lock()
        self._model, self._body = "", ""
        self._answers: tuple[str, ...] = ()
        self._count = 0
        self._times = np.empty(0)
        self._embeddings = self._scores = np.empty((0, 0), np.float16)

    def add(self, estimate: Estimate, prediction: Prediction, manifest: Manifest, answers: tuple[str, ...]) -> None:
        """Add a window; one without an embedding is left out, and another body starts anew."""
        if prediction.embedding is None:
            return
        with self._lock:
            if (manifest.id, answers) != (self._model, self._answers):
                self._start(manifest, answers, prediction.embedding.size)
            place = self._count % self._capacity
            self._times[place] = estimate.monotonic
            self._embeddings[place], self._scores[place] = prediction.embedding, prediction.scores
            self._count += 1

    def _start(self, manifest: Manifest, answers: tuple[str, ...], size: int) -> None:
        before, former = self._scores, self._answers
        # The system gives the pages of `empty` when they are first written to.
        self._scores = np.empty((self._capacity, len(answers)), np.float16)
        if manifest.body == self._body and size == self._embeddings.shape[1]:
            # A model that was taught here has the same embeddings, and other answers.
            for place, answer in enumerate(answers):
                self._scores[:, place] = before[:, former.index(answer)] if answer in former else 0.0
        else:
            self._count = 0
            self._times = np.empty(self._capacity)
            self._embeddings = np.empty((self._capacity, size), np.float16)
        self._model, self._body, self._answers = manifest.id, manifest.body, answers

    def all(self) -> EmbeddedWindows:
        """All windows."""
        with self._lock:
            kept = min(self._count, self._capacity)
            order = np.arange(self._count - kept, self._count) % self._capacity
            offset = self._clock.now().timestamp() - self._clock.monotonic()
            return EmbeddedWindows(
                self._model,
                self._body,
                self._answers,
                np.round(self._times[order] + offset, 3),
                self._embeddings[order],
                self._scores[order],
            )
