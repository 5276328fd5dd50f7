"""All listeners of a broker, and what changed since browsers were last updated.

One thread may add messages while another reads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from itertools import islice
from typing import Any

from headnod.clock import ClockStepDetector, boottime, local_zone
from headnod.dashboard.listener_state import ListenerState
from headnod.dashboard.payload_validation import (
    EstimateFields,
    HealthFields,
    InfoFields,
    SongFields,
    parse,
    scores,
    tags,
)
from headnod.errors import ConfigError
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics
from headnod.retry import RateLimitedLogger

_log = logging.getLogger(__name__)

LISTENERS = 1000
"""Limit of listeners."""

_TOPICS = ("status", "state", "estimate", "song", "info", "health")
_REPLACEABLE_AFTER = 3600
_TIMELINE_EVERY = 5.0


class Fleet:
    """All listeners under one base topic."""

    def __init__(
        self,
        base: str,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = boottime,
        zone: tzinfo | None = None,
    ) -> None:
        """Start without listeners.

        Args:
            base: First part of their topics.
            now: The wall clock, in seconds since 1970.
            monotonic: A clock in seconds that is never set.
            zone: Time zone in which a day begins; the machine's current one if None.
        """
        self._base, self._now, self._monotonic, self._zone = base, now, monotonic, zone
        self._step_detector = ClockStepDetector(now, monotonic)
        self._listeners: dict[str, ListenerState] = {}
        self._changed: dict[str, None] = {}
        self._gone: set[str] = set()
        self._timelines: dict[str, float] = {}
        self._day = self._date(now())
        self._warnings = RateLimitedLogger(_log, monotonic=monotonic)
        self._lock = threading.Lock()
        self.began = int(now())
        """Time of the start, in whole seconds since 1970."""
        self.steps = 0
        """How often the wall clock was set since then; each step moves all times."""

    def __len__(self) -> int:
        return len(self._listeners)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters of the messages for `process`."""
        return tuple(f"{self._base}/+/{topic}" for topic in _TOPICS)

    def process(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Process a message; an invalid one is ignored, with one warning in five minutes.

        An empty status, which deletes the retained one, removes the listener. Other empty messages change nothing.
        """
        with self._lock:
            node, _, kind = topic.removeprefix(self._base + "/").partition("/")
            if kind not in _TOPICS:
                return
            if not payload:
                if kind == "status":
                    self._remove(node)
                return
            self._follow_clock()
            now = int(self._now())
            listener = self._listeners.get(node) or ListenerState(node)
            if not self._apply(listener, kind, payload, now, retained=retained):
                self._warnings.warn("ignored", f"{topic[:80]!a}: {len(payload)} bytes are not valid and are ignored")
            elif self._has_room(node):
                listener.updated = now
                self._listeners[node] = listener
                self._gone.discard(node)
                self._changed[node] = None

    def is_online(self, node: str) -> bool | None:
        """Whether a listener is there, as far as known; None if there is no such listener."""
        with self._lock:
            listener = self._listeners.get(node)
            return None if listener is None else listener.online is not False

    def snapshot(self, batch: int = 20) -> Iterator[list[dict[str, Any]]]:
        """All listeners, `batch` at a time; each as it is when its batch is read."""
        with self._lock:
            nodes = iter(sorted(self._listeners))
        while some := list(islice(nodes, batch)):
            with self._lock:
                states = [self._listeners[node].snapshot() for node in some if node in self._listeners]
            yield states

    def changes(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Changed parts of listeners, and removed listeners, since the last call."""
        with self._lock:
            self._follow_clock()
            self._begin_day(self._now())
            changed = []
            for node in list(self._changed):
                parts = self._due(self._listeners[node])
                if parts:
                    changed.append(self._listeners[node].snapshot(parts))
            gone, self._gone = sorted(self._gone), set()
            return changed, gone

    def _apply(self, listener: ListenerState, kind: str, payload: bytes, now: int, *, retained: bool) -> bool:
        if kind == "status":
            if payload not in {ONLINE.encode(), OFFLINE.encode()}:
                return False
            listener.status(online=payload == ONLINE.encode(), now=now, retained=retained)
            return True
        if kind in {"estimate", "state"}:
            if (found := parse(payload, EstimateFields)) is None:
                return False
            listener.estimate(found[0], scores(found[1]), tags(found[1]), now=now, retained=retained)
            return True
        return self._minor(listener, kind, payload, now)

    def _minor(self, listener: ListenerState, kind: str, payload: bytes, now: int) -> bool:
        match kind:
            case "song" if song := parse(payload, SongFields):
                # Without a right date, a song that is not replayed has just ended.
                unset = not song[0].clock_synchronised and not song[0].replayed
                if unset or self._date(song[0].end.timestamp()) == self._date(now):
                    listener.song(song[0])
            case "info" if info := parse(payload, InfoFields):
                listener.info(info[0])
            case "health" if health := parse(payload, HealthFields):
                listener.health(health[0], now=now)
            case _:
                return False
        return True

    def _has_room(self, node: str) -> bool:
        if node in self._listeners:
            return True
        try:
            Topics(self._base, node)
        except ConfigError:
            self._warnings.warn("ignored", f"{node[:80]!a} is not a valid name of a listener and is ignored")
            return False
        if len(self._listeners) < LISTENERS:
            return True
        quietest = min(self._listeners.values(), key=lambda listener: listener.updated)
        if self._now() - quietest.updated < _REPLACEABLE_AFTER:
            self._warnings.warn("ignored", f"there are {LISTENERS} listeners, and '{node}' is ignored")
            return False
        self._remove(quietest.node)
        return True

    def _remove(self, node: str) -> None:
        if self._listeners.pop(node, None) is not None:
            self._changed.pop(node, None)
            self._timelines.pop(node, None)
            self._gone.add(node)

    def _due(self, listener: ListenerState) -> set[str]:
        # Limited, because a broker that returns replays hours at once, and the timeline is the longest part.
        now, last = self._monotonic(), self._timelines.get(listener.node)
        held = {"timeline"} if last is not None and now - last < _TIMELINE_EVERY else set()
        parts = listener.changed - held
        listener.changed -= parts
        if "timeline" in parts:
            self._timelines[listener.node] = now
        if not listener.changed:
            self._changed.pop(listener.node, None)
        return parts

    def _follow_clock(self) -> None:
        """Move all times with the wall clock when that was set."""
        step = round(self._step_detector.step())
        if not step:
            return
        self.steps, self.began = self.steps + 1, self.began + step
        for node, listener in self._listeners.items():
            listener.shift(step)
            self._changed[node] = None

    def _begin_day(self, now: float) -> None:
        before, self._day = self._day, self._date(now)
        # Not if the date went back because the clock or the zone was set.
        if self._day <= before:
            return
        for node, listener in self._listeners.items():
            listener.clear_songs()
            listener.prune(int(now))
            self._changed[node] = None

    def _date(self, seconds: float) -> tuple[int, int, int]:
        day = datetime.fromtimestamp(seconds, self._zone or local_zone())
        return day.year, day.month, day.day
