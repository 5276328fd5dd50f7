"""Numbers fitted to the int8 file: temperatures, thresholds, scores of tags and the energy of the sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.inference.manifest import Calibration, Energy, Tags
from headnod.inference.prediction import softmax
from headnod_train.evaluation.calibrate import REFUSED
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
    """Of genres and of no music, (n, 11)."""

    genres: NDArray[np.intp]
    """What was played, (n,)."""

    clips: NDArray[np.intp]
    """Which clip, (n,)."""


def fit_temperature(heard: list[WindowLogits]) -> float:
    """The softmax temperature under which answers are least surprised; all conditions weigh the same."""

    def lost(temperature: float) -> float:
        each = [negative_log_likelihood(softmax(one.answers / temperature)[:, :-1], one.genres) for one in heard]
        return float(np.mean(each))

    return _least(lost)


def fit_calibration(heard: list[WindowLogits]) -> tuple[Calibration, Calibration]:
    """Temperature and certainty of a mean over several windows, and of single windows.

    Args:
        heard: Music that was not learned from, clean first, then as rooms change it.
    """
    pairs = []
    for together in (_TOGETHER, 1):
        grouped = [_means(one, together) for one in heard]
        temperature = round(fit_temperature(grouped), 4)
        sure = np.concatenate([top_confidence(softmax(one.answers / temperature)[:, :-1]) for one in grouped])
        lowest = np.sort(sure[sure > 0])[int(REFUSED * np.count_nonzero(sure))]
        pairs.append(Calibration(temperature, float(np.floor(lowest * 1000) / 1000)))
    return pairs[0], pairs[1]


def fit_tags(logits: NDArray[np.float32], taught: NDArray[np.float32]) -> Tags:
    """Scale and offset of each tag, so that its score means what the tagger says of the clean sound.

    Args:
        logits: Of the int8 file, clean and in rooms, (n, 50).
        taught: The tagger's probabilities for the clean sound, (n, 50).
    """
    scales, offsets = [], []
    for tag in range(logits.shape[1]):
        scale, offset = _logistic(logits[:, tag].astype(np.float64), taught[:, tag].astype(np.float64))
        scales.append(round(scale, 4))
        offsets.append(round(offset, 4))
    return Tags(TAGS, tuple(scales), tuple(offsets))


def fit_energy(logits: NDArray[np.float32]) -> Energy:
    """How the tags say how energetic sound is: loud styles against calm ones, spread evenly over music.

    Args:
        logits: Of the int8 file for music, (n, 50).
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


def _means(heard: WindowLogits, together: int) -> WindowLogits:
    """Means of successive windows of each clip, as many as there are at most."""
    if together == 1:
        return heard
    answers = np.empty_like(heard.answers)
    for place, clip in enumerate(heard.clips):
        near = [each for each in range(max(place - together + 1, 0), place + 1) if heard.clips[each] == clip]
        answers[place] = heard.answers[near].mean(axis=0)
    return heard._replace(answers=answers)


def _least(lost: Callable[[float], float]) -> float:
    low, high = 0.1, 10.0
    while high / low > 1.005:  # noqa: PLR2004 - half a percent
        tried = np.geomspace(low, high, 9)
        best = int(np.argmin([lost(value) for value in tried]))
        low, high = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    return float(np.sqrt(low * high))


def _logistic(x: NDArray[np.float64], wanted: NDArray[np.float64]) -> tuple[float, float]:
    """Scale and offset of a logistic regression on probabilities, by Newton's method."""
    beta = np.array([1.0, 0.0])
    design = np.column_stack([x, np.ones_like(x)])
    prior = np.diag([1.0, 0.1])
    for _ in range(25):
        said = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30.0, 30.0)))
        gradient = design.T @ (said - wanted) + prior @ (beta - [1.0, 0.0])
        curvature = design.T @ (design * (said * (1.0 - said))[:, None]) + prior
        step = np.linalg.solve(curvature, gradient)
        beta -= step
        if np.abs(step).max() < 1e-6:  # noqa: PLR2004
            break
    return float(beta[0]), float(beta[1])
