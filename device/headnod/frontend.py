"""The feature front end: mono audio in, MFCC frames out.

Training and the device both compute features here and nowhere else, so a model
always sees on the Pi what it saw on the workstation. Numpy only, because this
file is loaded by everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from headnod.mel import mel_blocks, mel_corners

__all__ = ["Audio", "Features", "FrontEnd", "LogMel", "Spectrograph", "mel_corners"]

Audio = NDArray[np.float32]
"""Mono samples in [-1, 1], shape (n,)."""
LogMel = NDArray[np.float32]
"""Mel power in decibels, shape (frames, n_mels)."""
Features = NDArray[np.float32]
"""Mel-frequency cepstral coefficients, shape (frames, n_mfcc)."""

_FLOAT32_FFT = np.fft.rfft(np.zeros(2, np.float32), norm="forward").dtype == np.complex64
_AT_ONCE, _LANES = 48, 8
"""Frames that are worked on at once, and multiples of which are transformed,
used or not: products of matrices and vectorised transforms round by how many
rows they have, and a frame must not depend on its neighbours."""


@dataclass(frozen=True)
class FrontEnd:
    """How audio becomes features; every number that matters is a field.

    >>> front_end = FrontEnd()
    >>> front_end.mfcc(np.zeros(front_end.window_samples, np.float32)).shape
    (38, 40)
    """

    sample_rate: int = 22_050
    """Samples per second of the audio."""

    n_fft: int = 2048
    """Samples in a frame, weighted by a periodic Hann window."""

    hop: int = 1708
    """Samples from the start of one frame to the start of the next."""

    frames: int = 38
    """Frames in the window that a model hears at once."""

    n_mels: int = 128
    """Slaney mel bands, area-normalised."""

    f_min: float = 0.0
    """Lower edge of the lowest band, in Hz."""

    f_max: float = 11_025.0
    """Upper edge of the highest band, in Hz."""

    n_mfcc: int = 40
    """Cepstral coefficients kept, at most n_mels."""

    floor_db: float = -120.0
    """Mel power under this is raised to it: the one fixed floor, in decibels."""

    range_db: float = 60.0
    """How far under the loudest cell of a window its features still see."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no front end.

        Raises:
            ValueError: A field has a value that it cannot have.
        """
        bounds = (
            ("sample_rate", 8_000, 192_000),
            ("n_fft", 64, 16_384),
            ("hop", 1, self.n_fft),
            ("frames", 1, 4096),
            ("n_mels", 2, 512),
            ("f_max", 1.0, self.sample_rate / 2),
            ("f_min", 0.0, self.f_max - 1.0),
            ("n_mfcc", 1, self.n_mels),
            ("floor_db", -300.0, 0.0),
            ("range_db", 1.0, 300.0),
        )
        for name, least, most in bounds:
            value = getattr(self, name)
            if not least <= value <= most:
                message = f"{name} is {value}, it must lie between {least:g} and {most:g}"
                raise ValueError(message)
        if self.n_fft % 2:
            message = f"n_fft is {self.n_fft}, it must be even"
            raise ValueError(message)

    @property
    def window_samples(self) -> int:
        """Samples that give exactly `frames` frames."""
        return (self.frames - 1) * self.hop + self.n_fft

    def mfcc(self, audio: Audio) -> Features:
        """MFCCs of one window of audio.

        Args:
            audio: Mono samples in [-1, 1], shape (n,).

        Returns:
            Coefficients, shape (frames, n_mfcc), where frame t starts at
            sample t * hop. No frame reaches past the end of the audio.
        """
        return self.cepstra(self.log_mel(audio))

    def log_mel(self, audio: Audio) -> LogMel:
        """Mel power of audio in decibels: 10 log10, 0 dB at a mel power of 1.

        Args:
            audio: Mono samples in [-1, 1], shape (n,), n >= n_fft.

        Returns:
            Decibels, shape (1 + (n - n_fft) // hop, n_mels), not under
            `floor_db`. Frame t depends on samples t * hop and the n_fft - 1
            that follow, and on nothing else.

        Raises:
            ValueError: The audio is shorter than one frame.
        """
        if audio.ndim != 1 or audio.size < self.n_fft:
            message = f"audio of shape {audio.shape} does not fill a frame of {self.n_fft} samples"
            raise ValueError(message)
        log_mel = np.empty((1 + (audio.size - self.n_fft) // self.hop, self.n_mels), np.float32)
        Spectrograph(self).draw(audio, log_mel)
        return log_mel

    def cepstra(self, log_mel: LogMel) -> Features:
        """MFCCs of one window of log-mel, free of its absolute level.

        Here the training archive and the device meet. The window's loudest
        cell is the reference: cells more than `range_db` under it are raised
        to that limit, and the mean over all cells is taken away, so a gain
        changes nothing. Frames alone stay comparable across windows, because
        no limit acts on them before this point.

        Args:
            log_mel: Decibels, shape (..., t, n_mels), for any t >= 1: one
                window, or many along the leading axes.

        Returns:
            Coefficients of the orthonormal DCT-II, shape (..., t, n_mfcc).
        """
        loudest = log_mel.max(axis=(-2, -1), keepdims=True)
        heard = np.maximum(log_mel, loudest - np.float32(self.range_db))
        heard -= heard.mean(axis=(-2, -1), dtype=np.float32, keepdims=True)
        return heard @ self._dct

    @cached_property
    def _dct(self) -> NDArray[np.float32]:
        """The orthonormal DCT-II, shape (n_mels, n_mfcc)."""
        place = (np.arange(self.n_mels)[:, None] + 0.5) * np.pi / self.n_mels
        basis = np.cos(place * np.arange(self.n_mfcc)) * np.sqrt(2.0 / self.n_mels)
        basis[:, 0] /= np.sqrt(2.0)
        return basis.astype(np.float32)


class Spectrograph:
    """Draws log-mel in memory of its own that is made once, for one thread.

    >>> front_end = FrontEnd()
    >>> spectrograph, drawn = Spectrograph(front_end), np.empty((38, 128), np.float32)
    >>> spectrograph.draw(np.zeros(front_end.window_samples, np.float32), drawn)
    >>> float(drawn.max())
    -120.0
    """

    def __init__(self, front_end: FrontEnd) -> None:
        """Make room."""
        self._hop = front_end.hop
        self._window = _hann(front_end.n_fft)
        self._blocks = mel_blocks(
            front_end.sample_rate,
            front_end.n_fft,
            n_mels=front_end.n_mels,
            f_min=front_end.f_min,
            f_max=front_end.f_max,
        )
        self._floor = np.float32(10.0 ** (front_end.floor_db / 10.0))
        bins = front_end.n_fft // 2 + 1
        self._frames = np.zeros((_AT_ONCE, front_end.n_fft), np.float32)
        self._spectrum = np.zeros((_AT_ONCE, bins), np.complex64)
        self._power, self._imaginary = np.zeros((2, _AT_ONCE, bins), np.float32)
        self._mel = np.zeros((_AT_ONCE, front_end.n_mels), np.float32)

    def draw(self, audio: Audio, log_mel: LogMel) -> None:
        """Write the decibels of audio, as `FrontEnd.log_mel` describes them.

        Args:
            audio: Mono samples in [-1, 1], shape (n,).
            log_mel: Takes the frames that audio fills, shape (frames, n_mels).
        """
        step, size = audio.strides[0], self._window.size
        frames = as_strided(audio, (len(log_mel), size), (step * self._hop, step), writeable=False)
        for first in range(0, len(log_mel), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            self._transform(frames[part])
            self._decibels(log_mel[part])

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

    def _decibels(self, log_mel: LogMel) -> None:
        for bins, bands, weights in self._blocks:
            np.matmul(self._power[:, bins], weights, out=self._mel[:, bands])
        np.maximum(self._mel[: len(log_mel)], self._floor, out=log_mel)
        np.log10(log_mel, out=log_mel)
        log_mel *= np.float32(10.0)


@cache
def _hann(n_fft: int) -> NDArray[np.float32]:
    """The periodic Hann window, n_fft times as high.

    A forward norm divides by n_fft again. It is there because numpy 2 takes
    its float32 transform only with a float32 factor; without one it transforms
    in double, in a third more to five times the time.
    """
    phase = 2.0 * np.pi * np.arange(n_fft) / n_fft
    return (n_fft * (0.5 - 0.5 * np.cos(phase))).astype(np.float32)
