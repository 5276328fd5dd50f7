"""Calibration after quantisation: temperature and threshold.

One pair for the smoothed stream and one for single windows, both fitted on validation tracks, clean and under
simulated room acoustics; fitted on clean music alone, a model would be overconfident in rooms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.inference.manifest import Calibration
from headnod.inference.model import GenreModel
from headnod_train.acoustics.loudspeakers import Transducer
from headnod_train.acoustics.noises import Noise
from headnod_train.acoustics.reverberation import Reverberation
from headnod_train.dataset.archive import Archive
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
    """Fit temperature and threshold of the smoothed stream and of single windows.

    Args:
        model: The int8 network; its own temperature and threshold are not used.
        valid: Tracks that it was not trained on.
        console: Shows progress.
    """
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
    temperature = fit_temperature(clean, arrived, scoring)
    confidence = np.concatenate([top_confidence(scoring(each, temperature)) for each in noisy])
    return Calibration(temperature, fit_certainty(confidence))


def fit_temperature(clean: Predictions, arrived: Sequence[Predictions], scoring: Scoring) -> float:
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
