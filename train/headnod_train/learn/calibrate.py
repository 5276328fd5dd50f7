"""Two numbers fitted after quantising: the temperature and the certainty.

Both on the validation side and on what the listener shows, that is on smoothed
scores: a mean of several windows deserves more trust than each of them.
"""

from __future__ import annotations

import math

import numpy as np

from headnod_train.measure.listening import Heard
from headnod_train.measure.metrics import surprise

UNNAMED = 0.05
"""Share of estimates on music that the certainty leaves unnamed."""


def fit_temperature(heard: Heard) -> float:
    """The softmax temperature under which the stream is least surprised by what was played.

    Temperature scaling (Guo and others, 2017): one number, so it cannot
    change which genre is likeliest in a window. Sought between a tenth and ten,
    to within half a percent.
    """
    low, high = 0.1, 10.0
    while high / low > 1.005:  # noqa: PLR2004 - half a percent
        tried = np.geomspace(low, high, 9)
        best = int(np.argmin([surprise(heard.stream(value), heard.targets) for value in tried]))
        low, high = tried[max(best - 1, 0)], tried[min(best + 1, len(tried) - 1)]
    return round(math.sqrt(low * high), 4)


def fit_certainty(heard: Heard, temperature: float) -> float:
    """The highest certainty that leaves at most `UNNAMED` of the stream's estimates unnamed."""
    confidence = np.sort(heard.stream(temperature).max(axis=1))
    highest = confidence[int(UNNAMED * len(confidence))]
    return math.floor(float(highest) * 1000) / 1000
