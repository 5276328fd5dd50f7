"""`headnod mqtt test`: each step on the way to a broker, until one cannot be taken.

Everything is tried as the listener would do it, with its rights and through its
link, and under another client id, so that a listener that runs is left alone.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from typing import Literal

import msgspec

from headnod.mqtt.broker import Broker, speaks_older
from headnod.mqtt.broker_limits import LOST, TOO_LARGE
from headnod.mqtt.client import ConnectionState, Message, MqttClient
from headnod.mqtt.commands import command_topics
from headnod.mqtt.homeassistant import Fits
from headnod.mqtt.network_check import Step, reach
from headnod.mqtt.reason_codes import OLDER
from headnod.mqtt.topics import Topics

__all__ = ["Step", "probe"]

_LOOK = 0.05
"""Seconds between two looks at whether the link gave up."""

_VERB = "test"

_LARGEST = 1 << 16
"""Bytes of the largest packet that the broker may send us: discovery is among them."""

_PERHAPS_TLS = " (does it want TLS? see mqtt.tls)"


def probe(
    broker: Broker,
    topics: Topics,
    *,
    written: Callable[[Fits], Mapping[str, bytes]] | None = None,
    rng: random.Random,
    now: Callable[[], datetime],
    patience: float = 5.0,
) -> Iterator[Step]:
    """Walk to the broker and back.

    What it publishes disturbs nobody. Each topic of the listener gets an empty message
    that is not retained, `status` the one that is retained there. Discovery gets the
    message that is retained there, or else the one that the listener would publish, not
    retained. A message of the greatest size goes to `response/test`, and a request that
    no listener knows to `request/test`.

    Args:
        broker: Where to, and who we are.
        topics: The topics of this listener.
        written: A payload of the usual size for every topic that the listener
            publishes, discovery as it is published, within what the broker takes.
        rng: For the link.
        now: The present, UTC.
        patience: Seconds that each answer may take.

    Returns:
        Steps, in order; nothing follows the step of a `fault`.

    Raises:
        ConfigError: A file that TLS needs cannot be used.
    """
    with closing(reach(broker, patience=patience, now=now)) as way:
        for step in way:
            yield step
            if step.verdict == "fault":
                return
    ours = replace(broker, client_id=f"{broker.client_id}.{_VERB}-{secrets.token_hex(2)}")
    trial = _Trial(ours, topics, written, rng, patience)
    try:
        for attempt in (trial.login, trial.limits, trial.rights, trial.sizes, trial.round_trip):
            steps = attempt()
            yield from steps
            if any(step.verdict == "fault" for step in steps):
                return
    finally:
        trial.close()


class _Trial:
    """What only MQTT itself can tell."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        written: Callable[[Fits], Mapping[str, bytes]] | None,
        rng: random.Random,
        patience: float,
    ) -> None:
        self._broker, self._topics, self._patience = broker, topics, patience
        self._written = written or (lambda _takes: {topics.estimate: b""})
        self._token = secrets.token_hex(8)
        self._connected, self._returned = threading.Event(), threading.Event()
        self._retained: dict[str, bytes] = {}
        discovered = [topic for fits in (_anything, _nothing) for topic in self._written(fits) if self._foreign(topic)]
        self._link = MqttClient(
            broker,
            subscriptions=(topics.settings, topics.requests, topics.status, *discovered),
            plain=(*command_topics(topics), topics.request(_VERB), topics.status, *discovered),
            on_connected=self._connected.set,
            on_message=self._hear,
            rng=rng,
            largest=_LARGEST,
        )

    def close(self) -> None:
        self._link.close()

    def login(self) -> list[Step]:
        self._link.start()
        deadline = time.monotonic() + self._patience
        while not self._connected.wait(_LOOK) and self._trying() and time.monotonic() < deadline:
            pass
        if not self._connected.is_set():
            return [Step("login", "fault", self._unanswered())]
        who = (
            f"as '{self._broker.username}'" if self._broker.username else "without a user name (mqtt.username is empty)"
        )
        return [Step("login", "well", f"MQTT {'5' if self._broker.modern else '3.1.1'}, {who}")]

    def limits(self) -> list[Step]:
        effects = self._link.limits.effects
        return [Step("limits", "warning", "; ".join(effects))] if effects else []

    def rights(self) -> list[Step]:
        # What is retained comes before this: then it is known what may be published again.
        self._round_trip_ended = self._round_trip()
        written = self._written(self._link.limits.fits)
        refused: dict[tuple[bool, str], list[str]] = {}
        for topic, payload in sorted(written.items(), key=lambda item: (self._foreign(item[0]), item[0])):
            if self._foreign(topic):
                known = self._retained.get(topic)
                refusal = self._published(topic, payload if known is None else known, retain=known is not None)
            else:
                # An empty status would make a dashboard forget the listener.
                refusal = self._published(topic, self._retained.get(topic, b""))
            if refusal is not None:
                refused.setdefault((self._foreign(topic), refusal), []).append(topic)
        steps = [
            step for (foreign, refusal), names in refused.items() for step in self._refused(foreign, refusal, names)
        ]
        if not self._broker.modern:
            steps.append(Step("rights", "warning", "MQTT 3.1.1 does not report what a broker refuses (mqtt.protocol)"))
        elif self._link.limits.maximum_qos == 0:
            steps.append(Step("rights", "warning", "at QoS 0 the broker does not report what it refuses"))
        return steps or [Step("rights", "well", f"{len(written)} topics may be written")]

    def sizes(self) -> list[Step]:
        """Whether messages arrive that are as large as those of the listener."""
        limits, written = self._link.limits, self._written(self._link.limits.fits)
        large = [topic for topic, payload in written.items() if not limits.fits(topic, payload)]
        if large:
            fault = any(not self._foreign(topic) for topic in large)
            reason = f"larger than the {limits.largest} bytes that the broker accepts, so not published"
            return _by_topic("sizes", "fault" if fault else "warning", sorted(large), ": ", reason)
        topic, size = self._topics.response(_VERB), max(map(len, written.values()), default=0)
        while not limits.fits(topic, b" " * size):
            size -= 1
        refusal = self._published(topic, b" " * size) if size else None
        if refusal is None or not (refusal.startswith(LOST) or TOO_LARGE in refusal):
            return []
        return [
            Step("sizes", "fault", f"{topic}: {size} bytes, the size of the largest message, are not taken: {refusal}")
        ]

    def round_trip(self) -> list[Step]:
        return [self._round_trip_ended]

    def _foreign(self, topic: str) -> bool:
        """It is a topic of discovery and not one of the listener's own."""
        return not topic.startswith(self._topics.response("").removesuffix("response/"))

    def _refused(self, foreign: bool, refusal: str, topics: Sequence[str]) -> list[Step]:  # noqa: FBT001 - private
        if foreign and refusal.startswith(LOST):
            form = 'is it too large for the broker? try mqtt.discovery_form = "component"'
            return _by_topic("rights", "fault", topics, ": ", f"{refusal} ({form})")
        if foreign:
            # The listener does all else without Home Assistant.
            whole = topics[0].partition("/")[0]
            hint = f"{self._user} must write {whole}/#, or set mqtt.discovery = false"
            return _by_topic("rights", "warning", topics, " may not be written: ", f"{refusal} ({hint})")
        whole = self._topics.response("").removesuffix("response/")
        hint = f"{self._user} must write {whole}#"
        return _by_topic("rights", "fault", topics, " may not be written: ", f"{refusal} ({hint})")

    def _unanswered(self) -> str:
        silent = f"{self._broker}: it does not answer within {self._patience:g} s (is it an MQTT broker?)"
        reason = silent if self._trying() else self._link.reason
        hung_up = "lost" in reason or "reset" in reason
        if (self._trying() or hung_up) and self._broker.modern and speaks_older(self._broker, self._patience):
            return f"{self._broker}: {OLDER}"
        return reason + (_PERHAPS_TLS if hung_up and self._broker.tls is None else "")

    def _round_trip(self) -> Step:
        topic, began = self._topics.request(_VERB), time.monotonic()
        refusal = self._published(topic, msgspec.json.encode({"transaction": self._token}))
        if refusal is not None:
            return Step("round trip", "warning", f"not tried, since {topic} may not be written: {refusal}")
        if not self._returned.wait(self._patience):
            heard = f"{self._user} must read {self._topics.settings} and {self._topics.requests}"
            return Step(
                "round trip", "fault", f"{topic} was sent and did not come back, so no command would arrive ({heard})"
            )
        return Step("round trip", "well", f"{topic} came back after {1e3 * (time.monotonic() - began):.0f} ms")

    @property
    def _user(self) -> str:
        return f"user '{self._broker.username}'" if self._broker.username else "a client without a user name"

    def _trying(self) -> bool:
        return self._link.state in {ConnectionState.CONNECTING, ConnectionState.CONNECTED}

    def _published(self, topic: str, payload: bytes, *, retain: bool = False) -> str | None:
        """What became of a message: None, or why the broker did not take it."""
        answers: list[str | None] = []
        settled = threading.Event()

        def tell(refusal: str | None) -> None:
            answers.append(refusal)
            settled.set()

        self._link.publish(topic, payload, retain=retain, acknowledged=tell)
        settled.wait(self._patience)
        return answers[0] if answers else f"no answer within {self._patience:g} s"

    def _hear(self, message: Message) -> None:
        if message.topic == self._topics.request(_VERB) and self._token.encode() in message.payload:
            self._returned.set()
        elif message.retained and message.payload:
            self._retained[message.topic] = message.payload


def _anything(_topic: str, _payload: bytes) -> bool:
    return True


def _nothing(_topic: str, _payload: bytes) -> bool:
    return False


def _by_topic(
    step: str, verdict: Literal["warning", "fault"], topics: Sequence[str], joint: str, reason: str
) -> list[Step]:
    """A step with the reason, followed by one step for each topic where there are several."""
    if len(topics) == 1:
        return [Step(step, verdict, topics[0] + joint + reason)]
    return [
        Step(step, verdict, f"{len(topics)} topics{joint}{reason}"),
        *(Step(step, verdict, each) for each in topics),
    ]
