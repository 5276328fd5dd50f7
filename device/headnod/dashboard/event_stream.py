"""The stream: what every browser is told, as server-sent events.

Alone because it is the one place where a slow browser meets a fast fleet:
changes are gathered and told at most four times a second, once encoded for
everybody, and a browser that does not keep up is let go; it comes back by
itself and begins anew. The form is the event stream of the HTML standard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec

from headnod.dashboard.fleet import Fleet

BROWSERS = 32
"""Browsers that are told at most."""

TICK = 0.25
"""Seconds between two looks at what changed."""

_BEHIND = 64
"""Events that may wait for one browser, 16 s at the least."""

_HEARTBEAT = 15.0
_RETRY = 2000
_BATCH = 20

Link = Callable[[], str]
"""Why the broker is not there; empty if it is."""


class Subscriber:
    """One page that is open somewhere."""

    def __init__(self, beginning: Iterator[bytes]) -> None:
        """Begin with what it must know before anything else."""
        self._beginning = beginning
        self._waiting: deque[bytes] = deque()
        self._bell = asyncio.Event()
        self.gone = asyncio.Event()
        """Set when it is told no more."""

    def tell(self, event: bytes) -> None:
        """Let it know, or let it go if it is too far behind."""
        if len(self._waiting) >= _BEHIND:
            self.gone.set()
        self._waiting.append(event)
        self._bell.set()

    def leave(self) -> None:
        """Tell it no more; it comes back by itself if its page is still open."""
        self.gone.set()
        self._bell.set()

    async def events(self) -> AsyncIterator[bytes]:
        """What it is told, with a sign of life where there is nothing to tell."""
        for event in self._beginning:
            yield event
        while not self.gone.is_set():
            if not self._waiting:
                self._bell.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._bell.wait(), _HEARTBEAT)
            if not self.gone.is_set():
                yield self._waiting.popleft() if self._waiting else b":\n\n"


class EventStream:
    """Tells every browser what changed in the fleet."""

    def __init__(self, fleet: Fleet, link: Link, *, now: Callable[[], float]) -> None:
        """Tell nobody yet."""
        self._fleet, self._link, self._now = fleet, link, now
        self._browsers: set[Subscriber] = set()
        self._reason, self._steps = link(), fleet.steps

    @contextlib.contextmanager
    def browser(self) -> Iterator[Subscriber | None]:
        """A browser that is told everything while the context lasts; None if there are too many."""
        if len(self._browsers) >= BROWSERS:
            yield None
            return
        browser = Subscriber(self._beginning())
        self._browsers.add(browser)
        try:
            yield browser
        finally:
            self._browsers.discard(browser)

    def close(self) -> None:
        """Let every browser go."""
        for browser in self._browsers:
            browser.leave()

    async def run(self) -> None:
        """Tell what changed, until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Tell what changed since the last time."""
        news = list(self._news())
        if self._fleet.steps != self._steps:
            # A page compares times with the clock that it was told at its beginning: let it begin again.
            self._steps = self._fleet.steps
            self.close()
            return
        for event in news:
            for browser in self._browsers:
                browser.tell(event)

    def _news(self) -> Iterator[bytes]:
        if (reason := self._link()) != self._reason:
            self._reason = reason
            yield _event("link", {"reason": reason})
        changed, gone = self._fleet.changes()
        for some in _in_batches(changed):
            yield _event("changes", some)
        if gone:
            yield _event("gone", gone)

    def _beginning(self) -> Iterator[bytes]:
        yield f"retry: {_RETRY}\n\n".encode()
        yield _event("hello", {"now": int(self._now()), "began": self._fleet.began, "reason": self._link()})
        for some in self._fleet.told(_BATCH):
            yield _event("listeners", some)
        yield _event("ready", {})


def _in_batches(told: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, len(told), _BATCH):
        yield told[first : first + _BATCH]


def _event(name: str, told: object) -> bytes:
    # JSON has no raw line feed, so one data line holds it.
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(told))
