"""Levels over longer times: the noise floor of a room, the gain of its microphone, and music that is too quiet.

`headnod check` measures a second, `headnod calibrate` a minute, and the journal the
last minute of a running listener.
"""

from __future__ import annotations

import math
from collections import deque

import msgspec
import numpy as np

from headnod.features.frontend import Audio
from headnod.pipeline.estimate import Estimate
from headnod.pipeline.level import SILENT_DBFS, clipped_share, decibels, is_dead

TOO_LOUD, TOO_SOFT, SUITABLE = -3.0, -42.0, -20.0
"""Level of loud pieces in dBFS: above the first they clip, below the second the noise of the sound card
masks them; the third is the target of a change of the gain."""

CREST = 5.5
"""Level of loud pieces of music relative to the level of their window in decibels: the 95th percentile of windows."""

SPAN, LEAST = 60.0, 30.0
"""Seconds of estimates that `QuietMusic` considers, and the minimum of them."""

_PIECE = 1024
_QUIET, _LOUD = 5.0, 95.0
_ABOVE_FLOOR = 6.0
_SHARE_CLIPPED = 0.001
_LEAST_SILENCE, _MAX_FLOOR = -80.0, -40.0


class LevelReport(msgspec.Struct, frozen=True, kw_only=True):
    """Levels of a recording."""

    seconds: float
    """Duration."""

    noise_floor: float
    """5th percentile of the level, in dBFS."""

    loud: float
    """95th percentile of the level, in dBFS."""

    peak: float
    """Largest sample, in dBFS."""

    clipped: float
    """Share of samples at full scale (0-1)."""

    dead: bool
    """All samples are equal: the microphone is not connected, or muted."""

    @property
    def silence(self) -> float | None:
        """Proposed `listen.silence` in dBFS: slightly above the noise floor.

        None if there was no silence in the recording, so that the noise floor is unknown.
        """
        if self.dead or self.noise_floor > _MAX_FLOOR:
            return None
        return float(max(np.ceil(self.noise_floor + _ABOVE_FLOOR), _LEAST_SILENCE))

    @property
    def gain(self) -> float:
        """Proposed change of the microphone's gain in decibels, 0 for none."""
        if self.dead:
            return 0.0
        if self.clipped > _SHARE_CLIPPED or self.loud > TOO_LOUD:
            return float(min(-6.0, np.floor(SUITABLE - self.loud)))
        if self.loud < TOO_SOFT:
            return float(np.ceil(SUITABLE - self.loud))
        return 0.0


class LevelMeter:
    """Measures the levels of a stream.

    >>> meter = LevelMeter(8_000)
    >>> meter.update(np.tile([0.1, -0.1], 8_000).astype(np.float32))
    >>> meter.report().seconds, meter.report().loud
    (2.0, -20.0)
    """

    def __init__(self, sample_rate: int) -> None:
        """Start empty; audio will have `sample_rate` samples per second."""
        self._rate = sample_rate
        self._rest = np.empty(0, np.float32)
        self._levels: list[float] = []
        self._samples, self._clipped, self._peak = 0, 0.0, 0.0
        self._dead = True

    @property
    def seconds(self) -> float:
        """Duration so far."""
        return self._samples / self._rate

    def update(self, audio: Audio) -> None:
        """Add mono audio in [-1, 1], shape (n,) for any n."""
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
        """Levels so far."""
        levels = np.array(self._levels or [0.0])
        return LevelReport(
            seconds=round(self.seconds, 1),
            noise_floor=round(decibels(float(np.percentile(levels, _QUIET))), 1),
            loud=round(decibels(float(np.percentile(levels, _LOUD))), 1),
            peak=round(decibels(self._peak), 1) if self._samples else SILENT_DBFS,
            clipped=round(self._clipped / max(self._samples, 1), 5),
            dead=self._dead,
        )


class QuietMusic:
    """Decides whether all music of the last minute was too quiet, by the limit of `LevelReport.gain`."""

    def __init__(self) -> None:
        """Start without estimates."""
        self._music: deque[tuple[float, float]] = deque()

    def update(self, estimate: Estimate) -> float | None:
        """Add an estimate; returns the missing gain in decibels, or None if the level suits or is unknown.

        Estimates without a genre do not count: they say nothing about the level of music.
        """
        while self._music and not 0.0 <= estimate.seconds - self._music[0][0] <= SPAN:
            self._music.popleft()
        if estimate.genre in estimate.scores:
            self._music.append((estimate.seconds, estimate.level))
        if not self._music or self._music[-1][0] - self._music[0][0] < LEAST:
            return None
        loud = max(level for _, level in self._music) + CREST
        return float(math.ceil(SUITABLE - loud)) if loud < TOO_SOFT else None
