"""Access: who may look at the page.

Without a password the page is for this machine alone, and a foreign page whose
name suddenly means this machine (DNS rebinding) is told apart by the Host that
its browser sends. With one it is HTTP Basic authentication (RFC 7617), compared in constant time,
and whoever guesses is made to wait.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from headnod.errors import ConfigError

SHORTEST = 8
"""Characters of a password at least."""

TRIES = 5
"""Wrong passwords that one address may send in `WHILE`."""

WHILE = 60.0
"""Seconds."""

LINES = 10
"""Wrong passwords that are logged in `WHILE`, of all addresses."""

_log = logging.getLogger(__name__)

_ADDRESSES = 1024
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class AuthResult(Enum):
    """What becomes of a request."""

    ALLOWED = 200
    NO_PASSWORD = 401
    WRONG_HOST = 421
    TOO_MANY = 429


class Authenticator:
    """Judges requests."""

    def __init__(self, password: str | None, *, monotonic: Callable[[], float]) -> None:
        """Ask for this password; or, without one, for a Host that is this machine's own."""
        self._secret = None if password is None else _hash(password)
        self._monotonic = monotonic
        self._told: deque[float] = deque(maxlen=LINES)
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def authorize(self, *, host: str, authorization: str, address: str) -> AuthResult:
        """Whether a request may be answered.

        Args:
            host: Its Host header.
            authorization: Its Authorization header; empty if it has none.
            address: Where it comes from.
        """
        if self._secret is None:
            return AuthResult.ALLOWED if _name_of(host) in _LOCAL_NAMES else AuthResult.WRONG_HOST
        source = network(address)
        if self._is_guessing(source):
            return AuthResult.TOO_MANY
        if not authorization:
            return AuthResult.NO_PASSWORD
        if hmac.compare_digest(_hash(_password_of(authorization)), self._secret):
            self._wrong.pop(source, None)
            return AuthResult.ALLOWED
        wrong = self._wrong.setdefault(source, deque(maxlen=TRIES))
        wrong.append(self._monotonic())
        self._tell(address, blocked=self._is_guessing(source))
        self._wrong.move_to_end(source)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)
        return AuthResult.NO_PASSWORD

    def _tell(self, address: str, *, blocked: bool) -> None:
        """Log a wrong password; never the password, and not more than `LINES` in `WHILE`."""
        now = self._monotonic()
        if len(self._told) == LINES and now - self._told[0] < WHILE:
            return
        self._told.append(now)
        _log.warning(
            "wrong password from %s%s",
            address,
            f": {TRIES} within {WHILE:.0f} s, so its next ones are refused unread for a while" if blocked else "",
        )

    def _is_guessing(self, source: str) -> bool:
        wrong = self._wrong.get(source)
        return wrong is not None and len(wrong) == TRIES and self._monotonic() - wrong[0] < WHILE


def is_local(host: str) -> bool:
    """Whether a server bound to this host is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def password_from(path: Path) -> str:
    """The password in a file: its first line.

    Raises:
        ConfigError: It cannot be read, or is too short.
    """
    try:
        password = path.read_text("utf-8-sig").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"dashboard.password_file: {path}: {getattr(error, 'strerror', None) or 'is not text'}"
        raise ConfigError(message) from None
    if len(password) < SHORTEST:
        message = f"dashboard.password_file: {path}: the password is shorter than {SHORTEST} characters"
        raise ConfigError(message)
    return password


def _hash(password: str) -> bytes:
    # So that both sides are of one length, whatever was sent.
    return hashlib.sha256(password.encode("utf-8", "surrogateescape")).digest()


def _password_of(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        told = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return ""
    # Any user name will do: there is one password and one page.
    return told.partition(":")[2]


def _name_of(host: str) -> str:
    name = host.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].removesuffix(".")


def network(address: str) -> str:
    """The address of a client, or its network where that is IPv6."""
    # One household of IPv6 has 2**64 addresses to guess from.
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)  # noqa: PLR2004 - IPv6
