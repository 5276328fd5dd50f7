"""Where the broker is, who we are to it, and how it must prove that it is the one.

Alone because the link and `headnod mqtt test` connect by the same rules, and
because it needs nothing but Python's own ssl.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from headnod.errors import ConfigError

_MQTT_5 = 5
_CONNECT, _CONNACK, _OTHER_VERSION, _DISCONNECT = 0x10, b"\x20\x02", b"\x01", b"\xe0\x00"
"""Parts of packets of MQTT 3.1.1."""


@dataclass(frozen=True)
class Tls:
    """How the connection is encrypted; the least version is always 1.2."""

    ca: Path | None = None
    """Certificates that are trusted; None takes the system's."""

    certificate: Path | None = None
    """Ours, if the broker wants one; it may hold its chain too."""

    key: Path | None = None
    """The key of ours; None if the certificate's file holds it."""

    insecure: bool = False
    """Believe any broker. For a trial on a bench, and for nothing else."""

    def context(self) -> ssl.SSLContext:
        """What Python's ssl makes of it.

        Raises:
            ConfigError: A file cannot be read, or is not what it should be.
        """
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is not None:
            # Only this one then: the system's would let anybody with a domain in.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            _load("mqtt.ca_file", self.ca, lambda: context.load_verify_locations(cafile=self.ca))
        if self.certificate is not None:
            own = self.certificate
            _load("mqtt.cert_file", own, lambda: context.load_cert_chain(own, self.key, password=_no_password))
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True)
class Broker:
    """A broker, and who we are to it."""

    host: str
    """Its name or address."""

    port: int
    """Its port."""

    client_id: str
    """Ours alone: a broker throws out whoever had it before."""

    username: str = ""
    """Empty says nothing of who we are."""

    password: str = field(default="", repr=False)
    """What proves it."""

    tls: Tls | None = None
    """None is plain text, and TLS never becomes that."""

    keepalive: int = 15
    """Seconds of silence after which each side asks whether the other lives."""

    protocol: int = 5
    """5, or 4 for MQTT 3.1.1."""

    @property
    def modern(self) -> bool:
        """It speaks MQTT 5: with reasons, expiry and a bound on packets."""
        return self.protocol == _MQTT_5

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def is_reachable(broker: Broker) -> bool:
    """Somebody takes connections at its port."""
    try:
        with socket.create_connection((broker.host, broker.port), timeout=1.0):
            return True
    except OSError:
        return False


def speaks_older(broker: Broker, patience: float = 3.0) -> bool:
    """It answers MQTT 3.1.1, whether it lets us in or not."""
    name = f"headnod-{secrets.token_hex(4)}".encode()
    content = b"\x00\x04MQTT\x04\x02" + struct.pack(">HH", broker.keepalive, len(name)) + name
    try:
        with ExitStack() as opened:
            connection = opened.enter_context(socket.create_connection((broker.host, broker.port), timeout=patience))
            if broker.tls is not None:
                connection = opened.enter_context(
                    broker.tls.context().wrap_socket(connection, server_hostname=broker.host)
                )
            connection.sendall(bytes([_CONNECT, len(content)]) + content)
            answer = connection.recv(4)
            connection.sendall(_DISCONNECT)
    except OSError:
        return False
    return answer[:2] == _CONNACK and answer[3:] != _OTHER_VERSION


def _load(setting: str, path: Path, load: Callable[[], None]) -> None:
    try:
        load()
    except ssl.SSLError as error:
        message = f"{setting}: {path}: is no PEM file that fits ({error.reason or error})"
        raise ConfigError(message) from None
    except OSError as error:
        message = f"{setting}: {path}: {(error.strerror or str(error)).lower()}"
        raise ConfigError(message) from None


def _no_password() -> str:
    # Without this, OpenSSL would ask the terminal, where nobody sits.
    return ""
