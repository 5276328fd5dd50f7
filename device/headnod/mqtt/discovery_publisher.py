"""Publishes Home Assistant discovery at every connection, after a start of Home Assistant and after a change."""

from __future__ import annotations

import functools
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headnod.mqtt.client import MqttClient
from headnod.mqtt.homeassistant import Fits
from headnod.mqtt.retained import RetainedTopics

PAUSE = 2.0
"""Seconds that Home Assistant needs to remove an entity; announced again at once, it is skipped."""

SPREAD = 30.0
"""Seconds over which listeners spread their announcements after a start of Home Assistant."""


@dataclass(frozen=True)
class Discovery:
    """What to announce to Home Assistant."""

    messages: Callable[[Fits], Mapping[str, bytes]]
    """Payloads by topic, within the limits of the broker; empty removes what was announced before."""

    retained: RetainedTopics
    """What was announced before."""

    birth: str
    """The topic of Home Assistant's birth message; empty if discovery is off."""


class DiscoveryPublisher:
    """Publishes discovery step by step."""

    def __init__(
        self,
        discovery: Discovery,
        client: MqttClient,
        *,
        on_announced: Callable[[], None],
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to publish.

        Args:
            discovery: What to announce.
            client: The connection to the broker.
            on_announced: Called once Home Assistant has had time to subscribe to the announced topics.
            rng: Spreads announcements after Home Assistant's birth message.
            monotonic: Monotonic clock, in seconds.
        """
        self._discovery, self._client, self._on_announced = discovery, client, on_announced
        self._rng, self._monotonic = rng, monotonic
        self._due = self._subscribed = math.inf
        self._steps: list[dict[str, bytes]] = []
        self._published: dict[str, bytes] = {}
        self._unacknowledged = self._plans = 0

    def publish_soon(self) -> None:
        """Publish at the next `run`."""
        self._due = self._monotonic()
        self._steps = []

    def publish_if_changed(self) -> None:
        """Publish at the next `run` if the messages have changed."""
        if self._messages() != self._published:
            self.publish_soon()

    def publish_after_birth(self) -> None:
        """Publish within `SPREAD` seconds: Home Assistant has started."""
        if self._due == math.inf:
            self._due = self._monotonic() + self._rng.uniform(0.0, SPREAD)

    def run(self) -> float:
        """Publish what is due; returns the seconds until more is, infinite if nothing is."""
        if not self._client.connected:
            return math.inf
        now = self._monotonic()
        if self._subscribed <= now:
            self._subscribed = math.inf
            self._on_announced()
        if self._due <= now:
            self._publish_step(now)
        return min(self._due, self._subscribed) - now

    def _messages(self) -> dict[str, bytes]:
        return dict(self._discovery.messages(self._client.limits.fits))

    def _publish_step(self, now: float) -> None:
        if not self._steps:
            self._published = self._messages()
            self._steps = self._discovery.retained.plan(self._published)
            self._unacknowledged = sum(len(step) for step in self._steps)
            self._plans += 1
        step, *self._steps = self._steps or [{}]
        self._due = now + PAUSE if self._steps else math.inf
        self._subscribed = now + PAUSE if self._published and not self._steps else math.inf
        for topic, payload in step.items():
            acknowledged = functools.partial(self._acknowledged, self._plans)
            self._client.publish(topic, payload, retain=True, acknowledged=acknowledged)

    def _acknowledged(self, plan: int, refusal: str | None) -> None:
        if refusal is None and plan == self._plans:
            self._unacknowledged -= 1
            if not self._unacknowledged and not self._steps:
                self._discovery.retained.complete(self._published)
