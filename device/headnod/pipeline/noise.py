"""Steady noise: fans, hiss, rain and the hum of the mains, told from music by how they fluctuate.

The power of Gaussian noise in a band scatters by an amount that depends on the
width of the band and on nothing else: not on level, and not on colour. Music
scatters more where it has notes and beats, and less where it holds a tone. Hum
holds its tones too, but all of them, and the loudest are lower than most music.
"""

from __future__ import annotations

import numpy as np

from headnod.features.frontend import FrontEnd, LogMel, Mel, to_decibels
from headnod.features.mel import MelSpectrogram

ENOUGH = 0.9
"""Share of bands from which a window is called noise. White, pink and brown
noise have 0.97 or more; of 6,390 windows of GTZAN none has over 0.85."""

STILL = 0.93
"""Share of bands that scatter no more than noise from which a window that is
mostly bass is called hum. Of the same windows two have over 0.9, both higher music."""

_LEAST, _MOST = 0.7, 1.4
_BASS, _MOSTLY = 250.0, 0.7
"""Hz, and the share of the power under it that hum has."""
_EXAMPLES = 20
_BANDS = 32


class SteadyNoiseDetector:
    """Tells whether a window holds nothing but steady noise.

    >>> front_end = FrontEnd()
    >>> hiss = np.random.default_rng(1).normal(0.0, 0.1, front_end.window_samples).astype(np.float32)
    >>> SteadyNoiseDetector(front_end).detect(front_end.mel(hiss))
    True
    """

    def __init__(self, front_end: FrontEnd) -> None:
        """Learn from white noise how far each band scatters."""
        corners = front_end.corners
        centres, self._widths = corners[1:-1], (corners[2:] - corners[:-2]).astype(np.float32)
        if front_end.mel_norm == "none":
            self._widths[:] = 1.0
        # Bands as narrow as a bin scatter as much as music does, so plain power is taken of several, and
        # of frames that do not overlap.
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
        scatter = []
        for _ in range(_EXAMPLES):
            # Sums of so many samples are Gaussian whatever the samples are, and these are made four times as quickly.
            spectrogram.compute(rng.random(front_end.window_samples, np.float32) - np.float32(0.5), mel)
            scatter.append(self._decibels(mel).std(axis=0))
        # A band without a bin does not scatter at all.
        self._scatter = np.maximum(np.mean(scatter, axis=0), 1e-6)

    def detect(self, mel: Mel) -> bool:
        """Whether nearly every band scatters as noise does, or none scatters more and most of it is bass.

        Args:
            mel: One window as `FrontEnd.mel` gives it, shape (frames, n_mels).
        """
        log_mel = self._decibels(mel)
        ratio = log_mel.std(axis=0) / self._scatter
        calm = ratio < _MOST
        if float((calm & (ratio > _LEAST)).mean()) >= ENOUGH:
            return True
        return float(calm.mean()) >= STILL and self._is_bass(log_mel)

    def _decibels(self, mel: Mel) -> LogMel:
        return mel if self._merged is None else to_decibels(mel[:: self._step] @ self._merged)

    def _is_bass(self, log_mel: LogMel) -> bool:
        power = (10.0 ** (log_mel.mean(axis=0) / 10.0)) * self._widths
        return float(power[: self._bass].sum()) >= _MOSTLY * float(power.sum())
