"""What the broker retains for listeners, and who else is rolling out: so that a rollout takes back only its own bundle.

Every rollout under way has a retained mark on a topic of its own beside the
channels, which its last will removes.
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

_PATIENCE = 2.0
"""Seconds that the broker may take to send back what was just published."""

_MARK = "rollout-"


class _Mark(msgspec.Struct):
    model: str = ""
    host: str = ""
    step: int = 0


class RetainedModels:
    """Follows every topic for bundles under one base; needs to read what a rollout may write."""

    def __init__(self, broker: Broker, base: str, model: str, own: str, *, largest: int) -> None:
        """Prepare to follow; nothing happens before `start`.

        Args:
            broker: Where.
            base: What every topic begins with.
            model: What is rolled out, for others who do so at the same time.
            own: SHA-256 of the bundle that is rolled out.
            largest: Bytes of the largest message.
        """
        self._channels, self._mark = f"{base}/deploy/", f"{base}/deploy/{_MARK}{secrets.token_hex(4)}"
        self._own, self._seen = own, set[str]()
        self._told = _Mark(model, socket.gethostname())
        self._held: dict[str, str] = {}
        self._others: dict[str, _Mark] = {}
        self._echoed = 0
        self._news = threading.Condition()
        self._link = MqttClient(
            replace(broker, client_id=f"{broker.client_id}-watch"),
            will=(self._mark, b""),
            subscriptions=(f"{self._channels}+", f"{base}/+/deploy"),
            qos=1,
            on_message=lambda heard: self._hear(heard.topic, heard.payload),
            rng=random.Random(),  # noqa: S311 - it spreads attempts over time
            largest=largest,
        )

    def start(self) -> bool:
        """Begin to follow, and leave the mark; false if this user may not read it."""
        self._link.start()
        self._wait(lambda: self._link.connected)
        return self.refresh()

    def close(self) -> None:
        """Remove the mark and end."""
        self._link.close(last=[(self._mark, b"")])

    def refresh(self) -> bool:
        """Wait until all that the broker took before has come; false if that cannot be known."""
        self._told.step += 1
        self._link.publish(self._mark, msgspec.json.encode(self._told), retain=True)
        return self._wait(lambda: self._echoed == self._told.step)

    def holds(self, topic: str) -> str | None:
        """SHA-256 of the bundle that is retained there; empty if none is, None if nothing was ever seen there."""
        with self._news:
            return self._held.get(topic)

    def replaced(self, topic: str) -> bool:
        """The own bundle was retained there, and another one is now."""
        with self._news:
            return topic in self._seen and self._held.get(topic, "") not in {"", self._own}

    @property
    def others(self) -> list[str]:
        """Other rollouts under way: model and machine of each."""
        with self._news:
            return sorted(f"{mark.model} from {mark.host}" for mark in self._others.values())

    def _hear(self, topic: str, payload: bytes) -> None:
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
    # Whoever may write there may write anything there.
    return "".join(letter for letter in text[:80] if letter.isprintable())
