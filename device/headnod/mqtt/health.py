"""How the listener fares, as its report of health says it.

Alone because it counts while estimates pass, on one thread, and is asked on others.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from headnod import system
from headnod.mqtt.delivery import Delivery
from headnod.mqtt.payloads import HealthPayload
from headnod.mqtt.queue import Counts
from headnod.pipeline.estimate import Estimate, Now, State

_CLOCK = {True: "synchronised", False: "unsynchronised", None: "unknown"}


class HealthReporter:
    """What was estimated and lost since the listener began, and its present state."""

    def __init__(self, node: str, *, now: Now, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin to count, by a wall clock and one in seconds that is never set."""
        self._node, self._now, self._monotonic = node, now, monotonic
        self._processor, self._began = system.CpuMeter(monotonic), monotonic()
        self._estimates, self._dropped = 0, 0.0
        self._state, self._message = State.STARTING, ""

    def count(self, estimate: Estimate) -> bool:
        """Another estimate was made; true if the state is another now."""
        self._estimates += 1
        self._dropped = estimate.dropped
        return self.become(estimate.state, "")

    def become(self, state: State, message: str) -> bool:
        """The listener fares so; true if it did not before."""
        was, self._state, self._message = self._state, state, message
        return state is not was

    def report(self, waiting: Counts, delivery: Delivery) -> HealthPayload:
        """How it fares just now, with what waits for the broker and what it has taken."""
        kept = system.clock_is_synchronised()
        return HealthPayload(
            node=self._node,
            ts=self._now(),
            state=self._state,
            message=self._message,
            uptime_s=round(self._monotonic() - self._began, 1),
            estimates=self._estimates,
            dropped_s=self._dropped,
            queued=waiting.queued,
            queued_on_disk=waiting.on_disk,
            discarded=waiting.discarded,
            published=delivery.published,
            refused=delivery.refused,
            reconnects=max(delivery.connections - 1, 0),
            memory_mb=round(system.memory(), 1),
            cpu_percent=round(self._processor.percent(), 1),
            temperature_c=system.temperature(),
            clock_synchronised=kept is True,
            clock=_CLOCK[kept],
        )
