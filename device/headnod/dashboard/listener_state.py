"""The state of one listener: latest estimate, timeline, songs of today, health and info.

It is bounded for any input, and is sent to browsers part by part, so that only
changed parts are sent.
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

PARTS = ("status", "labels", "now", "timeline", "songs", "health", "info")
"""Parts of the state, which are sent separately."""

_UNKNOWN = 1
_SLACK = 10
_SONG_IDS = 64


class ListenerState:
    """One listener. Genres are indices into `labels`, which only grows: 0 is silence, 1 unknown."""

    def __init__(self, node: str) -> None:
        """Start without any payload."""
        self.node = node
        self.updated = 0
        """Time of the last message, in whole seconds since 1970."""
        self.online: bool | None = None
        """Its status; None before the first."""
        self.changed = set(PARTS)
        """Parts that changed and were not sent yet."""
        self._labels = [SILENCE, UNKNOWN]
        self._order: list[int] = []
        self._timeline = Timeline()
        self._status: dict[str, Any] = {"online": None, "since": None}
        self._now: dict[str, Any] | None = None
        self._time_unix = 0.0
        self._songs: dict[int, list[int]] = {}
        self._song_ids: deque[str] = deque(maxlen=_SONG_IDS)
        self._health, self._health_at = HealthFields(), 0
        self._info = InfoFields()

    def status(self, *, online: bool, now: int, retained: bool) -> None:
        """Apply a status; the time of a retained one is unknown."""
        if online == self.online:
            return
        self.online = online
        self._status = {"online": online, "since": None if retained else now}
        self.changed.add("status")

    def estimate(
        self,
        fields: EstimateFields,
        scores: dict[str, float],
        tags: Sequence[str] = (),
        *,
        now: int,
        retained: bool,
    ) -> None:
        """Apply an estimate: of the present or, if retained or replayed, of a time of the listener's clock."""
        late = retained or fields.replayed
        if fields.time_unix == self._time_unix:
            # The same estimate is published as `estimate` and as `state`.
            return
        when = min(int(fields.time_unix), now) if late else now
        genre = self._label(fields.genre)
        every = math.ceil(self._info.every_s)
        whole = self._timeline.add(when - every, when, genre, slack=max(_SLACK, 3 * every))
        self._timeline.prune(now)
        if whole:
            self.changed.add("timeline")
        if self._now is None or not late or when >= self._now["time"]:
            self._time_unix = fields.time_unix
            self._set_current(fields, scores, tags, genre, when)

    def song(self, fields: SongFields) -> None:
        """Count a song of today, once."""
        identity = fields.id[:160]
        if identity in self._song_ids:
            return
        self._song_ids.append(identity)
        sums = self._songs.setdefault(self._label(fields.genre), [0, 0])
        sums[0] += 1
        sums[1] += min(round(fields.duration_s), 86_400)
        self.changed.add("songs")

    def clear_songs(self) -> None:
        """Remove the songs: a new day begins."""
        if self._songs:
            self._songs = {}
            self.changed.add("songs")

    def health(self, fields: HealthFields, *, now: int) -> None:
        """Apply a health report."""
        self._health, self._health_at = fields, now
        self.changed.add("health")

    def info(self, fields: InfoFields) -> None:
        """Apply the description of the listener."""
        if fields.labels != self._info.labels:
            # Colours depend on all labels together, so those of earlier labels may change too.
            self.changed.add("labels")
        self._info = fields
        for label in fields.labels[:LABELS]:
            self._label(label)
        self.changed.add("info")

    def prune(self, now: int) -> None:
        """Remove the old end of the timeline."""
        self._timeline.prune(now)

    def shift(self, step: int) -> None:
        """Move all times by a number of seconds, because the wall clock was set."""
        self.updated += step
        self._timeline.shift(step)
        if self._status["since"] is not None:
            self._status["since"] += step
        if self._now is not None:
            self._now = {**self._now, "time": self._now["time"] + step, "since": self._now["since"] + step}
        self._health_at += step if self._health_at else 0
        self.changed |= {"status", "now", "timeline", "health"}

    def snapshot(self, parts: Iterable[str] = PARTS) -> dict[str, Any]:
        """Some parts of the state, as builtins."""
        return {"node": self.node} | {part: self._part(part) for part in PARTS if part in parts}

    def _part(self, part: str) -> object:
        value: object
        match part:
            case "status":
                value = self._status
            case "labels":
                chosen = colours(map(name, self._info.labels), self._labels)
                names = [[label, hexadecimal(chosen[label])] for label in self._labels]
                value = {"names": names, "order": self._order}
            case "now":
                value = self._now
            case "timeline":
                value = self._timeline.runs()
            case "songs":
                value = sorted(([genre, *sums] for genre, sums in self._songs.items()), key=lambda song: -song[1])
            case "health":
                value = {"at": self._health_at} | _visible_fields(self._health)
            case _:
                value = _visible_fields(self._info)
        return value

    def _set_current(
        self, fields: EstimateFields, scores: dict[str, float], tags: Sequence[str], genre: int, when: int
    ) -> None:
        labels = self._info.labels[:LABELS]
        known = dict(zip(score_keys(labels), labels, strict=True))
        order = [self._label(known.get(key, key.removeprefix(SCORE))) for key in scores]
        if order != self._order:
            self._order = order
            self.changed.add("labels")
        self._now = {
            "genre": genre,
            "confidence": round(fields.confidence, 3),
            "bars": [round(1000 * score) for score in scores.values()],
            "level": round(fields.level_dbfs, 1),
            "state": name(fields.state),
            "held_by": name(fields.held_by),
            "tags": list(tags),
            "time": when,
            "since": self._timeline.since if self._timeline.since is not None else when,
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


def _visible_fields(fields: msgspec.Struct) -> dict[str, Any]:
    values = msgspec.to_builtins(fields)
    return {key: line(value) if isinstance(value, str) else value for key, value in values.items() if key != "labels"}
