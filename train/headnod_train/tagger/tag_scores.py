"""What goes into the tagger and what comes out of it, known without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Features, FrontEnd, LogMel

FRONT_END = FrontEnd(
    sample_rate=16_000, n_fft=512, hop=256, frames=187, n_mels=96, f_max=8_000.0, n_mfcc=1, floor_db=-300.0
)
"""How the tagger hears: the device's own log-mel with the tagger's numbers."""


def loudness(log_mel: LogMel) -> Features:
    """What the network receives, as it was trained: log10(10000 x + 1) of mel power in decibels, shape (..., 96)."""
    return np.log10(1.0 + 10.0 ** (np.asarray(log_mel, np.float64) / 10.0 + 4.0)).astype(np.float32)


@dataclass(frozen=True)
class TaggerOutput:
    """What the tagger says of some windows of 3 s."""

    tags: NDArray[np.float32]
    """How likely each tag is (0-1), shape (windows, 50)."""

    dense: NDArray[np.float32]
    """The layer before the tags, shape (windows, 200)."""

    mean: NDArray[np.float32]
    """All convolutions averaged over time, shape (windows, 753)."""
