"""The feature front end: mono audio in, MFCC or log-mel frames out.

Training and the device both compute features here and nowhere else, so a model
gets the same numbers on the Pi as on the workstation. Needs numpy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from headnod.features.mel import MelNorm, MelScale, MelSpectrogram, mel_corners

__all__ = ["Audio", "Features", "FrontEnd", "LogMel", "Mel", "to_decibels"]

Audio = NDArray[np.float32]
"""Mono samples in [-1, 1], shape (n,)."""
LogMel = NDArray[np.float32]
"""Mel power in decibels, shape (frames, n_mels)."""
Mel = NDArray[np.float32]
"""Mel power before level normalisation, shape (frames, n_mels): decibels for the
compression `db`, plain power for `log10`."""
Features = NDArray[np.float32]
"""Input of a network, shape (frames, n_features)."""

Compression = Literal["db", "log10"]
Level = Literal["mean", "power"]

_GAIN, _PER_DECADE = np.float32(10_000.0), np.float32(1.0 / math.log(10.0))


@dataclass(frozen=True)
class FrontEnd:
    """The parameters of feature extraction, and the extraction itself.

    >>> front_end = FrontEnd()
    >>> front_end.mfcc(np.zeros(front_end.window_samples, np.float32)).shape
    (38, 40)

    The front end of the MusiCNN tagger, with level normalisation:

    >>> tagger = FrontEnd(16_000, 512, 256, 187, 96, f_max=8_000.0, n_mfcc=0, floor_db=-100.0,
    ...                   compression="log10", level="power", level_db=-6.0)
    >>> tagger.mfcc(np.zeros(tagger.window_samples, np.float32)).shape
    (187, 96)
    """

    sample_rate: int = 22_050
    """Samples per second of the audio."""

    n_fft: int = 2048
    """Samples per frame, weighted by a periodic Hann window."""

    hop: int = 1708
    """Samples from the start of one frame to the start of the next."""

    frames: int = 38
    """Frames per window, the input of one inference."""

    n_mels: int = 128
    """Number of mel bands, placed by `mel_scale` and scaled by `mel_norm`."""

    f_min: float = 0.0
    """Lower edge of the lowest band, in Hz."""

    f_max: float = 11_025.0
    """Upper edge of the highest band, in Hz."""

    n_mfcc: int = 40
    """Cepstral coefficients kept, at most n_mels (which makes the transform invertible).
    0 omits the transform: the compressed mel bands are the features."""

    floor_db: float = -120.0
    """Lower limit of mel power, in decibels."""

    range_db: float = 60.0
    """Dynamic range of a window below its loudest cell, in decibels; `db` only."""

    mel_scale: MelScale = "slaney"
    """Mel scale: Slaney's or HTK's."""

    mel_norm: MelNorm = "area"
    """`area` gives each triangle an area of 1 Hz, `none` a height of 1."""

    compression: Compression = "db"
    """`db` is 10 log10(x); `log10` is log10(1 + 10000 x), for mel power x."""

    level: Level = "mean"
    """Level normalisation, which makes features independent of gain: `mean` subtracts the mean of the
    window's compressed cells, `power` scales the window to a mean mel power of `level_db` before compression."""

    level_db: float = -6.0
    """Mean mel power for the normalisation `power`, in decibels."""

    def __post_init__(self) -> None:
        """Validate the fields.

        Raises:
            ValueError: A field is out of its range.
        """
        bounds = (
            ("sample_rate", 8_000, 192_000),
            ("n_fft", 64, 16_384),
            ("hop", 1, self.n_fft),
            ("frames", 1, 4096),
            ("n_mels", 2, 512),
            ("f_max", 1.0, self.sample_rate / 2),
            ("f_min", 0.0, self.f_max - 1.0),
            ("n_mfcc", 0, self.n_mels),
            ("floor_db", -300.0, 0.0),
            ("range_db", 1.0, 300.0),
            ("level_db", -100.0, 100.0),
        )
        for name, least, most in bounds:
            value = getattr(self, name)
            if not least <= value <= most:
                message = f"{name} is {value}, it must lie between {least:g} and {most:g}"
                raise ValueError(message)
        choices = (("mel_scale", MelScale), ("mel_norm", MelNorm), ("compression", Compression), ("level", Level))
        for name, kind in choices:
            value, known = getattr(self, name), get_args(kind)
            if value not in known:
                message = f"{name} is {value!r}, it must be {' or '.join(known)}"
                raise ValueError(message)
        if self.n_fft % 2:
            message = f"n_fft is {self.n_fft}, it must be even"
            raise ValueError(message)

    @property
    def window_samples(self) -> int:
        """Length of a window of `frames` frames, in samples."""
        return (self.frames - 1) * self.hop + self.n_fft

    @property
    def n_features(self) -> int:
        """Features per frame: n_mfcc, or n_mels if n_mfcc is 0."""
        return self.n_mfcc or self.n_mels

    @property
    def corners(self) -> NDArray[np.float64]:
        """Corner frequencies of the mel bands in Hz, shape (n_mels + 2,)."""
        return mel_corners(self.n_mels, self.f_min, self.f_max, self.mel_scale)

    def mfcc(self, audio: Audio) -> Features:
        """Features of one window of audio: MFCCs, or log-mel if n_mfcc is 0.

        Args:
            audio: Mono samples in [-1, 1], shape (n,).

        Returns:
            Features, shape (frames, n_features), where frame t starts at
            sample t * hop. No frame reaches past the end of the audio.
        """
        return self.features(self.mel(audio))

    def mel(self, audio: Audio) -> Mel:
        """Mel power of audio before level normalisation.

        Args:
            audio: Mono samples in [-1, 1], shape (n,), n >= n_fft.

        Returns:
            Decibels or power (see `Mel`), shape (1 + (n - n_fft) // hop, n_mels),
            at least `floor_db`. Frame t depends on the n_fft samples from
            t * hop on and on nothing else.

        Raises:
            ValueError: The audio is shorter than one frame.
        """
        if audio.ndim != 1 or audio.size < self.n_fft:
            message = f"audio of shape {audio.shape} does not fill a frame of {self.n_fft} samples"
            raise ValueError(message)
        mel = np.empty((1 + (audio.size - self.n_fft) // self.hop, self.n_mels), np.float32)
        MelSpectrogram(self).compute(audio, mel)
        return mel

    def log_mel(self, audio: Audio) -> LogMel:
        """Mel power of audio in decibels (0 dB at a mel power of 1), for any compression; see `mel`."""
        return self.decibels(self.mel(audio))

    def decibels(self, mel: Mel) -> LogMel:
        """Mel power in decibels, shape (..., t, n_mels); returns `mel` itself for the compression `db`."""
        return mel if self.compression == "db" else to_decibels(mel)

    def cepstra(self, log_mel: LogMel) -> Features:
        """Features of mel power in decibels, the format of the training archive; see `features`."""
        if self.compression == "db":
            return self.features(log_mel)
        floored = np.maximum(log_mel, np.float32(self.floor_db))
        return self.features(np.power(np.float32(10.0), floored / np.float32(10.0)))

    def features(self, mel: Mel, out: Features | None = None) -> Features:
        """Features of mel power, independent of its absolute level.

        All steps that depend on a whole window are here: the limit of the dynamic
        range (`db` only), the compression and the level normalisation. So frames of
        overlapping windows can be shared up to this point.

        Args:
            mel: Shape (..., t, n_mels), for any t >= 1: one window, or a batch
                along the leading axes.
            out: Receives the features, shape (..., t, n_features); a new array by default.

        Returns:
            Compressed mel bands, or their orthonormal DCT-II, shape (..., t, n_features).
        """
        compressed = out if self.n_mfcc == 0 else None
        compressed = self._decibels(mel, compressed) if self.compression == "db" else self._log10(mel, compressed)
        if self.level == "mean":
            compressed -= compressed.mean(axis=(-2, -1), dtype=np.float32, keepdims=True)
        return np.matmul(compressed, self._dct, out=out) if self.n_mfcc else compressed

    def _decibels(self, log_mel: LogMel, out: Features | None) -> Features:
        loudest = log_mel.max(axis=(-2, -1), keepdims=True)
        limited = np.maximum(log_mel, loudest - np.float32(self.range_db), out=out)
        if self.level == "power":
            power = np.power(np.float32(10.0), (limited - loudest) / np.float32(10.0))
            mean = power.mean(axis=(-2, -1), dtype=np.float32, keepdims=True)
            limited += np.float32(self.level_db) - loudest - np.float32(10.0) * np.log10(mean)
        return limited

    def _log10(self, power: Mel, out: Features | None) -> Features:
        if self.level == "power":
            mean = power.mean(axis=(-2, -1), dtype=np.float32, keepdims=True)
            gain = _GAIN * np.float32(10.0 ** (self.level_db / 10.0)) / mean
        else:
            gain = _GAIN
        compressed = np.multiply(power, gain, out=out)
        compressed += np.float32(1.0)
        np.log(compressed, out=compressed)
        compressed *= _PER_DECADE
        return compressed

    @cached_property
    def _dct(self) -> NDArray[np.float32]:
        """Matrix of the orthonormal DCT-II, shape (n_mels, n_mfcc)."""
        place = (np.arange(self.n_mels)[:, None] + 0.5) * np.pi / self.n_mels
        basis = np.cos(place * np.arange(self.n_mfcc)) * np.sqrt(2.0 / self.n_mels)
        basis[:, 0] /= np.sqrt(2.0)
        return basis.astype(np.float32)


def to_decibels(power: Mel) -> LogMel:
    """Power in decibels, same shape."""
    # The natural logarithm is vectorised in float32, log10 is not.
    decibels = np.log(power)
    decibels *= np.float32(10.0) * _PER_DECADE
    return decibels
