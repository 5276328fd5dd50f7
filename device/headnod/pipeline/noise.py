"""Detection of steady noise: fans, hiss, rain and mains hum.

The standard deviation of the power of Gaussian noise in a band, in decibels, depends on
the width of the band only, not on the level or the spectrum. Notes and beats of music
vary more, held tones vary less. Hum consists of held tones in all bands, with most
power at lower frequencies than music.
"""

from __future__ import annotations

import numpy as np

from headnod.features.frontend import FrontEnd, LogMel, Mel, to_decibels
from headnod.features.mel import MelSpectrogram

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
        if front_end.compression != "db":
            self._step = max(front_end.n_fft // front_end.hop, 1)
            places = np.arange(front_end.n_mels) * min(_BANDS, front_end.n_mels) // front_end.n_mels
            self._merged = np.eye(places[-1] + 1, dtype=np.float32)[places] * self._widths[:, None]
            centres = np.array([centres[places == place].mean() for place in range(places[-1] + 1)])
            self._widths = np.ones(len(centres), np.float32)
        self._bass = int(np.searchsorted(centres, _BASS))
        rng = np.random.default_rng(0)
        spectrogram = MelSpectrogram(front_end)
        mel = np.empty((front_end.frames, front_end.n_mels), np.float32)
        variation = []
        for _ in range(_EXAMPLES):
            # The spectrum of uniform noise is Gaussian too (central limit theorem), and it is generated in a quarter
            # of the time.
            spectrogram.compute(rng.random(front_end.window_samples, np.float32) - np.float32(0.5), mel)
            variation.append(self._decibels(mel).std(axis=0))
        # A band without a bin does not vary at all.
        self._variation = np.maximum(np.mean(variation, axis=0), 1e-6)

    def detect(self, mel: Mel) -> bool:
        """Whether nearly all bands vary like noise, or vary at most like noise with most power in the bass.

        Args:
            mel: One window as `FrontEnd.mel` gives it, shape (frames, n_mels).
        """
        log_mel = self._decibels(mel)
        ratio = log_mel.std(axis=0) / self._variation
        steady = ratio < _MOST
        if float((steady & (ratio > _LEAST)).mean()) >= ENOUGH:
            return True
        return float(steady.mean()) >= STILL and self._is_bass(log_mel)

    def _decibels(self, mel: Mel) -> LogMel:
        return mel if self._merged is None else to_decibels(mel[:: self._step] @ self._merged)

    def _is_bass(self, log_mel: LogMel) -> bool:
        power = (10.0 ** (log_mel.mean(axis=0) / 10.0)) * self._widths
        return float(power[: self._bass].sum()) >= _MOSTLY * float(power.sum())
