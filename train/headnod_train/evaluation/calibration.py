"""Calibration after quantisation: temperatures, thresholds, scores of tags, energy of the sound, bounds of entropy.

One temperature and threshold for the smoothed stream and one for single windows, both fitted on validation tracks,
clean and under simulated room acoustics; fitted on clean music alone, a model would be overconfident in rooms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.inference.manifest import Calibration, Energy, Health, Tags, softmax
from headnod.inference.model import GenreModel
from headnod.updates.manager import entropy
from headnod_train.acoustics import Noise, Reverberation, Transducer
from headnod_train.dataset.archive import Archive
from headnod_train.distillation.tagging import TAGS
from headnod_train.evaluation.conditions import AcousticCondition
from headnod_train.evaluation.metrics import Probabilities, negative_log_likelihood, top_confidence
from headnod_train.evaluation.predictions import Predictions, predict

Scoring = Callable[[Predictions, float], Probabilities]
"""Probabilities by temperature: of the stream, or of single windows."""

REFUSED = 0.01
"""Share of music at 20 dB over noise that the threshold may reject. The target for all reasons together is 3 %, and
sounds other than music have an output of their own."""

_SEED = 7_031_971
_LOUDSPEAKER = Transducer(low=(50.0, 250.0), high=(6000.0, 14_000.0), order=(1, 4), resonances=4, height=3.0)
_ARRIVALS = (
    AcousticCondition("in a room", (_LOUDSPEAKER, Reverberation((0.25, 0.9), (-4.0, 8.0))), _SEED),
    AcousticCondition("in noise", (_LOUDSPEAKER, Noise("pink", (10.0, 25.0))), _SEED),
    AcousticCondition("among voices", (Reverberation((0.25, 0.9), (-4.0, 8.0)), Noise("babble", (10.0, 25.0))), _SEED),
)
_NOISY = (
    AcousticCondition("noise at 20 dB", (Noise("pink", (20.0, 20.0)),), _SEED),
    AcousticCondition("voices at 20 dB", (Noise("babble", (20.0, 20.0)),), _SEED),
    AcousticCondition("fan at 20 dB", (Noise("fan", (20.0, 20.0)),), _SEED),
)


def calibrate(model: GenreModel, valid: Archive, *, console: Console) -> tuple[Calibration, Calibration]:
    """Fit temperature and threshold of the smoothed stream and of single windows."""
    clean = predict(model, valid, console=console)
    arrived, noisy = (
        [predict(model, valid, through=condition, console=console) for condition in conditions]
        for conditions in (_ARRIVALS, _NOISY)
    )
    return fit(clean, arrived, noisy, Predictions.stream), fit(clean, arrived, noisy, Predictions.scores)


def fit(
    clean: Predictions, arrived: Sequence[Predictions], noisy: Sequence[Predictions], scoring: Scoring
) -> Calibration:
    """Temperature and threshold of one kind of scores.

    Args:
        clean: Predictions for clean music.
        arrived: Predictions for the same music in rooms; together they weigh as much as the clean ones.
        noisy: Predictions for it at 20 dB over noise.
        scoring: Probabilities of the stream or of single windows.
    """
    temperature = scoring_temperature(clean, arrived, scoring)
    confidence = np.concatenate([top_confidence(scoring(each, temperature)) for each in noisy])
    return Calibration(temperature, fit_certainty(confidence))


def scoring_temperature(clean: Predictions, arrived: Sequence[Predictions], scoring: Scoring) -> float:
    """The softmax temperature with the lowest negative log-likelihood.

    Temperature scaling (Guo and others, 2017) does not change the most likely genre of a window.
    """

    def loss(temperature: float) -> float:
        losses = [negative_log_likelihood(scoring(each, temperature), each.targets) for each in (clean, *arrived)]
        return losses[0] + float(np.mean(losses[1:] or losses))

    return best_temperature(loss)


def best_temperature(loss: Callable[[float], float]) -> float:
    """The temperature between 0.1 and 10 with the lowest loss, to within half a percent."""
    low, high = 0.1, 10.0
    while high / low > 1.005:  # noqa: PLR2004 - half a percent
        tried = np.geomspace(low, high, 9)
        best = int(np.argmin([loss(value) for value in tried]))
        low, high = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    return round(math.sqrt(low * high), 4)


def fit_certainty(confidence: NDArray[np.float32]) -> float:
    """The highest threshold that rejects at most `REFUSED` of the music at 20 dB over noise.

    Args:
        confidence: `top_confidence` of each estimate on that music, shape (n,).
    """
    highest = np.sort(confidence)[int(REFUSED * len(confidence))]
    return math.floor(float(highest) * 1000) / 1000


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
    """Temperature and threshold of a mean over several windows, and of single windows."""
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


_MARGIN = 0.25
"""Share of the measured range that is left as a margin, because rooms differ from an archive."""


def measure_health(model: GenreModel, archive: Archive, *, split: str, console: Console) -> Health:
    """Bounds of the mean entropy of some windows of one piece of music.

    Raises:
        ArchiveError: The split is empty, or the model lacks a genre.
    """
    found = predict(model, archive.subset(split), console=console)
    return health_of_scores(found.stream(model.manifest.temperature), found.tracks)


def health_of_scores(scores: NDArray[np.floating], tracks: NDArray[np.intp]) -> Health:
    """Bounds of the mean entropy of each track's scores.

    Args:
        scores: Probabilities of each window, shape (windows, answers).
        tracks: Track of each window, shape (windows,).
    """
    spread = np.array([entropy(tuple(map(float, row))) for row in scores])
    return bounds([float(spread[tracks == track].mean()) for track in np.unique(tracks)])


def bounds(means: list[float]) -> Health:
    """Bounds around the mean entropy of each track (0-1), with room on either side.

    >>> bounds([0.2, 0.4, 0.8])
    Health(entropy_low=0.05, entropy_high=0.95)
    """
    low, high = min(means), max(means)
    return Health(entropy_low=round(_MARGIN * low, 4), entropy_high=round(1.0 - _MARGIN * (1.0 - high), 4))
