"""Memory: what the dashboard knows of one listener.

Alone because it decides what a payload means: which estimate is the latest,
what came late, which songs are today's. It is bounded whatever comes, and is
told to browsers part by part, so that only what changed is sent.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from headnod.dashboard.payload_validation import (
    LABELS,
    EstimateFields,
    HealthFields,
    InfoFields,
    SongFields,
    line,
    name,
)
from headnod.dashboard.timeline import Timeline
from headnod.mqtt.payloads import SCORE, score_keys
from headnod.outputs.palette import colours, hexadecimal
from headnod.pipeline.estimate import SILENCE, UNKNOWN

PARTS = ("status", "labels", "now", "ribbon", "songs", "health", "info")
"""What is told of a listener, each for itself."""

_UNKNOWN = 1
_SLACK = 10
_REMEMBERED = 64


class ListenerState:
    """One listener: what it hears, what it heard, how it fares.

    Genres are told as places in `labels`, which only grows: 0 is silence, 1 unknown.
    """

    def __init__(self, node: str) -> None:
        """Know its name alone."""
        self.node = node
        self.heard = 0
        """When anything was last heard of it, in whole seconds since 1970."""
        self.online: bool | None = None
        """Whether it is there; None before it said so."""
        self.changed = set(PARTS)
        """Parts that changed since somebody took them."""
        self._labels = [SILENCE, UNKNOWN]
        self._order: list[int] = []
        self._ribbon = Timeline()
        self._status: dict[str, Any] = {"online": None, "since": None}
        self._now: dict[str, Any] | None = None
        self._time_unix = 0.0
        self._songs: dict[int, list[int]] = {}
        self._song_ids: deque[str] = deque(maxlen=_REMEMBERED)
        self._health, self._health_at = HealthFields(), 0
        self._info = InfoFields()

    def status(self, *, online: bool, now: int, retained: bool) -> None:
        """It came or went; a retained word does not say when."""
        if online == self.online:
            return
        self.online = online
        self._status = {"online": online, "since": None if retained else now}
        self.changed.add("status")

    def estimate(
        self,
        reading: EstimateFields,
        scores: dict[str, float],
        tags: Sequence[str] = (),
        *,
        now: int,
        retained: bool,
    ) -> None:
        """It heard something: now, or, retained or replayed, at a time of its own clock."""
        late = retained or reading.replayed
        if reading.time_unix == self._time_unix:
            # The same estimate comes as `estimate` and as `state`.
            return
        when = min(int(reading.time_unix), now) if late else now
        genre = self._label(reading.genre)
        every = math.ceil(self._info.every_s)
        whole = self._ribbon.hear(when - every, when, genre, slack=max(_SLACK, 3 * every))
        self._ribbon.forget(now)
        if whole:
            self.changed.add("ribbon")
        if self._now is None or not late or when >= self._now["heard"]:
            self._time_unix = reading.time_unix
            self._present(reading, scores, tags, genre, when)

    def song(self, reading: SongFields) -> None:
        """One of today's songs ended."""
        identity = reading.id[:160]
        if identity in self._song_ids:
            return
        self._song_ids.append(identity)
        told = self._songs.setdefault(self._label(reading.genre), [0, 0])
        told[0] += 1
        told[1] += min(round(reading.duration_s), 86_400)
        self.changed.add("songs")

    def tomorrow(self) -> None:
        """Forget yesterday's songs."""
        if self._songs:
            self._songs = {}
            self.changed.add("songs")

    def health(self, reading: HealthFields, *, now: int) -> None:
        """It said how it fares."""
        self._health, self._health_at = reading, now
        self.changed.add("health")

    def info(self, reading: InfoFields) -> None:
        """It said what it is."""
        if reading.labels != self._info.labels:
            # Colours are those of all labels together, so that old ones may change too.
            self.changed.add("labels")
        self._info = reading
        for label in reading.labels[:LABELS]:
            self._label(label)
        self.changed.add("info")

    def forget(self, now: int) -> None:
        """Let the ribbon's old end go."""
        self._ribbon.forget(now)

    def move(self, step: int) -> None:
        """Move every time by so many seconds: the clock that they are told by was set."""
        self.heard += step
        self._ribbon.move(step)
        if self._status["since"] is not None:
            self._status["since"] += step
        if self._now is not None:
            self._now = {**self._now, "heard": self._now["heard"] + step, "since": self._now["since"] + step}
        self._health_at += step if self._health_at else 0
        self.changed |= {"status", "now", "ribbon", "health"}

    def told(self, parts: Iterable[str] = PARTS) -> dict[str, Any]:
        """The parts asked for, as builtins."""
        return {"node": self.node} | {part: self._told(part) for part in PARTS if part in parts}

    def _told(self, part: str) -> object:
        told: object
        match part:
            case "status":
                told = self._status
            case "labels":
                chosen = colours(map(name, self._info.labels), self._labels)
                names = [[label, hexadecimal(chosen[label])] for label in self._labels]
                told = {"names": names, "order": self._order}
            case "now":
                told = self._now
            case "ribbon":
                told = self._ribbon.runs()
            case "songs":
                told = sorted(([genre, *sums] for genre, sums in self._songs.items()), key=lambda song: -song[1])
            case "health":
                told = {"at": self._health_at} | self._clean(self._health)
            case _:
                told = self._clean(self._info)
        return told

    def _present(
        self, reading: EstimateFields, scores: dict[str, float], tags: Sequence[str], genre: int, when: int
    ) -> None:
        labels = self._info.labels[:LABELS]
        known = dict(zip(score_keys(labels), labels, strict=True))
        order = [self._label(known.get(key, key.removeprefix(SCORE))) for key in scores]
        if order != self._order:
            self._order = order
            self.changed.add("labels")
        self._now = {
            "genre": genre,
            "confidence": round(reading.confidence, 3),
            "bars": [round(1000 * score) for score in scores.values()],
            "level": round(reading.level_dbfs, 1),
            "state": name(reading.state),
            "held_by": name(reading.held_by),
            "tags": list(tags),
            "heard": when,
            "since": self._ribbon.since if self._ribbon.since is not None else when,
        }
        self.changed.add("now")

    def _label(self, text: str) -> int:
        label = name(text)
        if label not in self._labels:
            if len(self._labels) >= LABELS + 2:
                return _UNKNOWN
            self._labels.append(label)
            self.changed.add("labels")
        return self._labels.index(label)

    @staticmethod
    def _clean(reading: msgspec.Struct) -> dict[str, Any]:
        told = msgspec.to_builtins(reading)
        return {key: line(value) if isinstance(value, str) else value for key, value in told.items() if key != "labels"}
