"""A broker: its address, the login, how TLS verifies it, its limits, and why it ends a connection.

MQTT 5 lets a broker announce limits in CONNACK; a client that exceeds one is disconnected.
The limits are read at each connection, since they may have changed.
"""

from __future__ import annotations

import socket
import ssl
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from headnod.errors import ConfigError
from headnod.escaping import printable
from headnod.retry import Cause

Transport = Literal["tcp", "websockets", "unix"]

_MQTT_5 = 5

Acknowledged = Callable[[str | None], None]
"""Called once with None when the broker has the message, and else with the reason why it has not: that of the
broker, or `LOST` or `TOO_LARGE` followed by details."""

LOST = "lost: "
"""Prefix of the reason if there was no connection, or it ended before the broker answered."""

TOO_LARGE = "too large: "
"""Prefix of the reason if the message is larger than the broker accepts, so that it can never be delivered."""

_LARGEST_PACKET = 268_435_460
"""Bytes of the largest packet of MQTT."""

_LENGTHS = (128, 16_384, 2_097_152)
"""Lengths from which the length field of a packet has another byte."""

_EXPIRY_BYTES = 5
_LONGEST_PEM = 1 << 20

ANSWERS_OLDER = "it answers MQTT 3.1.1 and not MQTT 5 (set mqtt.protocol = 4)"
"""Reason for a broker that is older than MQTT 5."""

_PERMANENT = (0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x97, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F)

_CAUSES = dict.fromkeys(_PERMANENT, Cause.REFUSED) | {0x8E: Cause.TAKEN_OVER}
"""Reason codes of MQTT 5 that only a person can change: version, client id, password, authorisation, ban, method,
quota, last will, moved, rate."""

_BAD_VERSION, _BAD_LOGIN, _NOT_AUTHORISED = 0x84, 0x86, 0x87

_INVALID_DATES = frozenset({9, 10})
"""Verification results of OpenSSL's x509_vfy.h: not valid yet, and expired."""

_REASON_LENGTH = 120
"""Characters of the broker's own text that are passed on."""


@dataclass(frozen=True)
class Tls:
    """How the connection is encrypted, always with TLS 1.2 or later."""

    ca: Path | None = None
    """Trusted certificates; None trusts those of the system."""

    certificate: Path | None = None
    """Client certificate, if the broker requires one; may include its chain."""

    key: Path | None = None
    """Key of the client certificate; None if it is in the same file."""

    insecure: bool = False
    """Do not verify the broker; only for tests on a bench."""

    def context(self) -> ssl.SSLContext:
        """The settings as a context of Python's ssl.

        Raises:
            ConfigError: A file cannot be read, or is not valid.
        """
        # With a CA of its own only that one is trusted: the system's would accept anyone with a domain.
        context = ssl.create_default_context() if self.ca is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is not None:
            with pem_errors("mqtt.ca_file", self.ca):
                context.load_verify_locations(cafile=self.ca)
        if self.certificate is not None:
            with pem_errors("mqtt.cert_file", self.certificate):
                try:
                    # Without a password OpenSSL would ask for it on the terminal.
                    context.load_cert_chain(self.certificate, self.key, password=lambda: "")
                except ssl.SSLError:
                    _check_key(self.certificate, self.key or self.certificate)
                    raise
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True)
class Broker:
    """A broker, and our login."""

    host: str
    """Name or address; the path of the socket for the transport `unix`."""

    port: int
    """TCP port."""

    client_id: str
    """Unique: a broker disconnects a client when another one connects with its id."""

    username: str = ""
    """Empty for no login."""

    password: str = field(default="", repr=False)
    """Password of the user."""

    tls: Tls | None = None
    """None is plain text; a connection with TLS never falls back to it."""

    keepalive: int = 15
    """Seconds of silence after which each side checks the connection."""

    protocol: int = 5
    """5, or 4 for MQTT 3.1.1."""

    transport: Transport = "tcp"
    """TCP, WebSocket over TCP, or a Unix socket; the first two with or without TLS."""

    path: str = "/mqtt"
    """Path of the URL, for the transport `websockets`."""

    spread: float = 0.0
    """Seconds over which attempts to connect are spread by chance; 0 for few devices."""

    @property
    def modern(self) -> bool:
        """MQTT 5, with reason codes, message expiry and a limit of the packet size."""
        return self.protocol == _MQTT_5

    def __str__(self) -> str:
        if self.transport == "unix":
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "ws" if self.tls is None else "wss"
        return f"{scheme}://{host}:{self.port}{self.path}" if self.transport == "websockets" else f"{host}:{self.port}"

    def open_socket(self, timeout: float) -> socket.socket:
        """Open a connection without TLS and WebSocket, for checks.

        Raises:
            OSError: The broker cannot be reached.
        """
        if self.transport != "unix":
            return socket.create_connection((self.host, self.port), timeout=timeout)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout)
            connection.connect(self.host)
        except BaseException:
            connection.close()
            raise
        return connection


def _check_key(certificate: Path, key: Path) -> None:
    """Name two faults of a key, for which OpenSSL has no reason."""
    fault = ""
    if "CERTIFICATE-----" not in _beginning(certificate):
        return
    content = _beginning(key)
    if "PRIVATE KEY-----" not in content:
        fault = f"holds no private key (name the file with the key of {certificate})"
    elif "ENCRYPTED" in content:
        fault = f"is encrypted, and headnod asks for no passphrase ('openssl pkey -in {key}' writes it without one)"
    if fault:
        raise ConfigError(f"mqtt.key_file: {key}: {fault}")


def _beginning(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_LONGEST_PEM)


@contextmanager
def pem_errors(setting: str, path: Path) -> Iterator[None]:
    """Raises a ConfigError that names the setting if a PEM file cannot be read or is not valid."""
    try:
        yield
    except ssl.SSLError as error:
        raise ConfigError(f"{setting}: {path}: is not a matching PEM file ({error.reason or error})") from None
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: {(error.strerror or str(error)).lower()}") from None


class Request(NamedTuple):
    """A message to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    """1 is acknowledged, 0 is not."""

    retain: bool = False
    """The broker keeps it for later subscribers."""

    expiry: int | None = None
    """Seconds after which the broker drops it undelivered (MQTT 5)."""

    acknowledged: Acknowledged | None = None


@dataclass(frozen=True)
class Limits:
    """The limits of one connection; the defaults are those of a broker that announces none."""

    receive_maximum: int = 65_535
    """Messages that may be unacknowledged at once."""

    maximum_packet_size: int = _LARGEST_PACKET
    """Bytes of the largest packet."""

    maximum_qos: int = 2
    """Highest QoS of a message."""

    retain_available: bool = True
    """The broker keeps retained messages."""

    wildcards_available: bool = True
    """A subscription may contain `+` and `#`."""

    keepalive: int | None = None
    """The broker's keepalive in seconds, in place of ours; 0 is none, None is ours."""

    modern: bool = True
    """Packets are those of MQTT 5."""

    refused_size: int = _LARGEST_PACKET + 1
    """Bytes of the smallest packet that was refused as too large, whatever was announced."""

    def announced(self, properties: object) -> Limits:
        """The limits of a new connection; a size that was refused before is not tried again.

        The properties of CONNACK are attributes. A value that the standard forbids is ignored.
        """
        return Limits(
            receive_maximum=getattr(properties, "ReceiveMaximum", 0) or Limits.receive_maximum,
            maximum_packet_size=getattr(properties, "MaximumPacketSize", 0) or Limits.maximum_packet_size,
            maximum_qos=getattr(properties, "MaximumQoS", Limits.maximum_qos),
            retain_available=bool(getattr(properties, "RetainAvailable", 1)),
            wildcards_available=bool(getattr(properties, "WildcardSubscriptionAvailable", 1)),
            keepalive=getattr(properties, "ServerKeepAlive", None),
            modern=self.modern,
            refused_size=self.refused_size,
        )

    def without(self, size: int) -> Limits:
        """The same, after a packet of this size was refused as too large."""
        return replace(self, refused_size=min(self.refused_size, size))

    def fit(self, request: Request) -> Request:
        """The message with a QoS and a retain flag that the broker accepts."""
        qos, retain = min(request.qos, self.maximum_qos), request.retain and self.retain_available
        return request._replace(qos=qos, retain=retain, expiry=request.expiry if self.modern else None)

    def size(self, request: Request) -> int:
        """Bytes of the PUBLISH packet of a fitted message."""
        length = 2 + len(request.topic.encode()) + len(request.payload) + (2 if request.qos else 0)
        if self.modern:
            length += 1 + (_EXPIRY_BYTES if request.expiry is not None else 0)
        return 2 + bisect_right(_LENGTHS, length) + length

    @property
    def largest(self) -> int:
        """Bytes of the largest packet that may be sent."""
        return min(self.maximum_packet_size, self.refused_size - 1)

    def fits(self, topic: str, payload: bytes) -> bool:
        """Whether a retained message of this topic and payload is small enough."""
        return self.size(self.fit(Request(topic, payload, retain=True))) <= self.largest

    @property
    def losses(self) -> list[str]:
        """What does not work within these limits, in words."""
        losses = []
        if self.maximum_qos == 0:
            losses.append("it accepts QoS 0 only: nothing is acknowledged, a lost connection loses messages")
        if not self.retain_available:
            losses.append("it retains nothing: later subscribers see the listener only from its next message on")
        if not self.wildcards_available:
            losses.append("it has no wildcard subscriptions: only topics without wildcards are subscribed to")
        return losses

    @property
    def effects(self) -> list[str]:
        """The same, and what is done differently."""
        if self.largest >= _LARGEST_PACKET:
            return self.losses
        size = f"it accepts packets of up to {self.largest} bytes: larger messages are not published, and discovery"
        return [f"{size} that is larger is published as one message per entity", *self.losses]


class Ending(NamedTuple):
    """Why a connection ended."""

    cause: Cause
    """Decides when to try again."""

    reason: str
    """One line."""

    unexplained: bool = False
    """The broker, or a proxy, closed the connection and gave no reason."""


class UnexplainedEndings:
    """Counts connections that a reachable broker closed without a reason, and names possible causes.

    mosquitto 2.0.11 closes the connection without a reason when another client connects with
    our client id; so do brokers that receive a message larger than they accept, and proxies.
    """

    _NAMED, _BRIEF = 2, 3
    """Endings after which possible causes are named, and brief ones after which the next attempt waits a minute."""

    _WITHIN = 300.0
    """Seconds within which they must occur."""

    _LARGE = 4096
    """Bytes from which the size of a message is a possible cause."""

    def __init__(self, client_id: str) -> None:
        self._client_id, self._pending = client_id, 0
        self._times: deque[float] = deque(maxlen=self._NAMED)
        self.brief = 0
        """Brief connections in a row."""

        self.too_large = 0
        """Bytes of a message that was unacknowledged when two connections in a row were closed; else 0."""

    def reset(self) -> None:
        """The last ending was explained, or the broker is not reachable."""
        self.brief = self._pending = self.too_large = 0

    def count(self, ending: Ending, *, brief: bool, now: float, pending: int) -> Ending:
        """Count an ending; returns it with possible causes, unless it is the first.

        The connection was `brief` if it was closed shortly after it was established, and had a largest unacknowledged
        message of `pending` bytes.
        """
        suspect = pending if brief and pending >= self._LARGE else 0
        self.too_large, self._pending = (suspect if suspect == self._pending else 0), suspect
        self._times.append(now)
        self.brief = self.brief + 1 if brief else 0
        if len(self._times) < self._NAMED or now - self._times[0] > self._WITHIN:
            return ending
        causes = [f"does another client use the client id {self._client_id} too?"]
        if pending >= self._LARGE:
            causes.append(f'is a message of {pending} bytes too large for it? see mqtt.discovery_form = "component"')
        # The same words each time: a reason is logged once in five minutes.
        repeated = f"again within {self._WITHIN / 60:.0f} minutes, without a reason"
        cause = Cause.TAKEN_OVER if self.brief >= self._BRIEF else ending.cause
        return Ending(cause, f"{ending.reason} ({repeated}; possible causes: {' '.join(causes)})", unexplained=True)


def unreachable_ending(error: OSError) -> Ending:
    """No connection, or no TLS, could be established."""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"its certificate is not valid: {error.verify_message.lower()}"
        if error.verify_code in _INVALID_DATES:
            return Ending(Cause.CLOCK, f"{reason} (the clock of this machine says {datetime.now(UTC):%Y-%m-%d})")
        return Ending(Cause.REFUSED, reason)
    if isinstance(error, ssl.SSLError):
        return Ending(Cause.NETWORK, f"no TLS with it: {(error.reason or str(error)).replace('_', ' ').lower()}")
    return Ending(Cause.NETWORK, (error.strerror or str(error)).lower())


def reason_text(text: str, properties: object) -> str:
    """The text of a reason code, and what the broker added."""
    own = printable(str(getattr(properties, "ReasonString", "")))[:_REASON_LENGTH]
    other = printable(str(getattr(properties, "ServerReference", "")))[:_REASON_LENGTH]
    return text.lower() + (f": {own}" if own else "") + (f" (it names {other})" if other else "")


def refused_ending(code: int, text: str, *, modern: bool, will: str = "") -> Ending:
    """The broker answered CONNECT with a reason code; it may refuse the will as well as the login."""
    hint = ""
    if code == _BAD_VERSION:
        hint = f" (set mqtt.protocol = {4 if modern else 5})"
    elif code == _BAD_LOGIN:
        hint = " (check mqtt.username and mqtt.password_file)"
    elif code == _NOT_AUTHORISED:
        writable = f", and may this user write {will}" if will else ""
        hint = f" (are mqtt.username and mqtt.password_file right{writable}?)"
    return Ending(_CAUSES.get(code, Cause.NETWORK), f"it refuses us: {text}{hint}")


def disconnected_ending(code: int, text: str, *, client_id: str) -> Ending:
    """The broker sent DISCONNECT with a reason code."""
    cause = _CAUSES.get(code, Cause.NETWORK)
    hint = f" (another client has connected as {client_id})" if cause is Cause.TAKEN_OVER else ""
    return Ending(cause, f"it disconnected us: {text}{hint}")
