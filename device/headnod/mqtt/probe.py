"""`headnod mqtt test`: each step on the way to a broker, until one cannot be taken.

Everything is tried as the listener would do it, with its rights and through its
link, and under another client id, so that a listener that runs is left alone.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import msgspec

from headnod.mqtt.broker import Broker
from headnod.mqtt.link import Link, Message
from headnod.mqtt.reach import Step, reach
from headnod.mqtt.topics import Topics

__all__ = ["Step", "probe"]

_LOOK = 0.05
"""Seconds between two looks at whether the link gave up."""

_VERB = "test"

_PERHAPS_TLS = " (does it want TLS? see mqtt.tls)"


def probe(
    broker: Broker, topics: Topics, *, rng: random.Random, now: Callable[[], datetime], patience: float = 5.0
) -> Iterator[Step]:
    """Walk to the broker and back.

    What it publishes disturbs nobody: an empty message on `estimate`, and a
    request that no listener knows.

    Args:
        broker: Where to, and who we are.
        topics: The topics of this listener.
        rng: For the link.
        now: The present, UTC.
        patience: Seconds that each answer may take.

    Returns:
        Steps, in order; the first `fault` is the last.

    Raises:
        ConfigError: A file that TLS needs cannot be used.
    """
    with closing(reach(broker, patience=patience, now=now)) as way:
        for step in way:
            yield step
            if step.verdict == "fault":
                return
    trial = _Trial(
        replace(broker, client_id=f"{broker.client_id}.{_VERB}-{secrets.token_hex(2)}"), topics, rng, patience
    )
    try:
        for attempt in (trial.login, trial.rights, trial.round_trip):
            yield (step := attempt())
            if step.verdict == "fault":
                return
    finally:
        trial.close()


class _Trial:
    """What only MQTT itself can tell."""

    def __init__(self, broker: Broker, topics: Topics, rng: random.Random, patience: float) -> None:
        self._broker, self._topics, self._patience = broker, topics, patience
        self._token = secrets.token_hex(8)
        self._connected, self._returned = threading.Event(), threading.Event()
        self._link = Link(
            broker,
            subscriptions=(topics.settings, topics.requests),
            on_connected=self._connected.set,
            on_message=self._hear,
            rng=rng,
        )

    def close(self) -> None:
        self._link.close()

    def login(self) -> Step:
        self._link.start()
        deadline = time.monotonic() + self._patience
        while not self._connected.wait(_LOOK) and self._trying() and time.monotonic() < deadline:
            pass
        if not self._connected.is_set():
            silent = f"{self._broker}: it does not answer within {self._patience:g} s (is it a broker, and is it well?)"
            reason = silent if self._trying() else self._link.reason
            hung_up = "lost" in reason or "reset" in reason
            return Step("login", "fault", reason + (_PERHAPS_TLS if hung_up and self._broker.tls is None else ""))
        who = f"as '{self._broker.username}'" if self._broker.username else "as nobody in particular (mqtt.username)"
        return Step("login", "well", f"MQTT {'5' if self._broker.modern else '3.1.1'}, {who}")

    def rights(self) -> Step:
        topic = self._topics.estimate
        refusal = self._published(topic, b"")
        if refusal is not None:
            whole = self._topics.response("").removesuffix("response/")
            return Step("rights", "fault", f"{topic} may not be written: {refusal} ({self._user} must write {whole}#)")
        if not self._broker.modern:
            return Step("rights", "warning", "MQTT 3.1.1 does not tell what a broker refuses (mqtt.protocol)")
        return Step("rights", "well", f"{topic} may be written")

    def round_trip(self) -> Step:
        topic, began = self._topics.request(_VERB), time.monotonic()
        refusal = self._published(topic, msgspec.json.encode({"transaction": self._token}))
        if refusal is not None:
            return Step("round trip", "warning", f"not tried, since {topic} may not be written: {refusal}")
        if not self._returned.wait(self._patience):
            heard = f"{self._user} must read {self._topics.settings} and {self._topics.requests}"
            return Step("round trip", "fault", f"{topic} was sent and did not come back: no command would ({heard})")
        return Step("round trip", "well", f"{topic} came back after {1e3 * (time.monotonic() - began):.0f} ms")

    @property
    def _user(self) -> str:
        return f"user '{self._broker.username}'" if self._broker.username else "whoever gives no name"

    def _trying(self) -> bool:
        return not self._link.reason or self._link.reason.endswith(": connecting")

    def _published(self, topic: str, payload: bytes) -> str | None:
        """What became of a message: None, or why the broker did not take it."""
        answers: list[str | None] = []
        settled = threading.Event()

        def tell(refusal: str | None) -> None:
            answers.append(refusal)
            settled.set()

        self._link.publish(topic, payload, acknowledged=tell)
        settled.wait(self._patience)
        return answers[0] if answers else f"no answer within {self._patience:g} s"

    def _hear(self, message: Message) -> None:
        if message.topic == self._topics.request(_VERB) and self._token.encode() in message.payload:
            self._returned.set()
