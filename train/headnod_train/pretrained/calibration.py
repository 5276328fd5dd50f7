"""Calibration of the int8 file: temperatures, thresholds, scores of tags and the energy of the sound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.inference.manifest import Calibration, Energy, Tags, softmax
from headnod_train.evaluation.calibrate import best_temperature, fit_certainty
from headnod_train.evaluation.metrics import negative_log_likelihood, top_confidence
from headnod_train.tagger.tagger_output import TAGS

_TOGETHER = 4
"""Windows of 3 s that the listener's smoothing averages."""
_LOUD = ("metal", "heavy metal", "hard rock", "punk", "rock", "dance", "party", "House", "electro", "catchy")
_CALM = ("Mellow", "chill", "chillout", "ambient", "acoustic", "sad", "easy listening", "beautiful", "folk", "jazz")
_SPREAD = 1.5
"""Standard deviation of the energy's logit over music."""


class WindowLogits(NamedTuple):
    """Logits of windows, in one condition."""

    answers: NDArray[np.float32]
    """Logits of genres and of "not music", (n, 11)."""

    genres: NDArray[np.intp]
    """True genre, (n,)."""

    clips: NDArray[np.intp]
    """Number of the clip, (n,)."""


def fit_temperature(conditions: list[WindowLogits]) -> float:
    """The softmax temperature with the lowest mean negative log-likelihood over the conditions."""

    def loss(temperature: float) -> float:
        return float(
            np.mean(
                [
                    negative_log_likelihood(softmax(each.answers / temperature)[:, :-1], each.genres)
                    for each in conditions
                ]
            )
        )

    return best_temperature(loss)


def fit_calibration(conditions: list[WindowLogits]) -> tuple[Calibration, Calibration]:
    """Temperature and threshold of a mean over several windows, and of single windows.

    Args:
        conditions: Logits for music that was not used for training, clean first, then degraded.
    """
    pairs = []
    for together in (_TOGETHER, 1):
        grouped = [_means(one, together) for one in conditions]
        temperature = fit_temperature(grouped)
        confidence = np.concatenate([top_confidence(softmax(each.answers / temperature)[:, :-1]) for each in grouped])
        pairs.append(Calibration(temperature, fit_certainty(confidence[confidence > 0])))
    return pairs[0], pairs[1]


def fit_tags(logits: NDArray[np.float32], tagger: NDArray[np.float32]) -> Tags:
    """Scale and offset of each tag, so that its score is the tagger's probability for the clean sound.

    Args:
        logits: Logits of the int8 file, clean and degraded, (n, 50).
        tagger: The tagger's probabilities for the clean sound, (n, 50).
    """
    scales, offsets = [], []
    for tag in range(logits.shape[1]):
        scale, offset = _logistic(logits[:, tag].astype(np.float64), tagger[:, tag].astype(np.float64))
        scales.append(round(scale, 4))
        offsets.append(round(offset, 4))
    return Tags(TAGS, tuple(scales), tuple(offsets))


def fit_energy(logits: NDArray[np.float32]) -> Energy:
    """Weights of the tags for the energy of the sound: loud styles minus calm ones, with a fixed spread over music.

    Args:
        logits: Logits of the int8 file for music, (n, 50).
    """
    mean, deviation = logits.mean(axis=0), np.maximum(logits.std(axis=0), 0.1)
    weights = np.zeros(len(TAGS))
    for names, sign in ((_LOUD, 1.0), (_CALM, -1.0)):
        for name in names:
            weights[TAGS.index(name)] = sign / len(names) / deviation[TAGS.index(name)]
    raw = logits @ weights
    weights *= _SPREAD / raw.std()
    bias = -float(mean @ weights)
    return Energy(tuple(round(float(each), 5) for each in weights), round(bias, 5))


def _means(windows: WindowLogits, together: int) -> WindowLogits:
    """Means of up to `together` successive windows of each clip."""
    if together == 1:
        return windows
    answers = np.empty_like(windows.answers)
    for place, clip in enumerate(windows.clips):
        near = [each for each in range(max(place - together + 1, 0), place + 1) if windows.clips[each] == clip]
        answers[place] = windows.answers[near].mean(axis=0)
    return windows._replace(answers=answers)


def _logistic(x: NDArray[np.float64], wanted: NDArray[np.float64]) -> tuple[float, float]:
    """Scale and offset of a logistic regression on probabilities, by Newton's method."""
    beta = np.array([1.0, 0.0])
    design = np.column_stack([x, np.ones_like(x)])
    prior = np.diag([1.0, 0.1])
    for _ in range(25):
        given = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30.0, 30.0)))
        gradient = design.T @ (given - wanted) + prior @ (beta - [1.0, 0.0])
        curvature = design.T @ (design * (given * (1.0 - given))[:, None]) + prior
        step = np.linalg.solve(curvature, gradient)
        beta -= step
        if np.abs(step).max() < 1e-6:  # noqa: PLR2004
            break
    return float(beta[0]), float(beta[1])
