"""The address of a broker, our login, and how TLS verifies the broker."""

from __future__ import annotations

import secrets
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from headnod.errors import ConfigError

_MQTT_5 = 5
_CONNECT, _CONNACK, _OTHER_VERSION, _DISCONNECT = 0x10, b"\x20\x02", b"\x01", b"\xe0\x00"
"""Parts of packets of MQTT 3.1.1."""


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
            with _named_errors("mqtt.ca_file", self.ca):
                context.load_verify_locations(cafile=self.ca)
        if self.certificate is not None:
            with _named_errors("mqtt.cert_file", self.certificate):
                # Without a password OpenSSL would ask for it on the terminal.
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True)
class Broker:
    """A broker, and our login."""

    host: str
    """Name or address."""

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

    @property
    def modern(self) -> bool:
        """MQTT 5, with reason codes, message expiry and a limit of the packet size."""
        return self.protocol == _MQTT_5

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def is_reachable(broker: Broker) -> bool:
    """Whether its port accepts TCP connections."""
    try:
        with socket.create_connection((broker.host, broker.port), timeout=1.0):
            return True
    except OSError:
        return False


def speaks_older(broker: Broker, timeout: float = 3.0) -> bool:
    """Whether it answers MQTT 3.1.1, be it with a refusal."""
    name = f"headnod-{secrets.token_hex(4)}".encode()
    content = b"\x00\x04MQTT\x04\x02" + struct.pack(">HH", broker.keepalive, len(name)) + name
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection((broker.host, broker.port), timeout=timeout))
            if broker.tls is not None:
                context = broker.tls.context()
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=broker.host))
            connection.sendall(bytes([_CONNECT, len(content)]) + content)
            answer = connection.recv(4)
            connection.sendall(_DISCONNECT)
    except (OSError, ConfigError):
        return False
    return answer[:2] == _CONNACK and answer[3:] != _OTHER_VERSION


@contextmanager
def _named_errors(setting: str, path: Path) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        message = f"{setting}: {path}: is not a matching PEM file ({error.reason or error})"
        raise ConfigError(message) from None
    except OSError as error:
        message = f"{setting}: {path}: {(error.strerror or str(error)).lower()}"
        raise ConfigError(message) from None
