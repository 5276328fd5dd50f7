"""A house full of listeners, as the dashboard knows it, with a clock that obeys."""

from datetime import UTC, datetime

from headnod.dashboard.fleet import Fleet
from support.browser import told

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


class House:
    """A fleet with a clock that obeys, and what its browsers would know."""

    def __init__(self):
        self.now, self.set_by = NOON, 0.0
        self.fleet = Fleet("headnod", now=lambda: self.now + self.set_by, monotonic=lambda: self.now, zone=UTC)

    def say(self, topic, payload, *, node="kitchen", retained=False):
        self.fleet.process(
            f"headnod/{node}/{topic}", payload if isinstance(payload, bytes) else payload.encode(), retained=retained
        )

    def hears(self, genre, *, node="kitchen", seconds=3.0, **changes):
        """Time passes, and then a listener tells what it heard."""
        self.now += seconds
        self.say("estimate", told(genre, node=node, at=changes.pop("at", self.now), **changes), node=node)

    @property
    def all(self):
        return {one["node"]: one for some in self.fleet.snapshot() for one in some}

    @property
    def kitchen(self):
        return self.all["kitchen"]

    def genre(self, number, node="kitchen"):
        return self.all[node]["labels"]["names"][number][0]
