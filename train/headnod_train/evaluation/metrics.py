"""Figures from answers: how often right, how sure of that, how honest the chances.

Plain functions of arrays that know nothing of models or archives, so each can
be checked by hand.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.intp]
"""Places in the list of genres, one an answer."""
Probabilities = NDArray[np.float32]
"""Probabilities, shape (answers, labels); less than 1 in sum where a network also knows of no music."""

RESAMPLES = 4000
"""Draws of the bootstrap: its ends then wander by a tenth of a point."""
_LEAST = 1e-6


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often something was right."""

    accuracy: float
    """Share of right answers (0-1)."""

    ci95: tuple[float, float]
    """95 % interval of the same, by bootstrap over tracks."""

    count: int
    """Answers."""


class Bin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answers that were about equally sure."""

    confidence: float
    """Mean probability of what they said."""

    accuracy: float
    """How often they were right."""

    count: int
    """Answers."""


def share_right(right: NDArray[np.bool_], tracks: NDArray[np.intp], *, seed: int = 0) -> Share:
    """Accuracy with its interval.

    Answers about one track stand or fall together, so whole tracks are drawn
    (cluster bootstrap, percentile interval: Davison and Hinkley, 1997).

    Args:
        right: Whether each answer was right, shape (n,), n >= 1.
        tracks: The track of each answer, shape (n,).
        seed: Seed of the draws: the same answers always give the same interval.
    """
    names, place = np.unique(tracks, return_inverse=True)
    counts = np.bincount(place)
    hits = np.bincount(place, weights=right)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    low, high = np.percentile((drawn @ hits) / (drawn @ counts), (2.5, 97.5))
    return Share(_rounded(right.mean()), (_rounded(low), _rounded(high)), len(right))


def confusion(targets: Labels, guesses: Labels, labels: int) -> NDArray[np.intp]:
    """Answers counted by what was played (rows) and what was said (columns)."""
    counts = np.zeros((labels, labels), np.intp)
    np.add.at(counts, (targets, guesses), 1)
    return counts


def calibration_error(probabilities: Probabilities, targets: Labels, *, bins: int = 15) -> float:
    """Expected calibration error (Guo and others, 2017).

    The gap between mean confidence and accuracy in each of so many equal bins
    of confidence, weighted by how many answers fall into it.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    place = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(targets))


def noise_floor(probabilities: Probabilities, tracks: NDArray[np.intp], *, draws: int = 50, seed: int = 0) -> float:
    """The calibration error that these chances would show if each of them were true.

    It is no 0: estimates of one track are right or wrong together, so a bin
    holds few independent answers. What was played is drawn from the chances,
    with one throw of the dice a track, and the mean error of many draws taken.

    Args:
        probabilities: One row an answer.
        tracks: The track of each answer, shape (answers,).
        draws: How often.
        seed: Of the draws.
    """
    names, place = np.unique(tracks, return_inverse=True)
    reached = probabilities.cumsum(axis=1) / probabilities.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    throws = rng.uniform(size=(draws, len(names), 1))[:, place]
    return float(np.mean([calibration_error(probabilities, (reached > throw).argmax(axis=1)) for throw in throws]))


def reliability(probabilities: Probabilities, targets: Labels, *, bins: int = 15) -> tuple[Bin, ...]:
    """Answers by how sure they were, in the bins of `calibration_error`; empty bins are left out."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    place = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    return tuple(
        Bin(
            _rounded(confidence[place == each].mean()),
            _rounded(right[place == each].mean()),
            int((place == each).sum()),
        )
        for each in np.unique(place)
    )


def top_confidence(probabilities: Probabilities) -> NDArray[np.float32]:
    """What an estimate's certainty is held against, shape (answers,).

    Args:
        probabilities: Of the labels. What is missing to 1 is the chance of no music at all.

    Returns:
        The highest chance of a label; 0 where no music is likelier, because then none is named.
    """
    highest = probabilities.max(axis=1)
    return np.where(highest >= 1.0 - probabilities.sum(axis=1), highest, np.float32(0.0))


def most_confident(confidence: NDArray[np.float32], share: float) -> NDArray[np.intp]:
    """Places of that share of answers that are surest, at least one, the surest first."""
    return np.argsort(-confidence, kind="stable")[: max(round(share * len(confidence)), 1)]


def exact_binomial(one: int, other: int) -> float:
    """Chance of a split at least as uneven between two equally likely sides, two-sided.

    McNemar's test in its exact form when given the answers that only the one
    and only the other model had right.
    """
    fewer, together = min(one, other), one + other
    if fewer * 2 == together:
        return 1.0
    ways = whole = 1
    for count in range(fewer):
        ways = ways * (together - count) // (count + 1)
        whole += ways
    return 2 * whole / 2**together


def negative_log_likelihood(probabilities: Probabilities, targets: Labels) -> float:
    """Mean negative log-likelihood of what was played, in nats."""
    given = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(given, _LEAST)).mean())


def by_track(probabilities: Probabilities, tracks: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean log probability over the windows of each track, shape (tracks, labels).

    Args:
        probabilities: One row a window.
        tracks: The track of each window, counted from 0 without a gap.
    """
    evidence = np.log(np.maximum(probabilities, np.float32(_LEAST))).astype(np.float64)
    sums = np.zeros((int(tracks.max()) + 1, probabilities.shape[1]))
    np.add.at(sums, tracks, evidence)
    return sums / np.bincount(tracks)[:, None]


def _rounded(value: float) -> float:
    return round(float(value), 4)
