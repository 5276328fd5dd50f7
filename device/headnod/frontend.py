"""The feature front end: mono audio in, MFCC frames out.

Training and the device both compute features here and nowhere else, so a model
always sees on the Pi what it saw on the workstation. Numpy only, because this
file is loaded by everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
"""Mono samples in [-1, 1], shape (n,)."""
LogMel = NDArray[np.float32]
"""Mel power in decibels, shape (frames, n_mels)."""
Features = NDArray[np.float32]
"""Mel-frequency cepstral coefficients, shape (frames, n_mfcc)."""

_FLOAT32_FFT = np.fft.rfft(np.zeros(2, np.float32)).dtype == np.complex64


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
        views = np.lib.stride_tricks.sliding_window_view(audio, self.n_fft)[:: self.hop]
        return self._decibels(self._power(views * self._window))

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

    def _power(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Power spectrum, shape (t, n_fft // 2 + 1)."""
        spectrum = np.fft.rfft(frames, axis=1)
        if not _FLOAT32_FFT:
            spectrum = spectrum.astype(np.complex64)  # numpy 1 always answers in double
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        return power

    def _decibels(self, power: NDArray[np.float32]) -> LogMel:
        # A bin lies between two neighbouring band centres and feeds just those
        # two: summing the runs between centres costs a sixtieth of the matrix.
        starts, filled, rising, falling = self._mel
        runs = power[:, starts[0] : starts[0] + rising.size]
        up = np.add.reduceat(runs * rising, starts - starts[0], axis=1) * filled
        down = np.add.reduceat(runs * falling, starts - starts[0], axis=1) * filled
        mel = up[:, :-1] + down[:, 1:]
        np.maximum(mel, np.float32(10.0 ** (self.floor_db / 10.0)), out=mel)
        np.log10(mel, out=mel)
        mel *= np.float32(10.0)
        return mel

    @cached_property
    def _window(self) -> NDArray[np.float32]:
        phase = 2.0 * np.pi * np.arange(self.n_fft) / self.n_fft
        return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)

    @cached_property
    def _mel(self) -> tuple[NDArray[np.intp], NDArray[np.float32], Audio, Audio]:
        """The triangular bands, as the runs of bins between their corners.

        Returns:
            First bin of each of the n_mels + 1 runs; 1 where a run has bins
            and 0 where it has none; and for each bin of all runs its weight in
            the band that rises there and in the band that falls there.
        """
        corners = mel_corners(self.n_mels, self.f_min, self.f_max)
        hertz = np.arange(self.n_fft // 2 + 1) * float(self.sample_rate) / self.n_fft
        # Up to the first bin past the last corner, which weighs nothing: so the
        # last run is never empty.
        inside = np.arange(np.searchsorted(hertz, corners[0]), np.searchsorted(hertz, corners[-1]) + 1)
        run = np.clip(np.searchsorted(corners, hertz[inside], side="right") - 1, 0, self.n_mels)
        part = np.minimum((hertz[inside] - corners[run]) / (corners[run + 1] - corners[run]), 1.0)
        area = 2.0 / (corners[2:] - corners[:-2])
        rising = np.where(run < self.n_mels, part * area[np.minimum(run, self.n_mels - 1)], 0.0)
        falling = np.where(run > 0, (1.0 - part) * area[np.maximum(run - 1, 0)], 0.0)
        starts = inside[0] + np.searchsorted(run, np.arange(self.n_mels + 1))
        # Of an empty run reduceat returns a bin instead of nothing.
        filled = (np.bincount(run, minlength=self.n_mels + 1) > 0).astype(np.float32)
        return starts, filled, rising.astype(np.float32), falling.astype(np.float32)

    @cached_property
    def _dct(self) -> NDArray[np.float32]:
        """The orthonormal DCT-II, shape (n_mels, n_mfcc)."""
        place = (np.arange(self.n_mels)[:, None] + 0.5) * np.pi / self.n_mels
        basis = np.cos(place * np.arange(self.n_mfcc)) * np.sqrt(2.0 / self.n_mels)
        basis[:, 0] /= np.sqrt(2.0)
        return basis.astype(np.float32)


def mel_corners(n_mels: int, f_min: float, f_max: float) -> NDArray[np.float64]:
    """Corners of overlapping mel bands in Hz, shape (n_mels + 2,).

    Slaney's scale (Auditory Toolbox, 1998): 3 mels per 200 Hz up to 1 kHz, and
    27 mels for every factor of 6.4 above.
    """
    knee, step, octave = 1000.0, 200.0 / 3.0, np.log(6.4) / 27.0

    def to_mel(hertz: float) -> float:
        if hertz < knee:
            return hertz / step
        return float(knee / step + np.log(hertz / knee) / octave)

    mels = np.linspace(to_mel(f_min), to_mel(f_max), n_mels + 2)
    above = knee * np.exp(octave * (mels - knee / step))
    corners = np.where(mels < knee / step, mels * step, above)
    # There and back may round the last corner to past the last bin of all.
    corners[0], corners[-1] = f_min, f_max
    return corners
