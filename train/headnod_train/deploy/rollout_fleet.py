"""Every listener as a rollout sees it: what it takes, whether it is there, how far it has come.

Alone because it is fed by the link's thread and read by the one that waits.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from headnod.mqtt.topics import ONLINE
from headnod.updates.state import Stage

GOOD = (Stage.KEPT, Stage.OFFERED)
"""What a listener may say in the end."""

_TOPICS = ("status", "info", "model")


class _Info(msgspec.Struct):
    model: str = ""
    channel: str = "stable"
    updates: str = "none"


class _Model(msgspec.Struct):
    stage: str = ""
    manifest_sha256: str = ""
    message: str = ""


@dataclass
class FleetListener:
    """A listener."""

    node: str
    """What it is called."""

    online: bool = False
    """It is connected."""

    channel: str = ""
    """Whose models it takes; empty if it never said."""

    updates: str = "none"
    """What it does with them; `none` takes none."""

    had: str = ""
    """The model that it has."""

    stage: str = ""
    """How far it has come with the model of this rollout; empty if it has not heard of it."""

    message: str = ""
    """What it says of that."""

    @property
    def ended(self) -> bool:
        """It has made up its mind."""
        return self.stage in {*GOOD, Stage.REFUSED, Stage.ROLLED_BACK}

    @property
    def well(self) -> bool:
        """It took the model."""
        return self.stage in GOOD


class RolloutFleet:
    """All listeners under one base topic."""

    def __init__(self, base: str, digest: str) -> None:
        """Watch a rollout.

        Args:
            base: What their topics begin with.
            digest: SHA-256 of the manifest that is sent.
        """
        self._base, self._digest = base, digest
        self._members: dict[str, FleetListener] = {}
        self._news = threading.Condition()
        self.count = 0
        """Messages that were heard."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Filters of the topics that it eats."""
        return tuple(f"{self._base}/+/{topic}" for topic in _TOPICS)

    @property
    def members(self) -> list[FleetListener]:
        """Everybody, by name."""
        with self._news:
            return [self._members[node] for node in sorted(self._members)]

    def member(self, node: str) -> FleetListener:
        """One of them, also if it was never heard of."""
        with self._news:
            return self._members.setdefault(node, FleetListener(node))

    def update(self, topic: str, payload: bytes) -> None:
        """Eat a message; what no listener says is left alone."""
        node, _, kind = topic.removeprefix(f"{self._base}/").partition("/")
        if kind not in _TOPICS:
            return
        with self._news:
            member = self._members.setdefault(node, FleetListener(node))
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                self._understand(member, kind, payload)
            self.count += 1
            self._news.notify_all()

    def wait(self, there: Callable[[], bool], seconds: float) -> bool:
        """Wait until it is so; false if it was not in time."""
        with self._news:
            return self._news.wait_for(there, seconds)

    def wait_for_news(self, seconds: float) -> None:
        """Wait until somebody says something, so long at most."""
        seen = self.count
        self.wait(lambda: self.count != seen, seconds)

    def _understand(self, member: FleetListener, kind: str, payload: bytes) -> None:
        if kind == "status":
            member.online = payload == ONLINE.encode()
        elif kind == "info" and payload:
            info = msgspec.json.decode(payload, type=_Info)
            member.had, member.channel, member.updates = info.model, info.channel, info.updates
        elif kind == "model" and payload:
            told = msgspec.json.decode(payload, type=_Model)
            if told.manifest_sha256 == self._digest:
                member.stage, member.message = told.stage, told.message
