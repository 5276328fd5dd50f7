"""Smoothing over time: of scores, of the genre that is shown, and of the bars that show it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headnod.inference.manifest import softmax

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_LEAST = 1e-6
"""Lower limit of probabilities before the logarithm."""

_SONG = 10.0
"""Ratio of the smoothing time within one song to `listen.smoothing`, if song changes are detected."""

_FAR = 0.2
"""Cosine distance between the embedding of a window and the mean of its song above which the
window may belong to another song."""

_APART = 3.0
"""Seconds for which windows must exceed `_FAR`, so that the first and the last share no audio."""


def log_mean(scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Mean of scores in the log domain, shape (answers,), summing to 1."""
    return softmax(_log(np.stack(scores)).mean(axis=0))


def _decay(seconds: float, every: float) -> float:
    """Factor per value of an exponentially weighted mean over `seconds` of values that are `every` seconds apart.

    The time constant is seconds / 2: then the weights have the same mean age as
    those of a plain mean over `seconds`.
    """
    return math.exp(-2.0 * every / seconds) if seconds > 0 else 0.0


def _log(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log(np.maximum(scores, np.float32(_LEAST)))


class RunningMean:
    """Exponentially weighted arithmetic mean.

    >>> mean = RunningMean(seconds=12.0, every=3.0)
    >>> [round(float(mean.update(np.array([value]))[0]), 2) for value in (1.0, 0.0, 0.0)]
    [1.0, 0.38, 0.19]
    """

    def __init__(self, *, seconds: float, every: float) -> None:
        """Average over `seconds` of values that are `every` seconds apart."""
        self._keep = _decay(seconds, every)
        self._sum: NDArray[np.floating] | float = 0.0
        self._weight = 0.0

    @property
    def empty(self) -> bool:
        """There was no update since the start or the last reset."""
        return self._weight == 0.0

    def update(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add values; returns the mean, of the same shape."""
        self._sum = self._keep * self._sum + values
        self._weight = self._keep * self._weight + 1.0
        return np.asarray(self._sum / self._weight, np.float32)

    def reset(self) -> None:
        """Discard all values."""
        self._sum = 0.0
        self._weight = 0.0


class Smoother(RunningMean):
    """Exponentially weighted mean of scores in the log domain.

    Log probabilities add up like evidence: one confident window outweighs several
    uncertain ones, and a genre once ruled out needs several windows to return.

    >>> smoother = Smoother(seconds=12.0, every=3.0)
    >>> smoother.update(np.array([0.5, 0.5], np.float32)).round(2).tolist()
    [0.5, 0.5]
    >>> smoother.update(np.array([0.9, 0.1], np.float32)).astype(float).round(2).tolist()
    [0.8, 0.2]
    """

    def update(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add the scores of a window; returns smoothed scores, shape (answers,), summing to 1."""
        return softmax(super().update(_log(scores)))


class Hysteresis:
    """Keeps the most probable answer until another exceeds it by a margin.

    Works like a Schmitt trigger: with two genres of almost equal probability, the
    display would otherwise change every few seconds.

    >>> hysteresis = Hysteresis(lead=0.3)
    >>> [hysteresis.update(np.array(scores)) for scores in ([0.6, 0.4], [0.4, 0.6], [0.3, 0.7])]
    [0, 0, 1]
    """

    def __init__(self, *, lead: float) -> None:
        """Switch to another answer if its probability is greater by `lead`."""
        self._lead = lead
        self._kept: int | None = None

    def update(self, scores: NDArray[np.float32]) -> int:
        """Index of the answer to show for the latest scores, shape (answers,)."""
        best = int(scores.argmax())
        if self._kept is None or scores[best] >= scores[self._kept] + self._lead:
            self._kept = best
        return self._kept

    def reset(self) -> None:
        """Accept the most probable answer next time."""
        self._kept = None


class SongChangeDetector:
    """Detects the start of another song by the embeddings of windows.

    >>> change = SongChangeDetector(seconds=120.0, every=3.0)
    >>> [change.update(np.array(window)) for window in ([1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9])]
    [False, False, False, True]
    """

    def __init__(self, *, seconds: float, every: float) -> None:
        """Compare with the mean over `seconds` of windows that are `every` seconds apart."""
        self.windows = 1 + math.ceil(_APART / every)
        """Number of successive distant windows that make a change, which is detected at the last of them."""
        self._keep = _decay(seconds, every)
        self._far: list[NDArray[np.floating]] = []
        self._sum: NDArray[np.floating] | None = None
        self._count = 0

    def update(self, embedding: NDArray[np.float32]) -> bool:
        """Whether the latest `windows` windows belong to another song than those before, shape (n,)."""
        length = float(np.linalg.norm(embedding))
        unit = embedding / length if length > 0 else embedding
        if self._sum is None or self._count < self.windows or not self._is_far(unit, self._sum):
            self._far.clear()
            self._sum = unit if self._sum is None else self._keep * self._sum + unit
            self._count += 1
            return False
        self._far.append(unit)
        if len(self._far) < self.windows:
            return False
        self._sum, self._count = np.sum(self._far, axis=0), self.windows
        self._far.clear()
        return True

    def reset(self) -> None:
        """Discard all embeddings."""
        self._far.clear()
        self._sum, self._count = None, 0

    @staticmethod
    def _is_far(unit: NDArray[np.floating], mean: NDArray[np.floating]) -> bool:
        length = float(np.linalg.norm(unit) * np.linalg.norm(mean))
        return length > 0 and 1.0 - float(unit @ mean) / length > _FAR


class Decision(NamedTuple):
    """Result of smoothing and hysteresis after a window."""

    scores: NDArray[np.float32]
    """Smoothed scores, shape (answers,), summing to 1."""

    answer: int
    """Index of the answer to show."""

    above_threshold: bool
    """The greatest smoothed score reaches the threshold."""


class GenreTracker:
    """Smoothing, hysteresis and threshold: one answer from successive windows.

    The listener and the evaluation both use this class, so measured results hold for
    the listener.

    >>> tracker = GenreTracker(seconds=12.0, every=3.0, lead=0.3, threshold=0.5)
    >>> [tracker.update(np.array(scores, np.float32)).answer for scores in ([0.8, 0.2], [0.4, 0.6], [0.1, 0.9])]
    [0, 0, 1]
    """

    def __init__(self, *, seconds: float, every: float, lead: float, threshold: float) -> None:
        """Start without windows.

        Args:
            seconds: Smoothing time.
            every: Seconds between windows.
            lead: See `Hysteresis`.
            threshold: Minimum smoothed probability of a named genre (0-1).
        """
        self._smoother, self._hysteresis = Smoother(seconds=seconds, every=every), Hysteresis(lead=lead)
        self._song = Smoother(seconds=_SONG * seconds, every=every)
        self._change = SongChangeDetector(seconds=_SONG * seconds, every=every)
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=self._change.windows)
        self._threshold = threshold

    @property
    def empty(self) -> bool:
        """There was no window since the start or the last reset."""
        return self._smoother.empty and self._song.empty

    def update(self, scores: NDArray[np.float32], embedding: NDArray[np.float32] | None = None) -> Decision:
        """Add the scores of a window, shape (answers,).

        With an embedding, song changes are detected and scores are averaged over more of each song.
        """
        smoothed = self._smoother.update(scores) if embedding is None else self._within_song(scores, embedding)
        return Decision(smoothed, self._hysteresis.update(smoothed), bool(smoothed.max() >= self._threshold))

    def _within_song(self, scores: NDArray[np.float32], embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        self._recent.append(scores)
        if not self._change.update(embedding):
            return self._song.update(scores)
        self._song.reset()
        self._hysteresis.reset()
        return [self._song.update(each) for each in self._recent][-1]

    def reset(self) -> None:
        """Discard all windows."""
        self._smoother.reset()
        self._song.reset()
        self._change.reset()
        self._recent.clear()
        self._hysteresis.reset()


RISE, FALL = 0.15, 0.9
"""Time constants of bars upwards and downwards in seconds: after it, 63 % of the way is done."""


class EnvelopeFollower:
    """Bar heights that approach their targets exponentially: fast upwards, slowly downwards.

    The result does not depend on the step length: two steps of half a second are one of a second.

    >>> follower = EnvelopeFollower(2)
    >>> follower.update([1.0, 0.0], 0.3).round(2).tolist()
    [0.86, 0.0]
    >>> follower.update([0.0, 0.0], 0.3).round(2).tolist()
    [0.62, 0.0]
    """

    def __init__(self, size: int) -> None:
        """Start with this number of bars at 0."""
        self._heights = np.zeros(size)

    def update(self, targets: ArrayLike, seconds: float) -> NDArray[np.float64]:
        """Advance by a time step.

        Args:
            targets: Heights to approach, shape (size,).
            seconds: Length of the step; 0 or less changes nothing.

        Returns:
            The new heights, shape (size,).
        """
        goals = np.asarray(targets, np.float64)
        share = np.where(goals > self._heights, _share(seconds, RISE), _share(seconds, FALL))
        self._heights = self._heights + (goals - self._heights) * share
        return self._heights.copy()

    def reset(self) -> None:
        """Set all bars to 0 at once."""
        self._heights = np.zeros_like(self._heights)


def _share(seconds: float, constant: float) -> float:
    return 1.0 - math.exp(-seconds / constant) if seconds > 0 else 0.0
