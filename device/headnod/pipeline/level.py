"""Loudness of windows, the noise floor of the room, and detection of steady noise: fans, hiss, rain and mains hum.

The standard deviation of the power of Gaussian noise in a band, in decibels, depends on
the width of the band only, not on the level or the spectrum. Notes and beats of music
vary more, held tones vary less. Hum consists of held tones in all bands, with most
power at lower frequencies than music.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Audio, FrontEnd, LogMel, Mel, MelSpectrogram, to_decibels

SILENT_DBFS = -120.0
"""Lower limit of all levels, the level of digital silence."""

_FULL_SCALE = 0.999
_PIECE, _RATE = 1708, 22_050
"""Length of a piece (77 ms) in samples, at this sample rate."""
_FAINT = 20.0
"""Decibels below the loudest piece of a window at which a piece before the onset counts as silence."""
_DOUBTFUL = 1e-5
"""Power below which a piece may be constant, with a rounding error."""


def dbfs(audio: Audio) -> float:
    """Root mean square of audio without its mean, in dBFS.

    >>> dbfs(np.tile([0.5, -0.5], 100).astype(np.float32))
    -6.020599913279624
    """
    return decibels(float(audio.std(dtype=np.float64)))


def decibels(amplitude: float) -> float:
    """An amplitude in decibels relative to 1, at least `SILENT_DBFS`."""
    return max(20.0 * math.log10(max(amplitude, 1e-9)), SILENT_DBFS)


def clipped_share(audio: Audio) -> float:
    """Share of samples at full scale (0-1)."""
    return float(np.count_nonzero(np.abs(audio) >= _FULL_SCALE) / audio.size)


def is_dead(audio: Audio) -> bool:
    """All samples are equal, which a working microphone never sends."""
    return bool(audio.max() == audio.min())


class Loudness(NamedTuple):
    """Loudness of one window."""

    level: float
    """Root mean square without the mean, in dBFS."""

    peak: float
    """Largest sample, in dBFS."""

    clipped: float
    """Share of samples at full scale (0-1)."""

    dead: bool
    """All samples are equal."""

    quietest: float | None
    """Level of the quietest piece of 77 ms in dBFS; None if all pieces are constant."""

    onset: int
    """Samples before the sound starts, if it lasts to the end of the window; otherwise 0."""


class LoudnessMeter:
    """Measures windows of one length in preallocated memory.

    >>> meter = LoudnessMeter(1708)
    >>> round(meter.measure(np.tile([0.5, -0.5], 854).astype(np.float32)).level, 3)
    -6.021
    """

    def __init__(self, size: int, rate: int = _RATE) -> None:
        """Allocate memory for windows of `size` samples at `rate` samples per second."""
        self._centred, self._ones = np.empty(size, np.float32), np.ones(size, np.float32)
        # Pieces are aligned to the end of the window; less than a piece at its start is ignored.
        self._piece = round(_PIECE * rate / _RATE)
        self._rest = size % self._piece

    def measure(self, audio: Audio) -> Loudness:
        """Loudness of one window, shape (size,)."""
        # Sums are computed as products with ones: BLAS is vectorised, the sum of numpy is not.
        mean = np.dot(audio, self._ones) / np.float32(audio.size)
        centred = np.subtract(audio, mean, out=self._centred)
        lowest, highest = float(audio.min()), float(audio.max())
        peak, power = max(highest, -lowest), float(np.dot(centred, centred)) / audio.size
        pieces = centred[self._rest :].reshape(-1, self._piece)
        means = pieces @ self._ones[: self._piece] / np.float32(self._piece)
        powers = np.einsum("ij,ij->i", pieces, pieces) / np.float32(self._piece) - np.square(means)
        return Loudness(
            level=decibels(math.sqrt(power)),
            peak=decibels(peak),
            clipped=clipped_share(audio) if peak >= _FULL_SCALE else 0.0,
            dead=lowest == highest,
            quietest=_quietest(pieces, powers),
            onset=_onset(powers, self._rest, self._piece),
        )


def _quietest(pieces: NDArray[np.float32], powers: NDArray[np.float32]) -> float | None:
    constant = powers < _DOUBTFUL
    if constant.any():
        constant[constant] = np.ptp(pieces[constant], axis=1) == 0
        powers = powers[~constant]
    return decibels(math.sqrt(max(float(powers.min()), 0.0))) if powers.size else None


def _onset(powers: NDArray[np.float32], rest: int, piece: int) -> int:
    # Relative to the loudest piece, because the mean falls with the length of the silence.
    sounding = powers > powers.max(initial=0.0) * 10.0 ** (-_FAINT / 10.0)
    first = int(sounding.argmax()) if sounding[-1:].any() else 0
    return rest + first * piece if first else 0


class NoiseFloor:
    """Noise floor of the room: the quietest piece of recent windows without music.

    Update it with windows of silence or steady noise only. Compressed music has no
    quiet pieces and would become its own noise floor.
    """

    CEILING = -55.0
    """Upper limit of the noise floor in dBFS: steady sound above it may be a held note of music."""

    MEMORY = 600.0
    """Seconds for which a quiet piece counts."""

    def __init__(self, *, every: float) -> None:
        """Start without windows; they will be `every` seconds apart."""
        self._quietest: deque[float] = deque(maxlen=max(1, round(self.MEMORY / every)))

    def update(self, quietest: float | None) -> None:
        """Add the level of the quietest piece of a window, in dBFS; None is ignored."""
        if quietest is not None:
            self._quietest.append(quietest)

    @property
    def floor(self) -> float:
        """The noise floor in dBFS, at most `CEILING`; `SILENT_DBFS` before the first update."""
        return min(*self._quietest, self.CEILING) if self._quietest else SILENT_DBFS


ENOUGH = 0.9
"""Minimum share of bands that vary like noise, for noise. White, pink and brown
noise have 0.97 or more; none of 6,390 windows of GTZAN has more than 0.85."""

STILL = 0.93
"""Minimum share of bands that vary at most like noise, for hum. Two of the same
windows have more than 0.9, neither of them mostly bass."""

_LEAST, _MOST = 0.7, 1.4
_BASS, _MOSTLY = 250.0, 0.7
"""Frequency in Hz, and the minimum share of the power of hum below it."""
_EXAMPLES = 20
_BANDS = 32


class SteadyNoiseDetector:
    """Detects windows that contain steady noise only.

    >>> front_end = FrontEnd()
    >>> hiss = np.random.default_rng(1).normal(0.0, 0.1, front_end.window_samples).astype(np.float32)
    >>> SteadyNoiseDetector(front_end).detect(front_end.mel(hiss))
    True
    """

    def __init__(self, front_end: FrontEnd) -> None:
        """Measure the variation of each band for white noise."""
        corners = front_end.corners
        centres, self._widths = corners[1:-1], (corners[2:] - corners[:-2]).astype(np.float32)
        if front_end.mel_norm == "none":
            self._widths[:] = 1.0
        # Noise in bands as narrow as one bin varies as much as music. So for plain power, several bands are
        # merged, and only frames without overlap are used.
        self._step, self._merged = 1, None
        places = np.arange(front_end.n_mels)
        if front_end.compression != "db":
            self._step = max(front_end.n_fft // front_end.hop, 1)
            places = places * min(_BANDS, front_end.n_mels) // front_end.n_mels
            self._merged = np.eye(places[-1] + 1, dtype=np.float32)[places] * self._widths[:, None]
            centres = np.array([centres[places == place].mean() for place in range(places[-1] + 1)])
            self._widths = np.ones(len(centres), np.float32)
        self._bass = int(np.searchsorted(centres, _BASS))
        bands = slice(len(centres) * 3 // 8, len(centres) * 5 // 8)
        self._middle = slice(*np.searchsorted(places, (bands.start, bands.stop))), bands
        self._most_varied = len(centres) - math.ceil(ENOUGH * len(centres))
        rng = Random(0)  # noqa: S311 - not for security; `numpy.random` would take 2.5 MB of memory
        spectrogram = MelSpectrogram(replace(front_end, hop=self._step * front_end.hop))
        mel = np.empty((-(-front_end.frames // self._step), front_end.n_mels), np.float32)
        variation = []
        for _ in range(_EXAMPLES):
            # The spectrum of uniform noise is Gaussian too (central limit theorem), and it takes a quarter of the time.
            noise = np.frombuffer(rng.randbytes(2 * front_end.window_samples), "<i2")
            spectrogram.compute(noise.astype(np.float32) / np.float32(65_536.0), mel)
            variation.append(_deviation(self._decibels(mel.repeat(self._step, axis=0))))
        # A band without a bin does not vary at all.
        self._variation = np.maximum(np.mean(variation, axis=0), 1e-6)
        self._most_of_middle = _MOST * self._variation[bands]

    def detect(self, mel: Mel) -> bool:
        """Whether nearly all bands vary like noise, or vary at most like noise with most power in the bass.

        Args:
            mel: One window as `FrontEnd.mel` gives it, shape (frames, n_mels).
        """
        # Of music, the bands in the middle alone show that it is no noise, at a fifth of the cost of all bands.
        middle = _deviation(self._decibels(mel, *self._middle))
        if np.count_nonzero(middle >= self._most_of_middle) > self._most_varied:
            return False
        log_mel = self._decibels(mel)
        ratio = _deviation(log_mel) / self._variation
        steady = ratio < _MOST
        if float((steady & (ratio > _LEAST)).mean()) >= ENOUGH:
            return True
        return float(steady.mean()) >= STILL and self._is_bass(log_mel)

    def _decibels(self, mel: Mel, mels: slice = slice(None), bands: slice = slice(None)) -> LogMel:
        part = mel[:: self._step, mels]
        return part if self._merged is None else to_decibels(part @ self._merged[mels, bands])

    def _is_bass(self, log_mel: LogMel) -> bool:
        power = (10.0 ** (log_mel.mean(axis=0) / 10.0)) * self._widths
        return float(power[: self._bass].sum()) >= _MOSTLY * float(power.sum())


def _deviation(decibels: LogMel) -> NDArray[np.float32]:
    ones = np.ones(len(decibels), np.float32)  # np.std takes twice as long along the first axis.
    centred = decibels - ones @ decibels / np.float32(ones.size)
    return np.sqrt(np.einsum("ij,ij->j", centred, centred) / np.float32(ones.size))
