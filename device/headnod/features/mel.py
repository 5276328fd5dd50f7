"""Mel bands: where each lies in Hz, and how much of each bin of a spectrum it takes.

Slaney's scale or HTK's, triangles of equal area or of equal height. Rooms, noise
and pictures are measured in the same bands, without a front end.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MelScale = Literal["slaney", "htk"]
MelNorm = Literal["area", "none"]


def mel_corners(n_mels: int, f_min: float, f_max: float, scale: MelScale = "slaney") -> NDArray[np.float64]:
    """Corners of overlapping mel bands in Hz, shape (n_mels + 2,).

    Slaney's scale (Auditory Toolbox, 1998): 3 mels per 200 Hz up to 1 kHz, and
    27 mels for every factor of 6.4 above. HTK's scale (HTK Book, 5.4.6):
    2595 log10(1 + f / 700).
    """
    if scale == "htk":
        low, high = 2595.0 * np.log10(1.0 + np.array([f_min, f_max]) / 700.0)
        corners = 700.0 * (np.power(10.0, np.linspace(low, high, n_mels + 2) / 2595.0) - 1.0)
    else:
        corners = _slaney_corners(n_mels, f_min, f_max)
    # There and back may round the last corner to past the last bin of all.
    corners[0], corners[-1] = f_min, f_max
    return corners


def _slaney_corners(n_mels: int, f_min: float, f_max: float) -> NDArray[np.float64]:
    knee, step, octave = 1000.0, 200.0 / 3.0, np.log(6.4) / 27.0

    def to_mel(hertz: float) -> float:
        if hertz < knee:
            return hertz / step
        return float(knee / step + np.log(hertz / knee) / octave)

    mels = np.linspace(to_mel(f_min), to_mel(f_max), n_mels + 2)
    above = knee * np.exp(octave * (mels - knee / step))
    return np.where(mels < knee / step, mels * step, above)


@cache
def mel_blocks(
    sample_rate: int,
    n_fft: int,
    *,
    n_mels: int,
    f_min: float,
    f_max: float,
    scale: MelScale = "slaney",
    norm: MelNorm = "area",
    together: int = 8,
) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """The triangular bands, a few neighbours at a time.

    Args:
        sample_rate: Samples per second of the audio.
        n_fft: Samples in a frame, which give n_fft // 2 + 1 bins.
        n_mels: Bands.
        f_min: Lower edge of the lowest band, in Hz.
        f_max: Upper edge of the highest band, in Hz.
        scale: Where the corners lie.
        norm: `area` gives every triangle an area of 1 Hz, `none` a height of 1.
        together: Bands that share a block of the mel matrix, which is nearly empty elsewhere.

    Returns:
        For each block its bins, its bands, and the weights, shape (bins, bands).
    """
    corners = mel_corners(n_mels, f_min, f_max, scale)
    hertz = np.arange(n_fft // 2 + 1)[:, None] * float(sample_rate) / n_fft
    rising = (hertz - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - hertz) / (corners[2:] - corners[1:-1])
    weights = np.maximum(np.minimum(rising, falling), 0.0)
    if norm == "area":
        weights = weights * 2.0 / (corners[2:] - corners[:-2])
    blocks = []
    for first in range(0, n_mels, together):
        bands = slice(first, first + together)
        fed = np.flatnonzero(weights[:, bands].any(axis=1))
        bins = slice(int(fed[0]), int(fed[-1]) + 1) if fed.size else slice(0, 1)
        blocks.append((bins, bands, weights[bins, bands].astype(np.float32)))
    return blocks
