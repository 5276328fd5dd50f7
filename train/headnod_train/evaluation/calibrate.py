"""Numbers fitted after quantising: temperatures and certainties.

One of each for what the listener shows, a mean over several windows that
deserves more trust than each of them, and one of each for single windows. All
on validation tracks, heard clean and as they arrive in rooms: a number fitted
on clean music alone would be too sure of itself everywhere else.
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

Said = Callable[[Predictions, float], Probabilities]
"""Chances that follow from what was heard and a temperature: of the stream, or of single windows."""

REFUSED = 0.01
"""Share of music at 20 dB over noise that the certainty leaves unnamed. At most 3 % is
aimed at with every other reason to stay silent, and what is no music has an answer of its own."""

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
    """Fit temperature and certainty, after quantising.

    Args:
        model: The int8 network; its own temperature and certainty play no part.
        valid: Tracks that it did not learn from.
        console: Where progress is shown.

    Returns:
        Those of the smoothed stream, and those of single windows.
    """
    clean = predict(model, valid, console=console)
    arrived, noisy = (
        [predict(model, valid, through=condition, console=console) for condition in conditions]
        for conditions in (_ARRIVALS, _NOISY)
    )
    return fit(clean, arrived, noisy, Predictions.stream), fit(clean, arrived, noisy, Predictions.scores)


def fit(clean: Predictions, arrived: Sequence[Predictions], noisy: Sequence[Predictions], said: Said) -> Calibration:
    """Temperature and certainty of one kind of answer.

    Args:
        clean: What the model said of clean music.
        arrived: What it said of the same music in other conditions; together they weigh as much as the clean.
        noisy: What it said of it at 20 dB over noise.
        said: How chances follow from that and a temperature.
    """
    temperature = fit_temperature(clean, arrived, said)
    confidence = np.concatenate([top_confidence(said(heard, temperature)) for heard in noisy])
    return Calibration(temperature, fit_certainty(confidence))


def fit_temperature(clean: Predictions, arrived: Sequence[Predictions], said: Said) -> float:
    """The softmax temperature under which answers are least surprised by what was played.

    Temperature scaling (Guo and others, 2017): one number, so it cannot
    change which genre is likeliest in a window. Sought between a tenth and ten,
    to within half a percent.
    """

    def surprised(temperature: float) -> float:
        lost = [negative_log_likelihood(said(heard, temperature), heard.targets) for heard in (clean, *arrived)]
        return lost[0] + float(np.mean(lost[1:] or lost))

    low, high = 0.1, 10.0
    while high / low > 1.005:  # noqa: PLR2004 - half a percent
        tried = np.geomspace(low, high, 9)
        best = int(np.argmin([surprised(value) for value in tried]))
        low, high = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    return round(math.sqrt(low * high), 4)


def fit_certainty(confidence: NDArray[np.float32]) -> float:
    """The highest certainty that leaves at most `REFUSED` of the music unnamed.

    The higher it is, the less of what is no music gets a genre.

    Args:
        confidence: `top_confidence` of each estimate on music at 20 dB over noise, shape (n,).
    """
    highest = np.sort(confidence)[int(REFUSED * len(confidence))]
    return math.floor(float(highest) * 1000) / 1000
