"""The way to a broker before a word of MQTT is said: its name, its port, its certificate.

Alone because a client library has one error for all of these, and a person
needs to know which it was. Python's own socket and ssl are all it takes.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from headnod.mqtt.broker import Broker, Tls

_SOON = 30
"""Days before its end from which a certificate is warned of."""

_ALERT = 0.3
"""Seconds that a broker may take to complain of our certificate: TLS 1.3 does so after the handshake."""

_NOT_YET, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 64)
"""Verification results of OpenSSL's x509_vfy.h."""

_NO_CHECK_TIME = 0x20_0000
"""X509_V_FLAG_NO_CHECK_TIME of the same file."""


class Step(msgspec.Struct, frozen=True):
    """One step on the way to a broker."""

    step: str
    """What was tried."""

    verdict: Literal["well", "warning", "fault", "none"]
    """Nothing is tried after a `fault`; `none` is not configured."""

    message: str
    """One line: what was found and, if need be, what helps."""


def reach(broker: Broker, *, patience: float, now: Callable[[], datetime]) -> Generator[Step, None, None]:
    """Find it by name, connect to it, and look at its certificate.

    Args:
        broker: Where to, and how it must prove itself.
        patience: Seconds that each answer may take.
        now: The present, UTC.

    Raises:
        ConfigError: A file that TLS needs cannot be used.
    """
    if broker.tls is not None:
        # A file that cannot be read is no fault of the way's, and is told before it.
        broker.tls.context()
    yield (name := _name(broker))
    if name.verdict == "fault":
        return
    try:
        connection = socket.create_connection((broker.host, broker.port), timeout=patience)
    except OSError as error:
        yield Step("connection", "fault", f"{broker}: {_unreachable(error, patience)}")
        return
    with connection:
        ours, theirs = (_address(end) for end in (connection.getsockname(), connection.getpeername()))
        yield Step("connection", "well", f"from {ours} to {theirs}")
        if broker.tls is None:
            yield Step("certificate", "none", "nothing is encrypted (mqtt.tls)")
        else:
            yield _certificate(broker, broker.tls, connection, now)


def _name(broker: Broker) -> Step:
    try:
        found = socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "no name of a machine"
        return Step(
            "name", "fault", f"'{broker.host}': {str(reason).lower()} (is mqtt.host spelt right? try its address)"
        )
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return Step("name", "well", f"{broker.host} is {' and '.join(addresses)}")


def _address(end: tuple[Any, ...]) -> str:
    return f"{end[0]}:{end[1]}"


def _unreachable(error: OSError, patience: float) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there (does the broker run, and on this port and address? see mqtt.port)"
    if isinstance(error, TimeoutError):
        return f"no answer within {patience:g} s (is a firewall in between?)"
    return (error.strerror or str(error)).lower()


def _certificate(broker: Broker, tls: Tls, connection: socket.socket, now: Callable[[], datetime]) -> Step:
    try:
        with tls.context().wrap_socket(connection, server_hostname=broker.host) as secure:
            _await_alert(secure)
            version, shown = secure.version(), secure.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return Step("certificate", "fault", f"{broker}: {_unbelieved(error, broker, tls)}")
    except (ssl.SSLError, OSError) as error:
        return Step("certificate", "fault", f"{broker}: {_no_tls(error)}")
    if tls.insecure:
        return Step("certificate", "warning", f"{version}, and the broker is not verified (mqtt.insecure)")
    end = _date(shown, "notAfter")
    days = (end - now()).days
    verdict: Literal["well", "warning"] = "well" if days >= _SOON else "warning"
    return Step("certificate", verdict, f"{version}, valid until {end:%Y-%m-%d} ({days} days)")


def _await_alert(secure: ssl.SSLSocket) -> None:
    """Raise what a broker says that does not like our certificate; one that does waits for us to speak."""
    patience = secure.gettimeout()
    secure.settimeout(_ALERT)
    try:
        if not secure.recv(1):
            raise ConnectionResetError
    except TimeoutError:
        secure.settimeout(patience)


def _unbelieved(error: ssl.SSLCertVerificationError, broker: Broker, tls: Tls) -> str:
    if error.verify_code in {_NOT_YET, _EXPIRED, *_OTHER_NAMES}:
        shown = _shown_anyway(broker, tls)
        if error.verify_code == _EXPIRED:
            return f"its certificate expired{_when(shown, 'notAfter')} (make a new one)"
        if error.verify_code == _NOT_YET:
            return f"its certificate is not valid yet{_when(shown, 'notBefore')} (is the clock of this machine right?)"
        names = ", ".join(str(name) for _, name in shown.get("subjectAltName", ())) or "other names"
        return f"its certificate is for {names} and not for {broker.host} (set mqtt.host to one of them)"
    trusted = tls.ca or "the system's authorities"
    return f"its certificate was not made by {trusted}: {error.verify_message.lower()} (see mqtt.ca_file)"


def _shown_anyway(broker: Broker, tls: Tls) -> dict[str, Any]:
    """What a certificate of the right authority says, though its name or date is wrong."""
    context = tls.context()
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    try:
        with (
            socket.create_connection((broker.host, broker.port), timeout=_ALERT * 10) as connection,
            context.wrap_socket(connection) as secure,
        ):
            return dict(secure.getpeercert() or {})
    except OSError:
        # It may have another fault as well; the first has been found.
        return {}


def _no_tls(error: OSError) -> str:
    reason = str(getattr(error, "reason", None) or error.strerror or error or "it hung up").replace("_", " ").lower()
    if "certificate" in reason or "unknown ca" in reason:
        return f"it rejects our certificate: {reason} (see mqtt.cert_file and mqtt.key_file)"
    return f"no TLS: {reason} (8883 is the usual port with TLS, 1883 without; see mqtt.port and mqtt.cert_file)"


def _when(shown: dict[str, Any], field: str) -> str:
    return f" on {_date(shown, field):%Y-%m-%d}" if field in shown else ""


def _date(shown: dict[str, Any], field: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown[field]), UTC)
