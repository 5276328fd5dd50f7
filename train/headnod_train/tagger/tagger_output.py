"""Input and output of the tagger, without TensorFlow: front end, tags and layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.features.frontend import Features, FrontEnd, LogMel

TAGS: tuple[str, ...] = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock", "jazz",
    "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow", "electronica",
    "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip
"""The 50 most frequent last.fm tags of the Million Song Dataset, in the order of the tagger's outputs."""

FRONT_END = FrontEnd(
    sample_rate=16_000, n_fft=512, hop=256, frames=187, n_mels=96, f_max=8_000.0, n_mfcc=1, floor_db=-300.0
)
"""The device's log-mel with the tagger's parameters."""


class TaggerError(HeadnodError, ValueError):
    """The tagger's weights, its input or its output file cannot be used."""


def loudness(log_mel: LogMel) -> Features:
    """Input of the network as in its training: log10(10000 x + 1) of mel power, from decibels, shape (..., 96)."""
    return np.log10(1.0 + 10.0 ** (np.asarray(log_mel, np.float64) / 10.0 + 4.0)).astype(np.float32)


@dataclass(frozen=True)
class TaggerOutput:
    """Outputs of the tagger for windows of 3 s."""

    tags: NDArray[np.float32]
    """Probability of each tag (0-1), shape (windows, 50)."""

    dense: NDArray[np.float32]
    """The layer before the tags, shape (windows, 200)."""

    mean: NDArray[np.float32]
    """All convolutions averaged over time, shape (windows, 753)."""
