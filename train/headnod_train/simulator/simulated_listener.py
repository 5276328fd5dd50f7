"""A simulated listener: plausible estimates, songs and health reports without audio."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from headnod.mqtt.payloads import HealthPayload, InfoPayload, SongPayload
from headnod.pipeline.estimate import SILENCE, UNKNOWN, Estimate, State
from headnod.pipeline.songs import Song, SongSegmenter, SongSettings

LABELS = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
"""Genres of the simulated model."""

MODEL = "imagined-1.0.0"
CERTAINTY = 0.45

_SONG, _PAUSE = (20, 80), (0, 4)
"""Range of the length of a song and of the silence after it, in estimates."""

_INERTIA = 0.7
"""Weight of the previous scores in the next ones."""


class SimulatedListener:
    """One listener; equal seeds give equal music."""

    def __init__(self, node: str, *, boot: str, every: float, rng: np.random.Generator) -> None:
        """Begin in the middle of a song.

        Args:
            node: What it is called.
            boot: Its run.
            every: Seconds between its estimates.
            rng: Chooses its music.
        """
        self.node, self._boot, self._every, self._rng = node, boot, every, rng
        self._scores: NDArray[np.float64] = np.full(len(LABELS), 1 / len(LABELS))
        self._genre = int(rng.integers(len(LABELS)))
        self._left, self._silent = int(rng.integers(1, _SONG[1])), 0
        self._songs = SongSegmenter(SongSettings())
        self._numbers: dict[datetime, int] = {}
        self._next = 0

    def next_estimate(self, now: datetime, monotonic: float) -> tuple[Estimate, SongPayload | None]:
        """The next estimate, and the song that ended with it, if any."""
        raw = self._music()
        self._scores = _INERTIA * self._scores + (1 - _INERTIA) * raw if raw.any() else raw
        order = np.argsort(-self._scores)
        best, music = float(self._scores[order[0]]), bool(raw.any())
        genre = SILENCE if not music else LABELS[order[0]] if best >= CERTAINTY else UNKNOWN
        level = self._rng.normal(-24.0 if music else -62.0, 2.0)
        estimate = Estimate(
            sequence=self._next,
            time=now,
            seconds=(self._next + 1) * self._every,
            genre=genre,
            confidence=round(best, 4),
            scores={label: round(float(score), 4) for label, score in zip(LABELS, self._scores, strict=True)},
            level=round(level, 1),
            peak=round(min(level + 12.0, 0.0), 1),
            dropped=0.0,
            state=State.LISTENING,
            model=MODEL,
            raw_genre=LABELS[int(raw.argmax())] if music else SILENCE,
            raw_confidence=round(float(raw.max()), 4),
            monotonic=round(monotonic, 3),
            latency=round(float(self._rng.gamma(4.0, 5.0)), 1),
        )
        self._numbers[now] = self._next
        self._next += 1
        song = self._songs.update(estimate)
        return estimate, None if song is None else self._told(song)

    def info(self) -> InfoPayload:
        """Its `info` payload."""
        return InfoPayload(
            node=self.node,
            boot=self._boot,
            version="0.0.0",
            runtime="none",
            python="3.11.2",
            board="none: it is simulated",
            microphone="",
            model=MODEL,
            model_sha256="0" * 64,
            models=(MODEL,),
            latest_model=MODEL,
            labels=LABELS,
            every_s=self._every,
            window_s=self._every,
            health_every_s=60.0,
            sample_rate=22_050,
            certainty=CERTAINTY,
            paused=False,
            brightness=0.5,
        )

    def health(self, now: datetime) -> HealthPayload:
        """Its `health` payload."""
        return HealthPayload(
            node=self.node,
            ts=now,
            state=State.LISTENING,
            message="",
            uptime_s=round(self._next * self._every, 1),
            estimates=self._next,
            dropped_s=0.0,
            queued=0,
            queued_on_disk=0,
            discarded=0,
            published=self._next,
            refused=0,
            reconnects=0,
            memory_mb=round(self._rng.normal(80.0, 1.0), 1),
            cpu_percent=round(self._rng.gamma(4.0, 1.0), 1),
            temperature_c=round(self._rng.normal(52.0, 1.0), 1),
        )

    def _music(self) -> NDArray[np.float64]:
        """Scores of the next window; zeros in silence."""
        if self._silent:
            self._silent -= 1
            return np.zeros(len(LABELS))
        self._left -= 1
        if self._left <= 0:
            self._genre = int(self._rng.integers(len(LABELS)))
            self._left, self._silent = int(self._rng.integers(*_SONG)), int(self._rng.integers(*_PAUSE))
        others = self._rng.dirichlet(np.ones(len(LABELS)))
        sure = self._rng.uniform(0.4, 0.95)
        return sure * np.eye(len(LABELS))[self._genre] + (1 - sure) * others

    def _told(self, song: Song) -> SongPayload:
        first = self._numbers[song.start]
        self._numbers = {time: number for time, number in self._numbers.items() if time > song.end}
        return SongPayload(
            id=f"{self.node}-{self._boot}-{first}",
            node=self.node,
            start=song.start,
            end=song.end,
            duration_s=round((song.end - song.start).total_seconds(), 3),
            genre=song.genre,
            stability=song.stability,
        )
