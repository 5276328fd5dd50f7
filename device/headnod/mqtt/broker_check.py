"""`headnod mqtt test`: the steps from here to the broker and back, up to the first fault.

Everything is tried as the listener does it, with its login and its client, but under
another client id, so that a running listener keeps its connection.
"""

from __future__ import annotations

import random
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from headnod.errors import CheckResult, Verdict
from headnod.mqtt.broker import ANSWERS_OLDER, LOST, TOO_LARGE, Broker, Tls
from headnod.mqtt.client import ConnectionState, MqttClient
from headnod.mqtt.commands import TEST_VERB, command_topics
from headnod.mqtt.connection import Message, speaks_older
from headnod.mqtt.homeassistant import Fits
from headnod.mqtt.topics import Topics

_LARGEST = 1 << 16
"""Bytes of the largest packet that the broker may send: discovery is among them."""

_EXPIRES_SOON = 30
"""Days before its end from which a certificate gives a warning."""

_ALERT = 0.3
"""Seconds in which a broker may reject our certificate: with TLS 1.3 it does so after the handshake."""

_NOT_YET, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 64)
"""Verification results of OpenSSL's x509_vfy.h."""

_NO_CHECK_TIME = 0x20_0000
"""X509_V_FLAG_NO_CHECK_TIME of the same file."""

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
    largest size goes to `response/test`, and a request that listeners ignore to `request/test`.

    Returns:
        Steps, in order; nothing follows the step of a `fault`.

    Raises:
        ConfigError: A file that TLS needs cannot be used.
    """
    with closing(_check_network(broker, timeout=timeout, now=now)) as steps:
        for step in steps:
            yield step
            if step.verdict == "fault":
                return
    ours = replace(broker, client_id=f"{broker.client_id}.{TEST_VERB}-{secrets.token_hex(2)}")
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
        self._returned = threading.Event()
        self._retained: dict[str, bytes] = {}
        # In both forms: as one message, and by entity.
        forms: tuple[Fits, ...] = (lambda _topic, _payload: True, lambda _topic, _payload: False)
        discovery = [topic for fits in forms for topic in examples(fits) if not self._is_own(topic)]
        self._client = MqttClient(
            broker,
            subscriptions=(topics.settings, topics.requests, topics.status, *discovery),
            plain=(*command_topics(topics), topics.request(TEST_VERB), topics.status, *discovery),
            on_message=self._received,
            rng=rng,
            largest=_LARGEST,
        )

    def close(self) -> None:
        self._client.close()

    def login(self) -> list[CheckResult]:
        self._client.start()
        if not self._client.wait_connected(self._timeout, attempts=1):
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
            # `sizes` reports topics whose message is too large.
            if refusal is not None and not refusal.startswith(TOO_LARGE):
                refused.setdefault((own, refusal), []).append(topic)
        steps = [step for (own, refusal), names in refused.items() for step in self._refused(names, refusal, own=own)]
        if not self._broker.modern:
            steps.append(
                CheckResult("rights", "warning", "MQTT 3.1.1 does not report what a broker refuses (mqtt.protocol)")
            )
        elif self._client.limits.maximum_qos == 0:
            steps.append(CheckResult("rights", "warning", "at QoS 0 the broker does not report what it refuses"))
        fitting = sum(map(self._client.limits.fits, examples, examples.values()))
        return steps or [CheckResult("rights", "well", f"{fitting} topics may be written")]

    def sizes(self) -> list[CheckResult]:
        limits, examples = self._client.limits, self._examples(self._client.limits.fits)
        large = [topic for topic, payload in examples.items() if not limits.fits(topic, payload)]
        if large:
            reason = f": larger than the {limits.largest} bytes that the broker accepts, so not published"
            return _by_topic("sizes", "fault" if any(map(self._is_own, large)) else "warning", sorted(large), reason)
        topic, size = self._topics.response(TEST_VERB), max(map(len, examples.values()), default=0)
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
        # Other reasons, such as a quota, are not of rights.
        denied = "not authorized" in refusal
        if own:
            reason = f" may not be written: {refusal}" + f" ({self._user} must write {self._own}#)" * denied
            return _by_topic("rights", "fault", topics, reason)
        if refusal.startswith(LOST):
            reason = f': {refusal} (is it too large for the broker? try mqtt.discovery_form = "component")'
            return _by_topic("rights", "fault", topics, reason)
        # Without Home Assistant the listener does everything else.
        must = f"{self._user} must write {topics[0].partition('/')[0]}/#, or " * denied
        hint = f"{must}set mqtt.discovery = false"
        return _by_topic("rights", "warning", topics, f" may not be written: {refusal} ({hint})")

    def _login_error(self) -> str:
        silent = self._client.state in {ConnectionState.CONNECTING, ConnectionState.CONNECTED}
        ending = self._client.ending
        closed = ending is not None and ending.unexplained
        if (silent or closed) and self._broker.modern and speaks_older(self._broker, self._timeout):
            return f"{self._broker}: {ANSWERS_OLDER}"
        if silent:
            return f"{self._broker}: it does not answer within {self._timeout:g} s (is it an MQTT broker?)"
        return self._client.reason + (
            " (does it require TLS? see mqtt.tls)" if closed and self._broker.tls is None else ""
        )

    def _try_round_trip(self) -> CheckResult:
        topic, began = self._topics.request(TEST_VERB), time.monotonic()
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

    def _publish(self, topic: str, payload: bytes, *, retain: bool = False) -> str | None:
        return self._client.publish_and_wait(topic, payload, retain=retain, timeout=self._timeout)

    def _received(self, message: Message) -> None:
        if message.topic == self._topics.request(TEST_VERB) and self._token.encode() in message.payload:
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


def _check_network(
    broker: Broker, *, timeout: float, now: Callable[[], datetime]
) -> Generator[CheckResult, None, None]:
    """Resolve the name, connect, and verify the certificate.

    Raises:
        ConfigError: A file that TLS needs cannot be used.
    """
    if broker.tls is not None:
        # An unreadable file is an error of the configuration, not of a step.
        broker.tls.context()
    if broker.transport != "unix":
        yield (name := _name(broker))
        if name.verdict == "fault":
            return
    try:
        connection = broker.open_socket(timeout)
    except OSError as error:
        yield CheckResult("connection", "fault", f"{broker}: {_connection_error(broker, error, timeout)}")
        return
    with connection:
        if broker.transport == "unix":
            yield CheckResult("connection", "well", f"to {broker}")
            return
        ours, theirs = ("{}:{}".format(*end[:2]) for end in (connection.getsockname(), connection.getpeername()))
        yield CheckResult("connection", "well", f"from {ours} to {theirs}")
        if broker.tls is None:
            yield CheckResult("certificate", "none", "nothing is encrypted (mqtt.tls)")
        else:
            yield _certificate(broker, broker.tls, connection, now)


def _name(broker: Broker) -> CheckResult:
    try:
        found = socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = str(error.strerror).lower() if isinstance(error, socket.gaierror) else "is not a host name"
        return CheckResult(
            "name", "fault", f"'{broker.host}': {reason} (is mqtt.host spelt correctly? try its address)"
        )
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return CheckResult("name", "well", f"{broker.host} is {' and '.join(addresses)}")


def _connection_error(broker: Broker, error: OSError, timeout: float) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such socket (does the broker run, with this path in its configuration? see mqtt.host)"
    if isinstance(error, PermissionError):
        return "this user may not open the socket (is it a member of the socket's group?)"
    if isinstance(error, ConnectionRefusedError) and broker.transport == "unix":
        return "nothing listens there (does the broker run, and is this the path of its socket? see mqtt.host)"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there (does the broker run, and on this port and address? see mqtt.port)"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s (is a firewall in between?)"
    return (error.strerror or str(error)).lower()


def _certificate(broker: Broker, tls: Tls, connection: socket.socket, now: Callable[[], datetime]) -> CheckResult:
    try:
        with tls.context().wrap_socket(connection, server_hostname=broker.host) as secure:
            _wait_for_alert(secure)
            version, certificate = secure.version(), secure.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return CheckResult("certificate", "fault", f"{broker}: {_verification_error(error, broker, tls)}")
    except (ssl.SSLError, OSError) as error:
        return CheckResult("certificate", "fault", f"{broker}: {_tls_error(error)}")
    if tls.insecure:
        return CheckResult("certificate", "warning", f"{version}, and the broker is not verified (mqtt.insecure)")
    end = _date(certificate, "notAfter")
    days = (end - now()).days
    verdict: Verdict = "well" if days >= _EXPIRES_SOON else "warning"
    return CheckResult("certificate", verdict, f"{version}, valid until {end:%Y-%m-%d} ({days} days)")


def _wait_for_alert(secure: ssl.SSLSocket) -> None:
    """Raise the error of a broker that rejects our certificate; one that accepts it waits for our first packet."""
    timeout = secure.gettimeout()
    secure.settimeout(_ALERT)
    try:
        if not secure.recv(1):
            raise ConnectionResetError
    except TimeoutError:
        secure.settimeout(timeout)


def _verification_error(error: ssl.SSLCertVerificationError, broker: Broker, tls: Tls) -> str:
    if error.verify_code not in {_NOT_YET, _EXPIRED, *_OTHER_NAMES}:
        trusted = tls.ca or "the system's authorities"
        return f"its certificate was not made by {trusted}: {error.verify_message.lower()} (see mqtt.ca_file)"
    certificate = _unverified_certificate(broker, tls)
    if error.verify_code == _EXPIRED:
        return f"its certificate expired{_on_date(certificate, 'notAfter')} (make a new one)"
    if error.verify_code == _NOT_YET:
        start = _on_date(certificate, "notBefore")
        return f"its certificate is not valid yet{start} (is the clock of this machine right?)"
    names = ", ".join(str(name) for _, name in certificate.get("subjectAltName", ())) or "other names"
    return f"its certificate is for {names} and not for {broker.host} (set mqtt.host to one of them)"


def _unverified_certificate(broker: Broker, tls: Tls) -> dict[str, Any]:
    """A certificate of the right authority whose name or date is wrong; empty if that is not its only error."""
    context = tls.context()
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    try:
        with (
            broker.open_socket(_ALERT * 10) as connection,
            context.wrap_socket(connection) as secure,
        ):
            return dict(secure.getpeercert() or {})
    except OSError:
        return {}


def _tls_error(error: OSError) -> str:
    reason = str(getattr(error, "reason", None) or error.strerror or error or "it closed the connection")
    reason = reason.replace("_", " ").lower()
    if "certificate" in reason or "unknown ca" in reason:
        return f"it rejects our certificate: {reason} (see mqtt.cert_file and mqtt.key_file)"
    return f"no TLS: {reason} (8883 is the usual port with TLS, 1883 without; see mqtt.port and mqtt.cert_file)"


def _on_date(certificate: dict[str, Any], field: str) -> str:
    return f" on {_date(certificate, field):%Y-%m-%d}" if field in certificate else ""


def _date(certificate: dict[str, Any], field: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate[field]), UTC)
