"""The short-time spectrum of audio in mel bands, in memory that is allocated once.

Every frame is computed here, for a window, a stream or an archive, so a frame
is the same to the bit wherever it lies in a batch.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from headnod.features.mel import mel_blocks

if TYPE_CHECKING:
    from headnod.features.frontend import Audio, FrontEnd, Mel

_FLOAT32_FFT = np.fft.rfft(np.zeros(2, np.float32), norm="forward").dtype == np.complex64
_LANES = 8
_FEW, _MANY = (48, 8), (96, 12)
"""Frames that are worked on at once, and bands. Frames are transformed in multiples
of `_LANES`, used or not: products of matrices and vectorised transforms round by how
many rows they have, and a frame must not depend on its neighbours. Models of decibels
were measured with the first pair; the second is quicker for short frames."""


class MelSpectrogram:
    """Computes the mel power of frames in buffers of its own, for one thread.

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
        self._at_once, together = _FEW if self._in_decibels else _MANY
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
        self._frames = np.zeros((self._at_once, front_end.n_fft), np.float32)
        self._spectrum = np.zeros((self._at_once, bins), np.complex64)
        self._power, self._imaginary = np.zeros((2, self._at_once, bins), np.float32)
        self._mel = np.zeros((self._at_once, front_end.n_mels), np.float32)

    def compute(self, audio: Audio, mel: Mel) -> None:
        """Write the mel power of audio, as `FrontEnd.mel` describes it.

        Args:
            audio: Mono samples in [-1, 1], shape (n,).
            mel: Receives the frames that audio fills, shape (frames, n_mels).
        """
        step, size = audio.strides[0], self._window.size
        frames = as_strided(audio, (len(mel), size), (step * self._hop, step), writeable=False)
        for first in range(0, len(mel), self._at_once):
            part = slice(first, first + self._at_once)
            self._transform(frames[part])
            self._bands(mel[part])

    def _transform(self, frames: NDArray[np.float32]) -> None:
        """Power spectra of frames, shape (t, n_fft)."""
        whole = -(-len(frames) // _LANES) * _LANES
        weighted, spectrum, power = self._frames[:whole], self._spectrum[:whole], self._power[:whole]
        # What multiply does too, but it copies both sides into buffers of 64 kB first, because frames overlap.
        np.einsum("ij,j->ij", frames, self._window, out=weighted[: len(frames)])
        if _FLOAT32_FFT:
            np.fft.rfft(weighted, axis=1, norm="forward", out=spectrum)  # type: ignore[arg-type]  # stubs know double only
        else:
            spectrum[:] = np.fft.rfft(weighted, axis=1, norm="forward")  # numpy 1 always answers in double
        np.square(spectrum.real, out=power)
        power += np.square(spectrum.imag, out=self._imaginary[:whole])

    def _bands(self, mel: Mel) -> None:
        for bins, bands, weights in self._blocks:
            np.matmul(self._power[:, bins], weights, out=self._mel[:, bands])
        np.maximum(self._mel[: len(mel)], self._floor, out=mel)
        if self._in_decibels:
            np.log10(mel, out=mel)
            mel *= np.float32(10.0)


@cache
def _hann(n_fft: int) -> NDArray[np.float32]:
    """The periodic Hann window, n_fft times as high.

    A forward norm divides by n_fft again. It is there because numpy 2 takes
    its float32 transform only with a float32 factor; without one it transforms
    in double, in a third more to five times the time.
    """
    phase = 2.0 * np.pi * np.arange(n_fft) / n_fft
    return (n_fft * (0.5 - 0.5 * np.cos(phase))).astype(np.float32)
