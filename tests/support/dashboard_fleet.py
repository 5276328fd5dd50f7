"""Listeners as the dashboard receives them, with a clock that tests set."""

from datetime import UTC, datetime

from headnod.dashboard.fleet import Fleet
from support.browser import estimate_json

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


class FleetWithClock:
    """A fleet with a clock that tests set, and what its browsers receive."""

    def __init__(self):
        self.now, self.set_by = NOON, 0.0
        self.fleet = Fleet("headnod", now=lambda: self.now + self.set_by, monotonic=lambda: self.now, zone=UTC)

    def publish(self, topic, payload, *, node="kitchen", retained=False):
        self.fleet.process(
            f"headnod/{node}/{topic}", payload if isinstance(payload, bytes) else payload.encode(), retained=retained
        )

    def publish_estimate(self, genre, *, node="kitchen", seconds=3.0, **changes):
        """Let time pass, and publish an estimate of a listener."""
        self.now += seconds
        self.publish("estimate", estimate_json(genre, node=node, at=changes.pop("at", self.now), **changes), node=node)

    @property
    def all(self):
        return {one["node"]: one for some in self.fleet.snapshot() for one in some}

    @property
    def kitchen(self):
        return self.all["kitchen"]

    def genre(self, number, node="kitchen"):
        return self.all[node]["labels"]["names"][number][0]
