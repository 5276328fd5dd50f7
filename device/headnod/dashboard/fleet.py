"""All listeners of a broker, and server-sent events for browsers: the state of the fleet, and then its changes.

One thread may add messages while another reads. Changes are collected and sent at most four times a second, encoded
once for all browsers. A browser that does not keep up is disconnected; it reconnects by itself and starts with the
whole state. Format: the event stream of the HTML standard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, tzinfo
from itertools import islice
from typing import Any

import msgspec

from headnod.clock import ClockStepDetector, boottime, local_zone
from headnod.dashboard.listener_state import (
    EstimateFields,
    HealthFields,
    InfoFields,
    ListenerState,
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

BROWSERS, RESERVED = 32, 8
"""Limit of connected browsers, and how many of them are reserved for browsers that have logged in."""

TICK = 0.25
"""Seconds between two events with changes."""

_LARGEST_BACKLOG = 64
"""Events that may wait for one browser, at least 16 s."""

_SECOND = 10
"""Events per second with the spectrum."""

_HEARTBEAT = 15.0
_RETRY = 2000
_BATCH = 20
"""Listeners in one event."""


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

        `base` is the first part of their topics, `now` the wall clock in seconds since 1970. A day begins in `zone`,
        the current one of the machine if None.
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

    def snapshot(self) -> Iterator[list[dict[str, Any]]]:
        """All listeners, some at a time; each as it is when its batch is read."""
        with self._lock:
            nodes = iter(sorted(self._listeners))
        while some := list(islice(nodes, _BATCH)):
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


class Subscriber:
    """The events of one browser."""

    def __init__(self, beginning: Iterator[bytes]) -> None:
        """Send these events first."""
        self._beginning = beginning
        self._waiting: deque[bytes] = deque()
        self._available = asyncio.Event()
        self.gone = asyncio.Event()
        """Set when no more events follow."""

    def send(self, event: bytes) -> None:
        """Queue an event; disconnect the browser if too many wait."""
        if len(self._waiting) >= _LARGEST_BACKLOG:
            self.gone.set()
        self._waiting.append(event)
        self._available.set()

    @property
    def behind(self) -> bool:
        """Whether more events wait than are sent in a second."""
        return len(self._waiting) > _SECOND

    def disconnect(self) -> None:
        """Send no more events; an open page reconnects by itself."""
        self.gone.set()
        self._available.set()

    async def events(self) -> AsyncIterator[bytes]:
        """The events, and an empty comment after 15 s without one."""
        for event in self._beginning:
            yield event
        while not self.gone.is_set():
            if not self._waiting:
                self._available.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._available.wait(), _HEARTBEAT)
            if not self.gone.is_set():
                yield self._waiting.popleft() if self._waiting else b":\n\n"


class EventStream:
    """Sends changes of the fleet to all browsers."""

    def __init__(self, fleet: Fleet, broker_error: Callable[[], str], *, now: Callable[[], float]) -> None:
        """Start without browsers; `broker_error` is empty while the broker is connected."""
        self._fleet, self._broker_error, self._now = fleet, broker_error, now
        self._subscribers: set[Subscriber] = set()
        self._watchers: set[Subscriber] = set()
        self._reason, self._steps = broker_error(), fleet.steps
        self._controls = b""

    @contextlib.contextmanager
    def subscriber(self, *, watches: bool = False, trusted: bool = True) -> Iterator[Subscriber | None]:
        """Subscribes a browser until the context ends; None if there are too many.

        With `watches` the spectrum of the listener is sent as well. A trusted browser has logged in.
        """
        if len(self._subscribers) >= (BROWSERS if trusted else BROWSERS - RESERVED):
            yield None
            return
        subscriber = Subscriber(self._beginning())
        self._subscribers.add(subscriber)
        if watches:
            self._watchers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
            self._watchers.discard(subscriber)

    def send_live(self, topic: str, payload: bytes) -> None:
        """Send `spectrum` or `controls` of the listener at once."""
        event = b"event: %b\ndata: %b\n\n" % (topic.encode(), payload)
        if topic == "controls":
            self._controls = event
        for subscriber in self._subscribers if topic == "controls" else self._watchers:
            if topic == "controls" or not subscriber.behind:
                subscriber.send(event)

    def close(self) -> None:
        """Disconnect all browsers."""
        for subscriber in self._subscribers:
            subscriber.disconnect()

    async def run(self) -> None:
        """Send changes until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Send what changed since the last call."""
        events = list(self._changes())
        if self._fleet.steps != self._steps:
            # A page compares times with the clock of its first event, so it must start again.
            self._steps = self._fleet.steps
            self.close()
            return
        for event in events:
            for subscriber in self._subscribers:
                subscriber.send(event)

    def _changes(self) -> Iterator[bytes]:
        if (reason := self._broker_error()) != self._reason:
            self._reason = reason
            yield _event("link", {"reason": reason})
        changed, gone = self._fleet.changes()
        for first in range(0, len(changed), _BATCH):
            yield _event("changes", changed[first : first + _BATCH])
        if gone:
            yield _event("gone", gone)

    def _beginning(self) -> Iterator[bytes]:
        yield f"retry: {_RETRY}\n\n".encode()
        hello = {"now": int(self._now()), "began": self._fleet.began, "reason": self._broker_error()}
        yield _event("hello", hello)
        for listeners in self._fleet.snapshot():
            yield _event("listeners", listeners)
        if self._controls:
            yield self._controls
        yield _event("ready", {})


def _event(name: str, data: object) -> bytes:
    # JSON has no raw line feed, so that one data line is enough.
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
