"""The address of a broker, the login, and how TLS verifies the broker."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headnod.errors import ConfigError

Transport = Literal["tcp", "websockets", "unix"]

_MQTT_5 = 5


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
    if "CERTIFICATE-----" not in certificate.read_text("utf-8", errors="replace"):
        return
    content = key.read_text("utf-8", errors="replace")
    if "PRIVATE KEY-----" not in content:
        fault = f"holds no private key (name the file with the key of {certificate})"
    elif "ENCRYPTED" in content:
        fault = f"is encrypted, and nobody is asked for its passphrase ('openssl pkey -in {key}' writes it without one)"
    if fault:
        message = f"mqtt.key_file: {key}: {fault}"
        raise ConfigError(message)


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
