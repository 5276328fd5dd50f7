"""The feature front end: mono audio in, MFCC or log-mel frames out, and the mel filter banks under it.

Training and the device both compute features here and nowhere else, so a model
gets the same numbers on the Pi as on the workstation. Every mel frame of a window, a
stream or an archive is computed by `MelSpectrogram`, so a frame is the same to the bit
wherever it lies in a batch. Needs numpy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]
"""Mono samples in [-1, 1], shape (n,)."""
LogMel = NDArray[np.float32]
"""Mel power in decibels, shape (frames, n_mels)."""
Mel = NDArray[np.float32]
"""Mel power before level normalisation, shape (frames, n_mels): decibels for the
compression `db`, plain power for `log10`."""
Features = NDArray[np.float32]
"""Input of a network, shape (frames, n_features)."""

MelScale = Literal["slaney", "htk"]
MelNorm = Literal["area", "none"]
Compression = Literal["db", "log10"]
Level = Literal["mean", "power"]

_GAIN, _PER_DECADE = np.float32(10_000.0), np.float32(1.0 / math.log(10.0))
_FLOAT32_FFT = np.fft.rfft(np.zeros(2, np.float32), norm="forward").dtype == np.complex64
_ROWS = 8
"""Frames are transformed in multiples of this, padded if necessary: matrix products and vectorised
transforms round differently for other row counts, and a frame must not depend on its neighbours."""

_DB_BATCH, _POWER_BATCH, _TRANSFORMED, _TOGETHER = 48, 192, 96, 8
"""Frames per matrix product, most frames per transform, whose buffers must fit into the cache, and bands per product.
The shipped models in decibels were measured with the first; the second is faster for short frames."""


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
def mel_blocks(front_end: FrontEnd) -> list[tuple[slice, slice, NDArray[np.float32]]]:
    """A bank of triangular filters, as dense blocks of a mostly empty matrix.

    Returns:
        For each block its bins, its bands, and the weights, shape (bins, bands).
    """
    corners, n_fft = front_end.corners, front_end.n_fft
    hertz = np.arange(n_fft // 2 + 1)[:, None] * float(front_end.sample_rate) / n_fft
    rising = (hertz - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - hertz) / (corners[2:] - corners[1:-1])
    weights = np.maximum(np.minimum(rising, falling), 0.0)
    if front_end.mel_norm == "area":
        weights = weights * 2.0 / (corners[2:] - corners[:-2])
    blocks = []
    for first in range(0, front_end.n_mels, _TOGETHER):
        bands = slice(first, first + _TOGETHER)
        used = np.flatnonzero(weights[:, bands].any(axis=1))
        bins = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
        blocks.append((bins, bands, weights[bins, bands].astype(np.float32)))
    return blocks


class MelSpectrogram:
    """Computes the mel power of frames in preallocated buffers; not thread-safe.

    >>> front_end = FrontEnd()
    >>> spectrogram, mel = MelSpectrogram(front_end), np.empty((38, 128), np.float32)
    >>> spectrogram.compute(np.zeros(front_end.window_samples, np.float32), mel)
    >>> round(float(mel.max()), 3)
    -120.0
    """

    def __init__(self, front_end: FrontEnd) -> None:
        """Allocate the buffers."""
        self._hop = front_end.hop
        self._window = _hann(front_end.n_fft)
        self._in_decibels = front_end.compression == "db"
        self._batch = _DB_BATCH if self._in_decibels else _POWER_BATCH
        self._blocks = mel_blocks(front_end)
        # With an array, np.maximum is vectorised on Arm; with a number it is not.
        self._floor = np.full((self._batch, front_end.n_mels), 10.0 ** (front_end.floor_db / 10.0), np.float32)
        bins, rows = front_end.n_fft // 2 + 1, min(self._batch, _TRANSFORMED)
        self._frames = np.zeros((rows, front_end.n_fft), np.float32)
        self._spectrum = np.zeros((rows, bins), np.complex64)
        self._power, self._imaginary = np.zeros((self._batch, bins), np.float32), np.zeros((rows, bins), np.float32)
        self._mel = np.zeros((self._batch, front_end.n_mels), np.float32)

    def compute(self, audio: Audio, mel: Mel) -> None:
        """Write the mel power of audio, as defined by `FrontEnd.mel`.

        Args:
            audio: Mono samples in [-1, 1], shape (n,).
            mel: Receives the frames, shape ((n - n_fft) // hop + 1, n_mels).
        """
        step, size = audio.itemsize, self._window.size
        strides = step * self._hop, step
        frames = np.ndarray((len(mel), size), audio.dtype, np.ascontiguousarray(audio), strides=strides)
        for first in range(0, len(mel), self._batch):
            part = frames[first : first + self._batch]
            for place in range(0, len(part), _TRANSFORMED):
                self._transform(part[place : place + _TRANSFORMED], self._power[place:])
            self._apply_bands(mel[first : first + self._batch])

    def _transform(self, frames: NDArray[np.float32], power: NDArray[np.float32]) -> None:
        rows = -(-len(frames) // _ROWS) * _ROWS
        weighted, spectrum, power = self._frames[:rows], self._spectrum[:rows], power[:rows]
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
        np.maximum(self._mel[: len(mel)], self._floor[: len(mel)], out=mel)
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
                raise ValueError(f"{name} is {value}, it must lie between {least:g} and {most:g}")
        choices = (("mel_scale", MelScale), ("mel_norm", MelNorm), ("compression", Compression), ("level", Level))
        for name, kind in choices:
            value, known = getattr(self, name), get_args(kind)
            if value not in known:
                raise ValueError(f"{name} is {value!r}, it must be {' or '.join(known)}")
        if self.n_fft % 2:
            raise ValueError(f"n_fft is {self.n_fft}, it must be even")

    @property
    def window_samples(self) -> int:
        """Length of a window of `frames` frames, in samples."""
        return (self.frames - 1) * self.hop + self.n_fft

    @property
    def window_seconds(self) -> float:
        """Length of a window, in seconds."""
        return self.window_samples / self.sample_rate

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
            raise ValueError(f"audio of shape {audio.shape} does not fill a frame of {self.n_fft} samples")
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
