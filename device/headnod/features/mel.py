"""Mel filter banks, and the short-time spectrum of audio in mel bands.

The front end, the acoustic simulation and the plots use the same bands. Every mel
frame of a window, a stream or an archive is computed by `MelSpectrogram`, so a frame
is the same to the bit wherever it lies in a batch.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

if TYPE_CHECKING:
    from headnod.features.frontend import Audio, FrontEnd, Mel

MelScale = Literal["slaney", "htk"]
MelNorm = Literal["area", "none"]

_FLOAT32_FFT = np.fft.rfft(np.zeros(2, np.float32), norm="forward").dtype == np.complex64
_ROWS = 8
"""Frames are transformed in multiples of this, padded if necessary: matrix products and vectorised
transforms round differently for other row counts, and a frame must not depend on its neighbours."""

_DB_BATCH, _POWER_BATCH = (48, 8), (96, 12)
"""Frames and mel bands per batch. The shipped models in decibels were measured with the first
pair; the second is faster for short frames."""


def mel_corners(n_mels: int, f_min: float, f_max: float, scale: MelScale = "slaney") -> NDArray[np.float64]:
    """Corner frequencies of overlapping mel bands in Hz, shape (n_mels + 2,).

    Slaney's scale (Auditory Toolbox, 1998): 3 mels per 200 Hz up to 1 kHz, and
    27 mels for every factor of 6.4 above. HTK's scale (HTK Book, 5.4.6):
    2595 log10(1 + f / 700).
    """
    if scale == "htk":
        low, high = 2595.0 * np.log10(1.0 + np.array([f_min, f_max]) / 700.0)
        corners = 700.0 * (np.power(10.0, np.linspace(low, high, n_mels + 2) / 2595.0) - 1.0)
    else:
        corners = _slaney_corners(n_mels, f_min, f_max)
    # The conversion to mels and back may round the last corner to above the last bin.
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
    """A bank of triangular filters, as dense blocks of a mostly empty matrix.

    Args:
        sample_rate: Samples per second of the audio.
        n_fft: Samples per frame, which give n_fft // 2 + 1 bins.
        n_mels: Number of bands.
        f_min: Lower edge of the lowest band, in Hz.
        f_max: Upper edge of the highest band, in Hz.
        scale: Mel scale that places the corners.
        norm: `area` gives every triangle an area of 1 Hz, `none` a height of 1.
        together: Neighbouring bands per block.

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
        used = np.flatnonzero(weights[:, bands].any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
        blocks.append((bins, bands, weights[bins, bands].astype(np.float32)))
    return blocks


class MelSpectrogram:
    """Computes the mel power of frames in preallocated buffers; not thread-safe.

    >>> from headnod.features.frontend import FrontEnd
    >>> front_end = FrontEnd()
    >>> spectrogram, mel = MelSpectrogram(front_end), np.empty((38, 128), np.float32)
    >>> spectrogram.compute(np.zeros(front_end.window_samples, np.float32), mel)
    >>> float(mel.max())
    -120.0
    """

    def __init__(self, front_end: FrontEnd) -> None:
        """Allocate the buffers."""
        self._hop = front_end.hop
        self._window = _hann(front_end.n_fft)
        self._in_decibels = front_end.compression == "db"
        self._batch, together = _DB_BATCH if self._in_decibels else _POWER_BATCH
        self._blocks = mel_blocks(
            front_end.sample_rate,
            front_end.n_fft,
            n_mels=front_end.n_mels,
            f_min=front_end.f_min,
            f_max=front_end.f_max,
            scale=front_end.mel_scale,
            norm=front_end.mel_norm,
            together=together,
        )
        self._floor = np.float32(10.0 ** (front_end.floor_db / 10.0))
        bins = front_end.n_fft // 2 + 1
        self._frames = np.zeros((self._batch, front_end.n_fft), np.float32)
        self._spectrum = np.zeros((self._batch, bins), np.complex64)
        self._power, self._imaginary = np.zeros((2, self._batch, bins), np.float32)
        self._mel = np.zeros((self._batch, front_end.n_mels), np.float32)

    def compute(self, audio: Audio, mel: Mel) -> None:
        """Write the mel power of audio, as defined by `FrontEnd.mel`.

        Args:
            audio: Mono samples in [-1, 1], shape (n,).
            mel: Receives the frames, shape ((n - n_fft) // hop + 1, n_mels).
        """
        step, size = audio.strides[0], self._window.size
        frames = as_strided(audio, (len(mel), size), (step * self._hop, step), writeable=False)
        for first in range(0, len(mel), self._batch):
            part = slice(first, first + self._batch)
            self._transform(frames[part])
            self._apply_bands(mel[part])

    def _transform(self, frames: NDArray[np.float32]) -> None:
        rows = -(-len(frames) // _ROWS) * _ROWS
        weighted, spectrum, power = self._frames[:rows], self._spectrum[:rows], self._power[:rows]
        # np.multiply would first copy both operands into 64 kB buffers, because frames overlap.
        np.einsum("ij,j->ij", frames, self._window, out=weighted[: len(frames)])
        if _FLOAT32_FFT:
            np.fft.rfft(weighted, axis=1, norm="forward", out=spectrum)  # type: ignore[arg-type]  # stubs know double only
        else:
            spectrum[:] = np.fft.rfft(weighted, axis=1, norm="forward")  # numpy 1 always answers in double
        np.square(spectrum.real, out=power)
        power += np.square(spectrum.imag, out=self._imaginary[:rows])

    def _apply_bands(self, mel: Mel) -> None:
        for bins, bands, weights in self._blocks:
            np.matmul(self._power[:, bins], weights, out=self._mel[:, bands])
        np.maximum(self._mel[: len(mel)], self._floor, out=mel)
        if self._in_decibels:
            np.log10(mel, out=mel)
            mel *= np.float32(10.0)


@cache
def _hann(n_fft: int) -> NDArray[np.float32]:
    """The periodic Hann window times n_fft.

    The forward norm divides by n_fft again. numpy 2 only keeps a float32 transform in
    float32 with such a factor; without it the transform takes 1.3 to 5 times as long.
    """
    phase = 2.0 * np.pi * np.arange(n_fft) / n_fft
    return (n_fft * (0.5 - 0.5 * np.cos(phase))).astype(np.float32)
