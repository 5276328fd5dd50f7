"""State of every listener during a rollout, updated by the MQTT thread and read by the waiting one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from headnod.mqtt.topics import ONLINE
from headnod.updates.state import Stage

GOOD = (Stage.KEPT, Stage.OFFERED)
"""Final stages of a successful installation."""

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
    """State of one listener."""

    node: str
    online: bool = False
    channel: str = ""
    """Update channel; empty if unknown."""

    updates: str = "none"
    """Update policy; `none` refuses models."""

    had: str = ""
    """Its model before the rollout."""

    stage: str = ""
    """Stage of the installation of this rollout's model; empty before the first report."""

    message: str = ""

    @property
    def ended(self) -> bool:
        """Whether the installation ended."""
        return self.stage in {*GOOD, Stage.REFUSED, Stage.ROLLED_BACK}

    @property
    def well(self) -> bool:
        """Whether it succeeded."""
        return self.stage in GOOD


class RolloutFleet:
    """All listeners under one base topic."""

    def __init__(self, base: str, digest: str) -> None:
        """Follow a rollout.

        Args:
            base: Base topic of the listeners.
            digest: SHA-256 of the manifest that is sent.
        """
        self._base, self._digest = base, digest
        self._members: dict[str, FleetListener] = {}
        self._news = threading.Condition()
        self.count = 0
        """Number of messages received."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters to subscribe to."""
        return tuple(f"{self._base}/+/{topic}" for topic in _TOPICS)

    @property
    def members(self) -> list[FleetListener]:
        """All listeners, by name."""
        with self._news:
            return [self._members[node] for node in sorted(self._members)]

    def member(self, node: str) -> FleetListener:
        """A listener by name, known or not."""
        with self._news:
            return self._members.setdefault(node, FleetListener(node))

    def update(self, topic: str, payload: bytes) -> None:
        """Process a message; malformed payloads are ignored."""
        node, _, kind = topic.removeprefix(f"{self._base}/").partition("/")
        if kind not in _TOPICS:
            return
        with self._news:
            member = self._members.setdefault(node, FleetListener(node))
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                self._apply(member, kind, payload)
            self.count += 1
            self._news.notify_all()

    def wait(self, there: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition; False after the timeout."""
        with self._news:
            return self._news.wait_for(there, seconds)

    def wait_for_news(self, seconds: float) -> None:
        """Wait for the next message."""
        seen = self.count
        self.wait(lambda: self.count != seen, seconds)

    def _apply(self, member: FleetListener, kind: str, payload: bytes) -> None:
        if kind == "status":
            member.online = payload == ONLINE.encode()
        elif kind == "info" and payload:
            info = msgspec.json.decode(payload, type=_Info)
            member.had, member.channel, member.updates = info.model, info.channel, info.updates
        elif kind == "model" and payload:
            report = msgspec.json.decode(payload, type=_Model)
            if report.manifest_sha256 == self._digest:
                member.stage, member.message = report.stage, report.message
