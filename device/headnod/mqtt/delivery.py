"""From the outbox to the broker: so many at once, so fast, and what to do about a refusal.

Alone because it is the one place that knows how fast a backlog may go out, and that
a message which the broker refused was not delivered.
"""

from __future__ import annotations

import functools
import math
import random
import time
from collections.abc import Callable

from headnod.mqtt.client import MqttClient
from headnod.mqtt.messages import LOST, TOO_LARGE
from headnod.mqtt.queue import MessageQueue
from headnod.mqtt.queue_file import Item
from headnod.retry import Backoff, Cause

FLYING = 20
"""Messages that may wait for an acknowledgement at once: mosquitto's own bound."""

RATE = 50.0
"""Messages a second, of a backlog."""

EXPIRY = 86_400
"""Seconds that a broker keeps a message for a subscriber who is away."""


class _Hold:
    """A topic that the broker refused: the oldest message of it is tried again now and then."""

    def __init__(self, rng: random.Random) -> None:
        self.until, self._back_off = 0.0, Backoff(rng)

    def refused(self, now: float) -> None:
        if self.until == math.inf or self.until <= now:
            self.until = now + self._back_off.after(Cause.REFUSED)


class Delivery:
    """Gives the link what the outbox has, in order, and keeps it until the broker has it."""

    def __init__(
        self,
        outbox: MessageQueue,
        link: MqttClient,
        *,
        wake: Callable[[], None],
        rng: random.Random,
        rate: float = RATE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Deliver from this outbox over this link.

        Args:
            outbox: What waits.
            link: Where it goes.
            wake: Is called, on any thread, when `run` has more to do.
            rng: Spreads attempts after a refusal.
            rate: Messages a second, of a backlog.
            monotonic: A clock in seconds that is never set.
        """
        self._outbox, self._link, self._wake, self._rng = outbox, link, wake, rng
        self._rate, self._monotonic = rate, monotonic
        self._holds: dict[str, _Hold] = {}
        self._tokens, self._counted = float(FLYING), monotonic()
        self.published, self.refused, self.connections = 0, 0, 0

    @property
    def connection(self) -> int:
        """Which connection there is just now, counted from 1; 0 without one."""
        return self.connections if self._link.connected else 0

    def connected(self) -> None:
        """There is a new connection, and perhaps a broker that learned better."""
        self.connections += 1
        for hold in tuple(self._holds.values()):
            hold.until = 0.0

    def run(self, replay: Callable[[bytes], bytes]) -> float | None:
        """Send what may be sent.

        Args:
            replay: Marks a payload as one that had to wait.

        Returns:
            Seconds until more may be sent; None if only an acknowledgement or a
            new message can change that.
        """
        most = min(FLYING, self._link.limits.receive_maximum)
        while (connection := self.connection) and self._outbox.flying < most:
            now = self._monotonic()
            self._tokens = min(self._tokens + (now - self._counted) * self._rate, FLYING)
            self._counted = now
            if self._tokens < 1.0:
                return (1.0 - self._tokens) / self._rate
            holds = dict(self._holds)
            item = self._outbox.take(held=[topic for topic, hold in holds.items() if hold.until > now])
            if item is None:
                soonest = min((hold.until for hold in holds.values()), default=math.inf)
                return soonest - now if now < soonest < math.inf else None
            if item.topic in holds:
                holds[item.topic].until = math.inf
            self._tokens -= 1.0
            payload = item.payload if item.connection == connection else replay(item.payload)
            acknowledged = functools.partial(self._acknowledged, item)
            self._link.publish(item.topic, payload, expiry=EXPIRY, acknowledged=acknowledged)
        return None

    def _acknowledged(self, item: Item, refusal: str | None) -> None:
        if refusal is not None and refusal.startswith(TOO_LARGE):
            # It never fits, and what comes after it may.
            self.refused += 1
            self._outbox.discard(item.number)
        else:
            self._outbox.settle(item.number, delivered=refusal is None)
        if refusal is None:
            self.published += 1
            self._holds.pop(item.topic, None)
        elif not refusal.startswith((LOST, TOO_LARGE)):
            self.refused += 1
            self._holds.setdefault(item.topic, _Hold(self._rng)).refused(self._monotonic())
        if self._outbox.counts.queued > self._outbox.flying:
            self._wake()
