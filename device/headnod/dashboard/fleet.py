"""The fleet: every listener that a broker knows of.

Alone because it is where topics become listeners: how many there may be, which
one makes room, and what changed since browsers were last told. It may be fed
by one thread and read by another.
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
    read,
    scores,
    tags,
)
from headnod.errors import ConfigError
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics

_log = logging.getLogger(__name__)

LISTENERS = 1000
"""Listeners that are remembered at most."""

_TOPICS = ("status", "state", "estimate", "song", "info", "health")
_SPARE = 3600
_RIBBON_EVERY = 5.0
_QUIET = 300.0


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
        """Know of none.

        Args:
            base: What their topics begin with.
            now: The wall clock, in seconds since 1970.
            monotonic: A clock in seconds that is never set.
            zone: Where a day begins at midnight; if None the machine's own, and a change of that is followed.
        """
        self._base, self._now, self._monotonic, self._zone = base, now, monotonic, zone
        self._stepped = ClockStepDetector(now, monotonic)
        self._listeners: dict[str, ListenerState] = {}
        self._changed: dict[str, None] = {}
        self._gone: set[str] = set()
        self._ribbons: dict[str, float] = {}
        self._day = self._date(now())
        self._complained = monotonic() - _QUIET
        self._lock = threading.Lock()
        self.began = int(now())
        """When the fleet was first listened to, in whole seconds since 1970."""
        self.steps = 0
        """How often the wall clock was set since then. Each step moves all times that were told before."""

    def __len__(self) -> int:
        return len(self._listeners)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Filters of the topics that it eats."""
        return tuple(f"{self._base}/+/{topic}" for topic in _TOPICS)

    def hear(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """Eat a message; what is none of a listener's is left alone, with one warning in five minutes.

        An empty message deletes a retained one: an empty status forgets the listener, any other changes nothing.
        """
        with self._lock:
            node, _, kind = topic.removeprefix(self._base + "/").partition("/")
            if kind not in _TOPICS:
                return
            if not payload:
                if kind == "status":
                    self._forget(node)
                return
            self._follow_clock()
            now = int(self._now())
            listener = self._listeners.get(node) or ListenerState(node)
            if not self._understood(listener, kind, payload, now, retained=retained):
                self._complain(f"{topic[:80]!a}: {len(payload)} bytes that no listener sends are left alone")
            elif self._has_room(node):
                listener.heard = now
                self._listeners[node] = listener
                self._gone.discard(node)
                self._changed[node] = None

    def told(self, batch: int = 20) -> Iterator[list[dict[str, Any]]]:
        """Everything that is known, some listeners at a time; each as it is when it is taken."""
        with self._lock:
            nodes = iter(sorted(self._listeners))
        while some := list(islice(nodes, batch)):
            with self._lock:
                told = [self._listeners[node].told() for node in some if node in self._listeners]
            yield told

    def changes(self) -> tuple[list[dict[str, Any]], list[str]]:
        """What changed since this was last asked, and which listeners were forgotten."""
        with self._lock:
            self._follow_clock()
            self._begin_day(self._now())
            told = []
            for node in list(self._changed):
                parts = self._due(self._listeners[node])
                if parts:
                    told.append(self._listeners[node].told(parts))
            gone, self._gone = sorted(self._gone), set()
            return told, gone

    def _understood(self, listener: ListenerState, kind: str, payload: bytes, now: int, *, retained: bool) -> bool:
        if kind == "status":
            if payload not in {ONLINE.encode(), OFFLINE.encode()}:
                return False
            listener.status(online=payload == ONLINE.encode(), now=now, retained=retained)
            return True
        if kind in {"estimate", "state"}:
            if (found := read(payload, EstimateFields)) is None:
                return False
            listener.estimate(found[0], scores(found[1]), tags(found[1]), now=now, retained=retained)
            return True
        return self._minor(listener, kind, payload, now)

    def _minor(self, listener: ListenerState, kind: str, payload: bytes, now: int) -> bool:
        match kind:
            case "song" if song := read(payload, SongFields):
                # One that has just ended by a clock that was never set is of today.
                unset = not song[0].clock_synchronised and not song[0].replayed
                if unset or self._date(song[0].end.timestamp()) == self._date(now):
                    listener.song(song[0])
            case "info" if info := read(payload, InfoFields):
                listener.info(info[0])
            case "health" if health := read(payload, HealthFields):
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
            self._complain(f"{node[:80]!a} is no name of a listener and is left alone")
            return False
        if len(self._listeners) < LISTENERS:
            return True
        quietest = min(self._listeners.values(), key=lambda listener: listener.heard)
        if self._now() - quietest.heard < _SPARE:
            self._complain(f"there are {LISTENERS} listeners, and '{node}' is left alone")
            return False
        self._forget(quietest.node)
        return True

    def _forget(self, node: str) -> None:
        if self._listeners.pop(node, None) is not None:
            self._changed.pop(node, None)
            self._ribbons.pop(node, None)
            self._gone.add(node)

    def _due(self, listener: ListenerState) -> set[str]:
        # A broker that returns replays hours at once, and a whole ribbon is the longest part.
        now, last = self._monotonic(), self._ribbons.get(listener.node)
        held = {"ribbon"} if last is not None and now - last < _RIBBON_EVERY else set()
        parts = listener.changed - held
        listener.changed -= parts
        if "ribbon" in parts:
            self._ribbons[listener.node] = now
        if not listener.changed:
            self._changed.pop(listener.node, None)
        return parts

    def _follow_clock(self) -> None:
        """Move every time that is remembered with the wall clock, when that is set."""
        step = round(self._stepped.step())
        if not step:
            return
        self.steps, self.began = self.steps + 1, self.began + step
        for node, listener in self._listeners.items():
            listener.move(step)
            self._changed[node] = None

    def _begin_day(self, now: float) -> None:
        before, self._day = self._day, self._date(now)
        # A day that comes back, because the clock or the zone was set, keeps its songs.
        if self._day <= before:
            return
        for node, listener in self._listeners.items():
            listener.tomorrow()
            listener.forget(int(now))
            self._changed[node] = None

    def _date(self, seconds: float) -> tuple[int, int, int]:
        day = datetime.fromtimestamp(seconds, self._zone or local_zone())
        return day.year, day.month, day.day

    def _complain(self, message: str) -> None:
        if self._monotonic() - self._complained >= _QUIET:
            self._complained = self._monotonic()
            _log.warning("%s", message)
