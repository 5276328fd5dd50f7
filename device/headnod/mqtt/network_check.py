"""Checks of the network before MQTT: the broker's name, its port and its certificate.

paho reports one error for all of these; this reports which it was, and the way out.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any

from headnod.check_result import CheckResult, Verdict
from headnod.mqtt.broker import Broker, Tls

_EXPIRES_SOON = 30
"""Days before its end from which a certificate gives a warning."""

_ALERT = 0.3
"""Seconds in which a broker may reject our certificate: with TLS 1.3 it does so after the handshake."""

_NOT_YET, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 64)
"""Verification results of OpenSSL's x509_vfy.h."""

_NO_CHECK_TIME = 0x20_0000
"""X509_V_FLAG_NO_CHECK_TIME of the same file."""


def check_network(broker: Broker, *, timeout: float, now: Callable[[], datetime]) -> Generator[CheckResult, None, None]:
    """Resolve the name, connect, and verify the certificate.

    Args:
        broker: Where to connect, and how to verify it.
        timeout: Seconds that each answer may take.
        now: The wall clock.

    Raises:
        ConfigError: A file that TLS needs cannot be used.
    """
    if broker.tls is not None:
        # An unreadable file is an error of the configuration, not of a step.
        broker.tls.context()
    yield (name := _name(broker))
    if name.verdict == "fault":
        return
    try:
        connection = socket.create_connection((broker.host, broker.port), timeout=timeout)
    except OSError as error:
        yield CheckResult("connection", "fault", f"{broker}: {_connection_error(error, timeout)}")
        return
    with connection:
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


def _connection_error(error: OSError, timeout: float) -> str:
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
            socket.create_connection((broker.host, broker.port), timeout=_ALERT * 10) as connection,
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
