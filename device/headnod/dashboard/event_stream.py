"""Server-sent events for browsers: the state of the fleet, and then its changes.

Changes are collected and sent at most four times a second, encoded once for all
browsers. A browser that does not keep up is disconnected; it reconnects by itself and
starts with the whole state. Format: the event stream of the HTML standard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

import msgspec

from headnod.dashboard.fleet import Fleet

BROWSERS, RESERVED = 32, 8
"""Limit of connected browsers, and how many of them are reserved for those who have logged in."""

TICK = 0.25
"""Seconds between two events with changes."""

_LARGEST_BACKLOG = 64
"""Events that may wait for one browser, at least 16 s."""

_SECOND = 10
"""Events per second with the spectrum."""

_HEARTBEAT = 15.0
_RETRY = 2000
_BATCH = 20


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
        """The events, with a comment every 15 s that there is none."""
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
        """Start without browsers.

        Args:
            fleet: All listeners.
            broker_error: Why the broker is not connected; empty if it is.
            now: The wall clock, in seconds since 1970.
        """
        self._fleet, self._broker_error, self._now = fleet, broker_error, now
        self._subscribers: set[Subscriber] = set()
        self._watchers: set[Subscriber] = set()
        self._reason, self._steps = broker_error(), fleet.steps
        self._controls = b""

    @contextlib.contextmanager
    def subscriber(self, *, watches: bool = False, trusted: bool = True) -> Iterator[Subscriber | None]:
        """Subscribes a browser until the context ends; None if there are too many.

        Args:
            watches: Send the spectrum of the listener as well.
            trusted: The browser has logged in.
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
        """Send `spectrum` or `controls` of the listener at once.

        Args:
            topic: Name of the event.
            payload: JSON.
        """
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
        for listeners in self._fleet.snapshot(_BATCH):
            yield _event("listeners", listeners)
        if self._controls:
            yield self._controls
        yield _event("ready", {})


def _event(name: str, data: object) -> bytes:
    # JSON has no raw line feed, so that one data line is enough.
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))
