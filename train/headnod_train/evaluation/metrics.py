"""Metrics of plain arrays: accuracy with intervals, calibration, confidence and significance."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.intp]
"""Indices of genres, shape (n,)."""

Probabilities = NDArray[np.float32]
"""Shape (n, labels); rows sum to less than 1 if the network has an extra output for "not music"."""

RESAMPLES = 4000
"""Draws of the bootstrap: ends of the interval then vary by a tenth of a point."""
_BINS, _DRAWS = 15, 50
"""Equal bins of confidence, and draws of labels for the noise floor."""
_LEAST = 1e-6


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Accuracy with its uncertainty."""

    accuracy: float
    """Share of correct predictions (0-1)."""

    ci95: tuple[float, float]
    """95 % confidence interval, by bootstrap over tracks."""

    count: int
    """Number of predictions."""


class Bin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bin of a reliability diagram."""

    confidence: float
    """Mean confidence."""

    accuracy: float
    count: int


def share_right(right: NDArray[np.bool_], tracks: NDArray[np.intp]) -> Share:
    """Accuracy with its interval.

    Predictions of one track are correlated, so whole tracks are resampled (cluster bootstrap, percentile interval:
    Davison and Hinkley, 1997).

    Args:
        right: Whether each prediction is correct, shape (n,), n >= 1.
        tracks: Track of each prediction, shape (n,).
    """
    names, place = np.unique(tracks, return_inverse=True)
    counts = np.bincount(place)
    hits = np.bincount(place, weights=right)
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    low, high = np.percentile((drawn @ hits) / (drawn @ counts), (2.5, 97.5))
    return Share(rounded(right.mean()), (rounded(low), rounded(high)), len(right))


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share of independent trials (Wilson, 1927), also where few or all are right."""
    z = 1.959964
    middle, scale = share + z * z / (2 * count), 1 + z * z / count
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return rounded((middle - half) / scale), rounded((middle + half) / scale)


def confusion(targets: Labels, guesses: Labels, labels: int) -> NDArray[np.intp]:
    """Confusion matrix, shape (labels, labels): rows are true genres, columns predicted ones."""
    counts = np.zeros((labels, labels), np.intp)
    np.add.at(counts, (targets, guesses), 1)
    return counts


def calibration_error(probabilities: Probabilities, targets: Labels) -> float:
    """Expected calibration error (Guo and others, 2017).

    The gap between mean confidence and accuracy in equal bins of confidence, weighted by the size of each bin.
    """
    confidence, right, place = _binned(probabilities, targets)
    gaps = np.bincount(place, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(targets))


def noise_floor(probabilities: Probabilities, tracks: NDArray[np.intp]) -> float:
    """Expected calibration error that these probabilities would show if they were perfectly calibrated.

    Not zero: windows of one track are correlated, so each bin has a small effective sample size. Labels are drawn
    from the probabilities with one random number per track, and the mean error of many draws is returned.

    Args:
        probabilities: Shape (n, labels).
        tracks: Track of each row, shape (n,).
    """
    names, place = np.unique(tracks, return_inverse=True)
    reached = probabilities.cumsum(axis=1) / probabilities.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    throws = rng.uniform(size=(_DRAWS, len(names), 1))[:, place]
    return float(np.mean([calibration_error(probabilities, (reached > throw).argmax(axis=1)) for throw in throws]))


def reliability(probabilities: Probabilities, targets: Labels) -> tuple[Bin, ...]:
    """Reliability diagram in the bins of `calibration_error`, without empty bins."""
    confidence, right, place = _binned(probabilities, targets)
    return tuple(
        Bin(rounded(confidence[place == each].mean()), rounded(right[place == each].mean()), int((place == each).sum()))
        for each in np.unique(place)
    )


def top_confidence(probabilities: Probabilities) -> NDArray[np.float32]:
    """Highest probability of a genre, shape (n,); 0 if "not music" is more likely.

    This is the value that the listener compares with its threshold. Rows sum to 1 less the probability of "not music".
    """
    highest = probabilities.max(axis=1)
    return np.where(highest >= 1.0 - probabilities.sum(axis=1), highest, np.float32(0.0))


def most_confident(confidence: NDArray[np.float32], share: float) -> NDArray[np.intp]:
    """Indices of this share of the values (at least one), the highest first."""
    return np.argsort(-confidence, kind="stable")[: max(round(share * len(confidence)), 1)]


def negative_log_likelihood(probabilities: Probabilities, targets: Labels) -> float:
    """Mean negative log-likelihood of the true genre, in nats."""
    given = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(given, _LEAST)).mean())


def by_track(probabilities: Probabilities, tracks: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean log probability over the windows of each track, shape (tracks, labels).

    Args:
        probabilities: Shape (windows, labels).
        tracks: Track of each window, numbered from 0 without gaps.
    """
    evidence = np.log(np.maximum(probabilities, np.float32(_LEAST))).astype(np.float64)
    sums = np.zeros((int(tracks.max()) + 1, probabilities.shape[1]))
    np.add.at(sums, tracks, evidence)
    return sums / np.bincount(tracks)[:, None]


def rounded(value: float) -> float:
    """Four decimals, as figures are stored."""
    return round(float(value), 4)


def _binned(
    probabilities: Probabilities, targets: Labels
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.intp]]:
    """Confidence, correctness and bin of each prediction."""
    confidence = probabilities.max(axis=1)
    place = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    return confidence, probabilities.argmax(axis=1) == targets, place
