"""Moments of the last hours that would teach a model most: uncertain answers to sounds unlike those that have labels.

Active learning by margin (Scheffer et al. 2001) and novelty of the embedding; each suggestion counts as labelled for
the next, so that ten differ from each other.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.escaping import NO_MUSIC
from headnod.teaching.corrections import NOT_MUSIC
from headnod.teaching.recent_windows import EmbeddedWindows

FILE = "headnod-suggestions.json"
"""File of the runtime folder with the suggestions of a running listener."""

_LENGTH, _SHORTEST = 20, 5
"""Windows of one moment: a minute at one in three seconds, and at least."""
_GAP = 3.0
"""Ratio of a pause to the usual time between windows that ends a moment."""


class Suggestion(msgspec.Struct, frozen=True):
    """One moment."""

    start: float
    """Seconds since 1970."""

    end: float
    """Seconds since 1970."""

    answer: str
    """Most probable answer: a label, or `not music`."""

    margin: float
    """Mean difference of the two greatest probabilities (0-1): 0 is undecided."""

    novelty: float
    """Distance of the embedding to the nearest one with a label (0-1)."""


def suggest(
    windows: EmbeddedWindows, labelled: NDArray[np.floating], corrected: NDArray[np.float64], *, count: int = 10
) -> list[Suggestion]:
    """The moments that would teach most, the best first.

    Args:
        windows: The last hours.
        labelled: Embeddings with a label of the same network, (n, size).
        corrected: Times of windows with a label, seconds since 1970.
        count: Most suggestions.
    """
    moments = [rows for rows in _moments(windows.times) if not np.isin(windows.times[rows], corrected).any()]
    if not moments:
        return []
    values = windows.embeddings.astype(np.float32)
    centre = values.mean(axis=0)
    means = _units(np.stack([values[rows].mean(axis=0) for rows in moments]) - centre)
    ordered = np.sort(windows.scores.astype(np.float32), axis=1)
    margins = np.array([(ordered[rows, -1] - ordered[rows, -2]).mean() for rows in moments])
    known = _units(labelled.astype(np.float32) - centre) if len(labelled) else means[:0]
    # Without any label everything is equally new.
    nearest = (means @ known.T).max(axis=1) if len(known) else np.zeros(len(means), np.float32)
    found: list[Suggestion] = []
    left = np.ones(len(moments), np.bool_)
    for _ in range(min(count, len(moments))):
        novelty = np.clip(0.5 - 0.5 * nearest, 0.0, 1.0)
        best = int(np.where(left, (1.0 - margins) * novelty, -1.0).argmax())
        left[best] = False
        found.append(_suggestion(windows.rows(moments[best]), float(margins[best]), float(novelty[best])))
        nearest = np.maximum(nearest, means @ means[best])
    return found


def _suggestion(moment: EmbeddedWindows, margin: float, novelty: float) -> Suggestion:
    answer = moment.answers[int(np.log(np.maximum(moment.scores.astype(np.float32), 1e-6)).mean(axis=0).argmax())]
    return Suggestion(
        float(moment.times[0]),
        float(moment.times[-1]),
        NOT_MUSIC if answer == NO_MUSIC else answer,
        round(margin, 3),
        round(novelty, 3),
    )


def _moments(times: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Rows of successive windows, without pauses."""
    if len(times) < _SHORTEST:
        return []
    steps = np.diff(times)
    pauses = np.flatnonzero(steps > _GAP * np.median(steps)) + 1
    found: list[NDArray[np.intp]] = []
    for rows in np.split(np.arange(len(times)), pauses):
        found += [rows[start : start + _LENGTH] for start in range(0, len(rows), _LENGTH)]
    return [rows for rows in found if len(rows) >= _SHORTEST]


def _units(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9), np.float32)
