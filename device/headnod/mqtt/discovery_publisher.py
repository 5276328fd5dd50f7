"""When Home Assistant is told what there is: at every connection, after its own start, after a change.

Alone because it is a matter of seconds: steps with a pause between them, a random
delay after Home Assistant's birth, so that a house full of listeners does not talk
at once, and a moment after the last word, when it has subscribed to what it was
told of.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headnod.mqtt.client import MqttClient
from headnod.mqtt.retained_topics import PAUSE, RetainedTopics

Takes = Callable[[str, bytes], bool]
"""Whether the broker takes a retained message of this topic and payload."""

SPREAD = 30.0
"""Seconds within which a listener speaks after Home Assistant's birth."""


@dataclass(frozen=True)
class Discovery:
    """How Home Assistant is told."""

    wanted: Callable[[Takes], Mapping[str, bytes]]
    """Payloads by topic of all that it shall know, within what the broker takes."""

    ledger: RetainedTopics
    """What it was told before."""

    birth: str
    """Where it says that it has started; empty if nobody listens to that."""


class DiscoveryPublisher:
    """Publishes discovery, and remembers in the ledger what it has published."""

    def __init__(
        self,
        wanted: Callable[[], Mapping[str, bytes]],
        ledger: RetainedTopics,
        link: MqttClient,
        *,
        introduced: Callable[[], None],
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Announce over a link.

        Args:
            wanted: Payloads by topic of all that Home Assistant shall know; where
                there are none, what it was told before is taken back.
            ledger: What it was told before.
            link: The way to it.
            introduced: Is called when Home Assistant listens to what it was told
                of, and knows nothing yet of what is not retained.
            rng: Spreads announcements after a birth.
            monotonic: A clock in seconds that is never set.
        """
        self._wanted, self._ledger, self._link = wanted, ledger, link
        self._introduced, self._rng, self._monotonic = introduced, rng, monotonic
        self._due: float | None = None
        self._subscribed: float | None = None
        self._steps: list[dict[str, bytes]] = []
        self._told: dict[str, bytes] = {}
        self._missing = self._plans = 0

    def soon(self) -> None:
        """Announce at the next turn."""
        self._due = self._monotonic()
        self._steps = []

    def if_changed(self) -> None:
        """Announce at the next turn if what Home Assistant shall know is no longer what it was told."""
        if self._wanted() != self._told:
            self.soon()

    def after_birth(self) -> None:
        """Home Assistant has just started."""
        if self._due is None:
            self._due = self._monotonic() + self._rng.uniform(0.0, SPREAD)

    def run(self) -> float | None:
        """Publish what is due; gives the seconds until more is, or None."""
        if not self._link.connected:
            return None
        now = self._monotonic()
        if self._subscribed is not None and self._subscribed <= now:
            self._subscribed = None
            self._introduced()
        if self._due is not None and self._due <= now:
            self._take_step(now)
        dates = [date - now for date in (self._due, self._subscribed) if date is not None]
        return min(dates, default=None)

    def _take_step(self, now: float) -> None:
        if not self._steps:
            wanted = dict(self._wanted())
            self._steps, self._told = self._ledger.plan(wanted), wanted
            self._missing = sum(len(step) for step in self._steps)
            self._plans += 1
        step, *self._steps = self._steps or [{}]
        self._due = now + PAUSE if self._steps else None
        self._subscribed = now + PAUSE if self._told and not self._steps else None
        for topic, payload in step.items():
            self._link.publish(
                topic, payload, retain=True, acknowledged=functools.partial(self._acknowledged, self._plans)
            )

    def _acknowledged(self, plan: int, refusal: str | None) -> None:
        if refusal is None and plan == self._plans:
            self._missing -= 1
            if not self._missing and not self._steps:
                self._ledger.settle(self._told)
