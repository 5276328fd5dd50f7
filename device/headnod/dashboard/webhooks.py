"""Webhooks: songs and states of the microphone by HTTP POST, to addresses of the configuration.

Each address has a queue in memory and gets its events in order, one at a time. An event that is not accepted is sent
again, later and later, for an hour. A key signs each POST, so the receiver knows that it comes from here.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from headnod.retry import Backoff, Cause, RateLimitedLogger

EXPIRY = 3600.0
"""Seconds after which an event is given up."""

WAITING = 256
"""Limit of events that wait for one address: beyond it the oldest are dropped."""

_TIMEOUT = 10.0
_ACCEPTED = range(200, 300)
_RETRIED = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses after which an event is sent again; any other is a refusal, which a repetition would not change."""

_UNREACHABLE = 0
_MICROPHONE = frozenset({"listening", "waiting_for_microphone", "deaf", "clipping"})
"""States of the listener that are states of the microphone."""

_log = logging.getLogger(__name__)


class Event(NamedTuple):
    """One POST."""

    name: str
    """`song_start`, `song_end` or `microphone`."""

    body: bytes
    """JSON."""

    made: float
    """When it was made, in seconds since 1970."""

    id: str
    """Distinguishes it from others; the same at each attempt."""


def post(address: str, body: bytes, headers: dict[str, str]) -> int:
    """Send a body by HTTP POST without following redirections; gives the HTTP status, or 0 without an answer."""
    parts = urlsplit(address)
    import http.client  # noqa: PLC0415 - with the parser of mail, for pages with webhooks only

    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException):
        return _UNREACHABLE
    finally:
        connection.close()


class WebhookSender:
    """Sends events to one address."""

    def __init__(
        self,
        address: str,
        key: str,
        *,
        rng: random.Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Start without events; where there is a key, it signs each."""
        self._address, self._key, self._sleep, self._now = address, key.encode(), sleep, now
        # Without the path, which may be a secret.
        self._name = urlsplit(address).hostname or ""
        self._events: deque[Event] = deque(maxlen=WAITING)
        self._available = asyncio.Event()
        self._backoff, self._warnings = Backoff(rng), RateLimitedLogger(_log)

    def put(self, event: Event) -> None:
        """Queue an event."""
        self._events.append(event)
        self._available.set()

    async def run(self) -> None:
        """Send events until cancelled."""
        while True:
            await self._available.wait()
            self._available.clear()
            while self._events:
                await self._deliver(self._events.popleft())

    async def _deliver(self, event: Event) -> None:
        while self._now() - event.made < EXPIRY:
            status = await asyncio.to_thread(post, self._address, event.body, self._headers(event))
            if status in _ACCEPTED:
                self._backoff.reset()
                return
            reason = f"answers {status}" if status else "does not answer"
            self._warnings.warn(reason, f"the webhook at {self._name} {reason} ({event.name})")
            if status and status not in _RETRIED:
                return
            await self._sleep(self._backoff.after(Cause.REFUSED))
        self._warnings.warn("given up", f"the webhook at {self._name} did not accept events for an hour")

    def _headers(self, event: Event) -> dict[str, str]:
        moment = str(int(self._now()))
        found = {
            "Content-Type": "application/json",
            "User-Agent": "headnod",
            "X-Headnod-Event": event.name,
            "X-Headnod-Delivery": event.id,
            "X-Headnod-Timestamp": moment,
        }
        if self._key:
            found["X-Headnod-Signature"] = f"sha256={signature(self._key, moment, event.body)}"
        return found


def signature(key: bytes, timestamp: str, body: bytes) -> str:
    """The HMAC-SHA256 of timestamp, full stop and body, in hexadecimal digits."""
    return hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhooks:
    """Makes events of what the listener sends, and queues them for every address."""

    def __init__(self, senders: Iterable[WebhookSender], *, now: Callable[[], float] = time.time) -> None:
        """Send to these addresses."""
        self._senders, self._now = tuple(senders), now
        self._state = "listening"

    def process(self, topic: str, payload: bytes) -> None:
        """Make the event of a payload, if it is one."""
        if not self._senders:
            return
        if topic in {"song", "song_start"}:
            self._put("song_end" if topic == "song" else topic, msgspec.json.decode(payload))
        elif topic == "health":
            health = msgspec.json.decode(payload, type=dict[str, Any])
            state = health.get("state")
            if state in _MICROPHONE and state != self._state:
                self._state = state
                self._put("microphone", {key: health.get(key) for key in ("node", "ts", "state", "message")})

    async def run(self) -> None:
        """Send events until cancelled."""
        async with asyncio.TaskGroup() as group:
            for sender in self._senders:
                group.create_task(sender.run())
            if not self._senders:
                await asyncio.Event().wait()

    def _put(self, name: str, content: dict[str, Any]) -> None:
        body = msgspec.json.encode({"event": name, **content})
        event = Event(name, body, self._now(), secrets.token_hex(8))
        for sender in self._senders:
            sender.put(event)
