"""`headnod mqtt test`: the steps from here to the broker and back, up to the first fault.

Everything is tried as the listener does it, with its login and its client, but under
another client id, so that a running listener keeps its connection.
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

import msgspec

from headnod.check_result import CheckResult, Verdict
from headnod.mqtt.broker import Broker, speaks_older
from headnod.mqtt.broker_limits import LOST, TOO_LARGE
from headnod.mqtt.client import ConnectionState, Message, MqttClient
from headnod.mqtt.commands import command_topics
from headnod.mqtt.homeassistant import Fits
from headnod.mqtt.network_check import check_network
from headnod.mqtt.reason_codes import OLDER
from headnod.mqtt.topics import Topics

_POLL = 0.05
"""Seconds between two checks of whether the client gave up."""

_VERB = "test"

_LARGEST = 1 << 16
"""Bytes of the largest packet that the broker may send: discovery is among them."""

Examples = Callable[[Fits], Mapping[str, bytes]]
"""A payload of the usual size for every topic that the listener publishes, within what the broker accepts."""


def check_broker(
    broker: Broker,
    topics: Topics,
    *,
    examples: Examples | None = None,
    rng: random.Random,
    now: Callable[[], datetime],
    timeout: float = 5.0,
) -> Iterator[CheckResult]:
    """Check the network, then login, limits, access rights, sizes and a round trip.

    Subscribers notice nothing. Each topic of the listener gets an empty message that is
    not retained, `status` the message that is retained there. Discovery gets the message
    that is retained there, or else that of the listener, not retained. A message of the
    largest size goes to `response/test`, and an unknown request to `request/test`.

    Args:
        broker: Where to connect, and as whom.
        topics: The topics of this listener.
        examples: Payloads of the listener by topic; None tries the topic of estimates only.
        rng: For the client.
        now: The wall clock.
        timeout: Seconds that each answer may take.

    Returns:
        Steps, in order; nothing follows the step of a `fault`.

    Raises:
        ConfigError: A file that TLS needs cannot be used.
    """
    with closing(check_network(broker, timeout=timeout, now=now)) as steps:
        for step in steps:
            yield step
            if step.verdict == "fault":
                return
    ours = replace(broker, client_id=f"{broker.client_id}.{_VERB}-{secrets.token_hex(2)}")
    with closing(_Checks(ours, topics, examples or (lambda _fits: {topics.estimate: b""}), rng, timeout)) as checks:
        for check in (checks.login, checks.limits, checks.rights, checks.sizes, checks.round_trip):
            found = check()
            yield from found
            if any(step.verdict == "fault" for step in found):
                return


class _Checks:
    """The steps that need MQTT."""

    def __init__(self, broker: Broker, topics: Topics, examples: Examples, rng: random.Random, timeout: float) -> None:
        self._broker, self._topics, self._examples, self._timeout = broker, topics, examples, timeout
        self._own = topics.under("")
        self._user = f"user '{broker.username}'" if broker.username else "a client without a user name"
        self._token = secrets.token_hex(8)
        self._connected, self._returned = threading.Event(), threading.Event()
        self._retained: dict[str, bytes] = {}
        # In both forms: as one message, and by entity.
        forms: tuple[Fits, ...] = (lambda _topic, _payload: True, lambda _topic, _payload: False)
        discovery = [topic for fits in forms for topic in examples(fits) if not self._is_own(topic)]
        self._client = MqttClient(
            broker,
            subscriptions=(topics.settings, topics.requests, topics.status, *discovery),
            plain=(*command_topics(topics), topics.request(_VERB), topics.status, *discovery),
            on_connected=self._connected.set,
            on_message=self._received,
            rng=rng,
            largest=_LARGEST,
        )

    def close(self) -> None:
        self._client.close()

    def login(self) -> list[CheckResult]:
        self._client.start()
        deadline = time.monotonic() + self._timeout
        while not self._connected.wait(_POLL) and self._connecting and time.monotonic() < deadline:
            pass
        if not self._connected.is_set():
            return [CheckResult("login", "fault", self._login_error())]
        name = self._broker.username
        user = f"as '{name}'" if name else "without a user name (mqtt.username is empty)"
        return [CheckResult("login", "well", f"MQTT {'5' if self._broker.modern else '3.1.1'}, {user}")]

    def limits(self) -> list[CheckResult]:
        effects = self._client.limits.effects
        return [CheckResult("limits", "warning", "; ".join(effects))] if effects else []

    def rights(self) -> list[CheckResult]:
        # First, because it brings the retained messages, which are published again.
        self._round_trip = self._try_round_trip()
        examples = self._examples(self._client.limits.fits)
        refused: dict[tuple[bool, str], list[str]] = {}
        for topic, payload in sorted(examples.items(), key=lambda item: (not self._is_own(item[0]), item[0])):
            own, retained = self._is_own(topic), self._retained.get(topic)
            # An empty status would remove the listener from a dashboard.
            content = retained if retained is not None else b"" if own else payload
            refusal = self._publish(topic, content, retain=retained is not None and not own)
            if refusal is not None:
                refused.setdefault((own, refusal), []).append(topic)
        steps = [step for (own, refusal), names in refused.items() for step in self._refused(names, refusal, own=own)]
        if not self._broker.modern:
            steps.append(
                CheckResult("rights", "warning", "MQTT 3.1.1 does not report what a broker refuses (mqtt.protocol)")
            )
        elif self._client.limits.maximum_qos == 0:
            steps.append(CheckResult("rights", "warning", "at QoS 0 the broker does not report what it refuses"))
        return steps or [CheckResult("rights", "well", f"{len(examples)} topics may be written")]

    def sizes(self) -> list[CheckResult]:
        limits, examples = self._client.limits, self._examples(self._client.limits.fits)
        large = [topic for topic, payload in examples.items() if not limits.fits(topic, payload)]
        if large:
            reason = f": larger than the {limits.largest} bytes that the broker accepts, so not published"
            return _by_topic("sizes", "fault" if any(map(self._is_own, large)) else "warning", sorted(large), reason)
        topic, size = self._topics.response(_VERB), max(map(len, examples.values()), default=0)
        while not limits.fits(topic, b" " * size):
            size -= 1
        refusal = self._publish(topic, b" " * size) if size else None
        if refusal is None or not (refusal.startswith(LOST) or TOO_LARGE in refusal):
            return []
        reason = f"{size} bytes, the size of the largest message, are not accepted: {refusal}"
        return [CheckResult("sizes", "fault", f"{topic}: {reason}")]

    def round_trip(self) -> list[CheckResult]:
        return [self._round_trip]

    def _is_own(self, topic: str) -> bool:
        """Whether it is a topic of the listener, and not of discovery."""
        return topic.startswith(self._own)

    def _refused(self, topics: Sequence[str], refusal: str, *, own: bool) -> list[CheckResult]:
        if own:
            reason = f" may not be written: {refusal} ({self._user} must write {self._own}#)"
            return _by_topic("rights", "fault", topics, reason)
        if refusal.startswith(LOST):
            reason = f': {refusal} (is it too large for the broker? try mqtt.discovery_form = "component")'
            return _by_topic("rights", "fault", topics, reason)
        # Without Home Assistant the listener does everything else.
        hint = f"{self._user} must write {topics[0].partition('/')[0]}/#, or set mqtt.discovery = false"
        return _by_topic("rights", "warning", topics, f" may not be written: {refusal} ({hint})")

    def _login_error(self) -> str:
        silent, ending = self._connecting, self._client.ending
        closed = ending is not None and ending.unexplained
        if (silent or closed) and self._broker.modern and speaks_older(self._broker, self._timeout):
            return f"{self._broker}: {OLDER}"
        if silent:
            return f"{self._broker}: it does not answer within {self._timeout:g} s (is it an MQTT broker?)"
        return self._client.reason + (
            " (does it require TLS? see mqtt.tls)" if closed and self._broker.tls is None else ""
        )

    def _try_round_trip(self) -> CheckResult:
        topic, began = self._topics.request(_VERB), time.monotonic()
        refusal = self._publish(topic, msgspec.json.encode({"transaction": self._token}))
        if refusal is not None:
            return CheckResult("round trip", "warning", f"not tried, since {topic} may not be written: {refusal}")
        if self._returned.wait(self._timeout):
            return CheckResult(
                "round trip", "well", f"{topic} came back after {1e3 * (time.monotonic() - began):.0f} ms"
            )
        hint = f"{self._user} must read {self._topics.settings} and {self._topics.requests}"
        reason = f"{topic} was sent and did not come back, so no command would arrive ({hint})"
        return CheckResult("round trip", "fault", reason)

    @property
    def _connecting(self) -> bool:
        return self._client.state in {ConnectionState.CONNECTING, ConnectionState.CONNECTED}

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> str | None:
        """Publish and wait for the outcome: None, or the reason why the broker does not have the message."""
        outcomes: list[str | None] = []
        settled = threading.Event()

        def settle(refusal: str | None) -> None:
            outcomes.append(refusal)
            settled.set()

        self._client.publish(topic, payload, retain=retain, acknowledged=settle)
        settled.wait(self._timeout)
        return outcomes[0] if outcomes else f"no answer within {self._timeout:g} s"

    def _received(self, message: Message) -> None:
        if message.topic == self._topics.request(_VERB) and self._token.encode() in message.payload:
            self._returned.set()
        elif message.retained and message.payload:
            self._retained[message.topic] = message.payload


def _by_topic(step: str, verdict: Verdict, topics: Sequence[str], reason: str) -> list[CheckResult]:
    """A step with the reason, followed by one step per topic if there are several."""
    if len(topics) == 1:
        return [CheckResult(step, verdict, topics[0] + reason)]
    return [
        CheckResult(step, verdict, f"{len(topics)} topics{reason}"),
        *(CheckResult(step, verdict, each) for each in topics),
    ]
