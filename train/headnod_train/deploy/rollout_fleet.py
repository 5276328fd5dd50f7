"""Listeners and retained messages on the broker during a rollout, updated by the MQTT thread.

Every rollout has a retained marker on a topic beside the channels, which its last will removes, so that a rollout
removes only its own bundle.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from headnod.mqtt.broker import Broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.connection import Will
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
        """Follow a rollout to the listeners of a base topic, by the SHA-256 of the manifest that is sent."""
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


_TIMEOUT = 2.0
"""Longest wait for the echo of a published message, in seconds."""

_MARK = "rollout-"


class _Mark(msgspec.Struct):
    model: str = ""
    host: str = ""
    step: int = 0


class RetainedModels:
    """Watches the topics for bundles under one base; needs permission to read them."""

    def __init__(self, broker: Broker, base: str, model: str, own: str, *, largest: int) -> None:
        """Prepare the connection; `start` opens it.

        The name of the model is shown to other rollouts at the same time; `own` is the SHA-256 of the bundle of this
        rollout, `largest` the largest message in bytes.
        """
        self._channels, self._mark = f"{base}/deploy/", f"{base}/deploy/{_MARK}{secrets.token_hex(4)}"
        self._own, self._seen = own, set[str]()
        self._own_mark = _Mark(model, socket.gethostname())
        self._held: dict[str, str] = {}
        self._others: dict[str, _Mark] = {}
        self._echoed = 0
        self._news = threading.Condition()
        self._link = MqttClient(
            replace(broker, client_id=f"{broker.client_id}-watch"),
            will=Will(self._mark, b""),
            subscriptions=(f"{self._channels}+", f"{base}/+/deploy"),
            qos=1,
            on_message=lambda message: self._process(message.topic, message.payload),
            rng=random.Random(),  # noqa: S311 - it spreads attempts over time
            largest=largest,
        )

    def start(self) -> bool:
        """Connect and publish the marker; false if this user may not read it."""
        self._link.start()
        self._link.wait_connected(_TIMEOUT)
        return self.refresh()

    def close(self) -> None:
        """Remove the marker and disconnect."""
        self._link.close(last=[(self._mark, b"")])

    def refresh(self) -> bool:
        """Wait for all messages that were published before; false if the marker is not echoed."""
        self._own_mark.step += 1
        self._link.publish(self._mark, msgspec.json.encode(self._own_mark), retain=True)
        with self._news:
            return self._news.wait_for(lambda: self._echoed == self._own_mark.step, _TIMEOUT)

    def holds(self, topic: str) -> str | None:
        """SHA-256 of the retained bundle; empty if there is none, None if no message was received."""
        with self._news:
            return self._held.get(topic)

    def replaced(self, topic: str) -> bool:
        """Whether another bundle has replaced that of this rollout."""
        with self._news:
            return topic in self._seen and self._held.get(topic, "") not in {"", self._own}

    @property
    def others(self) -> list[str]:
        """Model and machine of each other rollout."""
        with self._news:
            return sorted(f"{mark.model} from {mark.host}" for mark in self._others.values())

    def _process(self, topic: str, payload: bytes) -> None:
        with self._news:
            if topic.startswith(self._channels + _MARK):
                self._note(topic, payload)
            else:
                self._held[topic] = held = hashlib.sha256(payload).hexdigest() if payload else ""
                if held == self._own:
                    self._seen.add(topic)
            self._news.notify_all()

    def _note(self, topic: str, payload: bytes) -> None:
        try:
            mark = msgspec.json.decode(payload, type=_Mark) if payload else None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if topic == self._mark:
            self._echoed = mark.step if mark is not None else 0
        elif mark is None:
            self._others.pop(topic, None)
        else:
            self._others[topic] = _Mark(_plain(mark.model), _plain(mark.host))


def _plain(text: str) -> str:
    # Markers of others can contain any characters.
    return "".join(letter for letter in text[:80] if letter.isprintable())
