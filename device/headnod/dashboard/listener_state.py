"""The state of one listener: latest estimate, timeline, songs of today, health and info.

Payloads from the broker are validated here only: sizes, depths, types, ranges and characters; unknown fields are
ignored, missing ones have defaults. Estimates arrive late, twice and out of order when a broker returns. The state is
bounded for any input, and is sent to browsers part by part, so that only changed parts are sent.
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from headnod.escaping import LONGEST, SILENCE, UNKNOWN, label_fault
from headnod.mqtt.topics import SCORE, score_keys
from headnod.outputs import colours, hexadecimal
from headnod.pipeline.estimate import TAGS, Seconds, Share

LARGEST = 16_384
"""Bytes of the largest payload that is parsed."""

LABELS = 64
"""Limit of the labels of one listener."""

_LONGEST_LINE = 200

_KEY = re.compile(rf"{SCORE}[a-z0-9_]{{1,80}}")
"""Keys of scores: see `headnod.mqtt.topics.score_keys`."""

# Controls, unassigned code points and characters that change the direction of text; marks and joiners are kept.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

Count = Annotated[int, Meta(ge=0, le=10**12)]
Fields = TypeVar("Fields", bound=msgspec.Struct)

HOURS = 6
"""Hours that a timeline covers."""

RUNS = 512
"""Limit of runs: beyond it the shortest is merged into the one before."""

SPAN = HOURS * 3600
"""`HOURS` in seconds."""

PARTS = ("status", "labels", "now", "timeline", "songs", "health", "info")
"""Parts of the state, which are sent separately."""

_UNKNOWN = 1
_SLACK = 10
_SONG_IDS = 64


class EstimateFields(msgspec.Struct, frozen=True):
    """The fields of an estimate that are used."""

    time_unix: Seconds
    genre: str
    confidence: Share
    state: str = ""
    level_dbfs: Annotated[float, Meta(ge=-400.0, le=100.0)] = -120.0
    model: str = ""
    held_by: str = ""
    replayed: bool = False


class SongFields(msgspec.Struct, frozen=True):
    """The fields of a song that are used."""

    id: str
    end: Annotated[datetime, Meta(tz=True)]
    duration_s: Seconds
    genre: str
    clock_synchronised: bool = True
    replayed: bool = False


class InfoFields(msgspec.Struct, frozen=True):
    """The fields of `info` that are used."""

    labels: tuple[str, ...] = ()
    every_s: Annotated[float, Meta(gt=0.0, le=3600.0)] = 3.0
    version: str = ""
    board: str = ""
    microphone: str = ""
    model: str = ""
    certainty: Share = 0.0
    paused: bool = False
    history: bool | None = None


class HealthFields(msgspec.Struct, frozen=True):
    """The fields of `health` that are used."""

    state: str = ""
    message: str = ""
    uptime_s: Seconds = 0.0
    dropped_s: Seconds = 0.0
    queued: Count = 0
    discarded: Count = 0
    memory_mb: Annotated[float, Meta(ge=0.0, le=1e7)] = 0.0
    cpu_percent: Annotated[float, Meta(ge=0.0, le=1e5)] = 0.0
    temperature_c: Annotated[float, Meta(ge=-273.0, le=1000.0)] | None = None
    clock_synchronised: bool = True
    clock: str = ""


def parse(payload: bytes, kind: type[Fields]) -> tuple[Fields, dict[str, Any]] | None:
    """A payload as a struct and as all its fields; None if it is invalid."""
    if len(payload) > LARGEST:
        return None
    try:
        fields = msgspec.json.decode(payload, type=dict[str, Any])
        return msgspec.convert(fields, kind), fields
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
        return None


def scores(fields: dict[str, Any]) -> dict[str, float]:
    """The first `LABELS` scores of a payload, by key."""
    found: dict[str, float] = {}
    for key, value in fields.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isfinite(value) and 0 <= value <= 1 and _KEY.fullmatch(key):
            found[key] = float(value)
        if len(found) == LABELS:
            break
    return found


def tags(fields: dict[str, Any]) -> list[str]:
    """Names of the first `TAGS` tags of a payload, without invisible characters."""
    found = fields.get("tags")
    names = [_visible(text, LONGEST) for text in found] if isinstance(found, dict) and len(found) <= LABELS else []
    return [each for each in names if each][:TAGS]


def visible_name(text: str) -> str:
    """A valid label unchanged; of any other text the visible characters."""
    return text if label_fault(text) is None else _visible(text, LONGEST) or "?"


def visible_line(text: str) -> str:
    """The visible characters of a text, on one line."""
    return _visible(text, _LONGEST_LINE)


def _visible(text: str, longest: int) -> str:
    visible = "".join(letter for letter in text[: 4 * longest] if unicodedata.category(letter) not in _INVISIBLE)
    return " ".join(visible.split())[:longest]


class Timeline:
    """Runs of one genre in the order of time, without overlap.

    Times are whole seconds since 1970, genres are numbers of the caller. A run takes 17 bytes.
    """

    def __init__(self) -> None:
        """A timeline without runs."""
        self._starts, self._ends, self._genres = array("q"), array("q"), array("B")

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def since(self) -> int | None:
        """Beginning of the latest run; None without runs."""
        return self._starts[-1] if self._starts else None

    def add(self, start: int, end: int, genre: int, *, slack: int = 0) -> bool:
        """Add a genre from start to end, where there is no run yet.

        Args:
            start: First second.
            end: Second after the last.
            genre: A number in 0-255.
            slack: Largest gap in seconds within a run.

        Returns:
            Whether anything but the latest run changed.
        """
        place = bisect_right(self._starts, start)
        if place:
            start = max(start, self._ends[place - 1])
        if place < len(self):
            end = min(end, self._starts[place])
        if end <= start:
            return False
        latest = place == len(self)
        if place and self._genres[place - 1] == genre and start - self._ends[place - 1] <= slack:
            self._ends[place - 1] = end
            place -= 1
        else:
            self._starts.insert(place, start)
            self._ends.insert(place, end)
            self._genres.insert(place, genre)
        self._join(place, slack)
        full = len(self) > RUNS
        if full:
            self._merge_shortest()
        return full or not latest

    def prune(self, now: int) -> None:
        """Remove what is older than `HOURS`, and what a clock that was set back left in the future."""
        old = bisect_right(self._ends, now - SPAN)
        self._cut(0, old)
        self._cut(bisect_right(self._starts, now + 60), len(self))

    def shift(self, step: int) -> None:
        """Move every run by a number of seconds."""
        for column in (self._starts, self._ends):
            for place, moment in enumerate(column):
                column[place] = moment + step

    def runs(self) -> list[int]:
        """Every run as in `relative`."""
        return relative(zip(self._starts, self._ends, self._genres, strict=True))

    def _join(self, place: int, slack: int) -> None:
        after = place + 1
        if after >= len(self) or self._genres[after] != self._genres[place]:
            return
        if self._starts[after] - self._ends[place] <= slack:
            self._ends[place] = self._ends[after]
            self._cut(after, after + 1)

    def _merge_shortest(self) -> None:
        # Not the first, which has none before it, nor the latest, which may still grow.
        inner = range(1, len(self) - 1)
        shortest = min(inner, key=lambda place: self._ends[place] - self._starts[place])
        if self._starts[shortest] == self._ends[shortest - 1]:
            self._ends[shortest - 1] = self._ends[shortest]
        self._cut(shortest, shortest + 1)
        self._join(shortest - 1, 0)

    def _cut(self, first: int, last: int) -> None:
        for column in (self._starts, self._ends, self._genres):
            del column[first:last]


def relative(runs: Iterable[tuple[int, int, int]]) -> list[int]:
    """Every run as three numbers: seconds since the end of the one before, its length, its genre.

    The first number of all is a time.
    """
    numbers, before = [], 0
    for start, end, genre in runs:
        numbers += [start - before, end - start, genre]
        before = end
    return numbers


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
        # The page draws the end of the timeline from the current estimate alone, but many replayed ones come at once.
        if whole or late:
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
                chosen = colours(map(visible_name, self._info.labels), self._labels)
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
            "state": visible_name(fields.state),
            "held_by": visible_name(fields.held_by),
            "tags": list(tags),
            "time": when,
            "since": self._timeline.since if self._timeline.since is not None else when,
        }
        self.changed.add("now")

    def _label(self, text: str) -> int:
        label = visible_name(text)
        if label not in self._labels:
            if len(self._labels) >= LABELS + 2:
                return _UNKNOWN
            self._labels.append(label)
            self.changed.add("labels")
        return self._labels.index(label)


def _visible_fields(fields: msgspec.Struct) -> dict[str, Any]:
    values = msgspec.to_builtins(fields)
    return {
        key: visible_line(value) if isinstance(value, str) else value
        for key, value in values.items()
        if key != "labels"
    }
