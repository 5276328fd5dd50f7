"""Retained bundles and other rollouts on the broker, so that a rollout removes only its own bundle.

Every rollout has a retained marker on a topic beside the channels, which its last will removes.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import replace

import msgspec

from headnod.mqtt.broker import Broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.connection import Will

_PATIENCE = 2.0
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

        Args:
            broker: The broker.
            base: First part of every topic.
            model: Name of the model, shown to other rollouts at the same time.
            own: SHA-256 of the bundle of this rollout.
            largest: Largest message, in bytes.
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
        self._link.wait_connected(_PATIENCE)
        return self.refresh()

    def close(self) -> None:
        """Remove the marker and disconnect."""
        self._link.close(last=[(self._mark, b"")])

    def refresh(self) -> bool:
        """Wait for all messages that were published before; false if the marker is not echoed."""
        self._own_mark.step += 1
        self._link.publish(self._mark, msgspec.json.encode(self._own_mark), retain=True)
        return self._wait(lambda: self._echoed == self._own_mark.step)

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

    def _wait(self, there: Callable[[], bool]) -> bool:
        with self._news:
            return self._news.wait_for(there, _PATIENCE)


def _plain(text: str) -> str:
    # Markers of others can contain any characters.
    return "".join(letter for letter in text[:80] if letter.isprintable())
