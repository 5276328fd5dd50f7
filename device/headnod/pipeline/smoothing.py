"""Smoothing: what was heard and said shortly before has a say in what is said now."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headnod.inference.prediction import softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = 1e-6

_SONG = 10.0
"""How much longer than `listen.smoothing` scores are averaged within one song, where a new song is detected."""

_FAR = 0.25
"""Cosine distance of a window's embedding from the mean of its song, above which the window may be of another song."""

_APART = 3.0
"""Seconds for which windows must stay that far, so that the last shares no sound with the first."""


def log_mean(scores: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of scores in the log domain, shape (labels,), summing to 1."""
    return softmax(_evidence(np.stack(scores)).mean(axis=0))


class Smoother:
    """A running mean of scores in the log domain.

    Log scores add up like evidence: one confident window outweighs several
    doubtful ones, and a genre that was once ruled out must earn its way back.

    >>> smoother = Smoother(seconds=12.0, every=3.0)
    >>> smoother.update(np.array([0.5, 0.5], np.float32)).round(2).tolist()
    [0.5, 0.5]
    >>> smoother.update(np.array([0.9, 0.1], np.float32)).astype(float).round(2).tolist()
    [0.8, 0.2]
    """

    def __init__(self, *, seconds: float, every: float) -> None:
        """Average over so many seconds of scores that come so often.

        An exponential mean that weighs like a plain mean over `seconds` has a
        time constant of half of that.
        """
        self._keep = math.exp(-2.0 * every / seconds) if seconds > 0 else 0.0
        self._sum: NDArray[np.floating] | float = 0.0
        self._weight = 0.0

    @property
    def empty(self) -> bool:
        """Nothing was heard yet, or since it last forgot."""
        return self._weight == 0.0

    def update(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores smoothed with those before them, shape (labels,), summing to 1."""
        self._sum = self._keep * self._sum + _evidence(scores)
        self._weight = self._keep * self._weight + 1.0
        return softmax(np.asarray(self._sum / self._weight, np.float32))

    def reset(self) -> None:
        """Start anew: what comes next has nothing to do with what was."""
        self._sum = 0.0
        self._weight = 0.0


class RunningMean:
    """A running arithmetic mean over about as many seconds as `Smoother` takes.

    >>> mean = RunningMean(seconds=12.0, every=3.0)
    >>> [round(float(mean.update(np.array([value]))[0]), 2) for value in (1.0, 0.0, 0.0)]
    [1.0, 0.38, 0.19]
    """

    def __init__(self, *, seconds: float, every: float) -> None:
        """Average over so many seconds of values that come so often."""
        self._keep = math.exp(-2.0 * every / seconds) if seconds > 0 else 0.0
        self._sum: NDArray[np.floating] | float = 0.0
        self._weight = 0.0

    def update(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values averaged with those before them, of the same shape."""
        self._sum = self._keep * self._sum + values
        self._weight = self._keep * self._weight + 1.0
        return np.asarray(self._sum / self._weight, np.float32)

    def reset(self) -> None:
        """Start anew."""
        self._sum = 0.0
        self._weight = 0.0


class Hysteresis:
    """The likeliest answer, kept until another is clearly ahead of it.

    A threshold with hysteresis, as in a Schmitt trigger: between two genres that
    are nearly as likely the display would change every few seconds.

    >>> hysteresis = Hysteresis(lead=0.3)
    >>> [hysteresis.of(np.array(scores)) for scores in ([0.6, 0.4], [0.4, 0.6], [0.3, 0.7])]
    [0, 0, 1]
    """

    def __init__(self, *, lead: float) -> None:
        """Change when another answer is ahead by so much in probability."""
        self._lead = lead
        self._kept: int | None = None

    def of(self, scores: NDArray[np.float32]) -> int:
        """Place of the answer that stands, given the newest scores, (answers,)."""
        best = int(scores.argmax())
        if self._kept is None or scores[best] >= scores[self._kept] + self._lead:
            self._kept = best
        return self._kept

    def reset(self) -> None:
        """The next answer is the likeliest one."""
        self._kept = None


class SongChangeDetector:
    """Detects that another song has begun, by the embeddings of windows.

    >>> change = SongChangeDetector(seconds=120.0, every=3.0)
    >>> [change.update(np.array(window)) for window in ([1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9])]
    [False, False, False, True]
    """

    def __init__(self, *, seconds: float, every: float) -> None:
        """Compare with the mean over so many seconds of windows that come so often."""
        self.windows = 1 + math.ceil(_APART / every)
        """Windows in a row that must be far; the change is detected with the last of them."""
        self._keep = math.exp(-2.0 * every / seconds) if seconds > 0 else 0.0
        self._far: list[NDArray[np.floating]] = []
        self._sum: NDArray[np.floating] | None = None
        self._count = 0

    def update(self, embedding: NDArray[np.float32]) -> bool:
        """Whether the latest `windows` windows, up to this one, are of another song than those before."""
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
        """Start anew."""
        self._far.clear()
        self._sum, self._count = None, 0

    @staticmethod
    def _is_far(unit: NDArray[np.floating], mean: NDArray[np.floating]) -> bool:
        length = float(np.linalg.norm(unit) * np.linalg.norm(mean))
        return length > 0 and 1.0 - float(unit @ mean) / length > _FAR


class Decision(NamedTuple):
    """What stands after a window, given those before it."""

    scores: NDArray[np.float32]
    """Smoothed, shape (answers,), summing to 1."""

    answer: int
    """Place of the answer that is kept."""

    sure: bool
    """Some answer is certain enough."""


class GenreTracker:
    """How one answer comes of many windows: smoothed, kept, and said only when certain enough.

    Listener and evaluation share it, so a figure of the one is a figure of the other.

    >>> tracker = GenreTracker(seconds=12.0, every=3.0, lead=0.3, certainty=0.5)
    >>> [tracker.update(np.array(scores, np.float32)).answer for scores in ([0.8, 0.2], [0.4, 0.6], [0.1, 0.9])]
    [0, 0, 1]
    """

    def __init__(self, *, seconds: float, every: float, lead: float, certainty: float) -> None:
        """Start with nothing heard; see `Smoother` and `Hysteresis`."""
        self._smoother, self._hysteresis = Smoother(seconds=seconds, every=every), Hysteresis(lead=lead)
        self._song = Smoother(seconds=_SONG * seconds, every=every)
        self._change = SongChangeDetector(seconds=_SONG * seconds, every=every)
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=self._change.windows)
        self._certainty = certainty

    @property
    def empty(self) -> bool:
        """Nothing was heard yet, or since it last forgot."""
        return self._smoother.empty and self._song.empty

    def update(self, scores: NDArray[np.float32], embedding: NDArray[np.float32] | None = None) -> Decision:
        """What stands now that a window has these scores, shape (answers,).

        With an embedding a new song is detected, so scores are averaged over more of each song.
        """
        smoothed = self._smoother.update(scores) if embedding is None else self._within_song(scores, embedding)
        return Decision(smoothed, self._hysteresis.of(smoothed), bool(smoothed.max() >= self._certainty))

    def _within_song(self, scores: NDArray[np.float32], embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        self._recent.append(scores)
        if not self._change.update(embedding):
            return self._song.update(scores)
        self._song.reset()
        self._hysteresis.reset()
        return [self._song.update(each) for each in self._recent][-1]

    def reset(self) -> None:
        """What comes next has nothing to do with what was."""
        self._smoother.reset()
        self._song.reset()
        self._change.reset()
        self._recent.clear()
        self._hysteresis.reset()


def _evidence(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.log(np.maximum(scores, np.float32(_LEAST)))
