"""A room as its microphone hears it: hum, music, and whether the gain suits.

`headnod check` listens for a second and `headnod calibrate` for a minute; both
ask this what they heard.
"""

from __future__ import annotations

import msgspec
import numpy as np

from headnod.features.frontend import Audio
from headnod.pipeline.level import SILENT_DBFS, clipped_share, decibels, is_dead

_PIECE = 1024
_QUIET, _LOUD = 5.0, 95.0
_ABOVE_FLOOR = 6.0
_SHARE_CLIPPED = 0.001
TOO_LOUD, TOO_SOFT, SUITABLE = -3.0, -42.0, -20.0
"""Loud moments above the first clip, below the second drown in the sound card's own noise; the third is about right."""
_LEAST_SILENCE, _NO_ROOM = -80.0, -40.0


class LevelReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a room was like."""

    seconds: float
    """How long it was listened to."""

    noise_floor: float
    """Level of its quiet moments, in dBFS: 5 % of the time it is quieter."""

    loud: float
    """Level of its loud moments, in dBFS: 5 % of the time it is louder."""

    peak: float
    """Largest sample, in dBFS."""

    clipped: float
    """Share of samples at full scale (0-1)."""

    dead: bool
    """Every sample was the same: nothing is connected, or it is muted."""

    @property
    def silence(self) -> float | None:
        """Proposed `listen.silence` in dBFS: a little over the noise floor.

        None if no quiet moment was heard, because then the floor is the music's.
        """
        if self.dead or self.noise_floor > _NO_ROOM:
            return None
        return float(max(np.ceil(self.noise_floor + _ABOVE_FLOOR), _LEAST_SILENCE))

    @property
    def gain(self) -> float:
        """Proposed change of the microphone's gain in decibels, 0 if it suits."""
        if self.dead:
            return 0.0
        if self.clipped > _SHARE_CLIPPED or self.loud > TOO_LOUD:
            return float(min(-6.0, np.floor(SUITABLE - self.loud)))
        if self.loud < TOO_SOFT:
            return float(np.ceil(SUITABLE - self.loud))
        return 0.0


class LevelMeter:
    """Listens, and tells afterwards."""

    def __init__(self, sample_rate: int) -> None:
        """Hear audio of so many samples per second."""
        self._rate = sample_rate
        self._rest = np.empty(0, np.float32)
        self._levels: list[float] = []
        self._samples, self._clipped, self._peak = 0, 0.0, 0.0
        self._dead = True

    @property
    def seconds(self) -> float:
        """How long it has listened."""
        return self._samples / self._rate

    def update(self, audio: Audio) -> None:
        """Listen to a block of any length."""
        if not audio.size:
            return
        self._samples += audio.size
        self._clipped += clipped_share(audio) * audio.size
        self._peak = max(self._peak, float(np.abs(audio).max()))
        self._dead = self._dead and is_dead(audio)
        whole = np.concatenate([self._rest, audio])
        used = whole.size // _PIECE * _PIECE
        self._rest = whole[used:]
        self._levels.extend(whole[:used].reshape(-1, _PIECE).std(axis=1).tolist())

    def report(self) -> LevelReport:
        """What was heard so far."""
        levels = np.array(self._levels or [0.0])
        return LevelReport(
            seconds=round(self.seconds, 1),
            noise_floor=round(decibels(float(np.percentile(levels, _QUIET))), 1),
            loud=round(decibels(float(np.percentile(levels, _LOUD))), 1),
            peak=round(decibels(self._peak), 1) if self._samples else SILENT_DBFS,
            clipped=round(self._clipped / max(self._samples, 1), 5),
            dead=self._dead,
        )
