"""Access to the page.

Without a password the page is for this machine alone, and the Host header is checked
against DNS rebinding. With a password it uses HTTP Basic authentication (RFC 7617),
compared in constant time and limited in attempts per address.
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

TRIES = 5
"""Wrong passwords that one address may send in `WINDOW_SECONDS`."""

WINDOW_SECONDS = 60.0
"""Length of the time window of all limits."""

LINES = 10
"""Wrong passwords that are logged in `WINDOW_SECONDS`, of all addresses."""

_log = logging.getLogger(__name__)

_ADDRESSES = 1024
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class AuthResult(Enum):
    """Result of the check of a request, as an HTTP status."""

    ALLOWED = 200
    NO_PASSWORD = 401
    WRONG_HOST = 421
    TOO_MANY = 429


class Authenticator:
    """Checks requests."""

    def __init__(self, password: str | None, *, monotonic: Callable[[], float]) -> None:
        """Require a password or, if None, a Host header of this machine."""
        self._secret = None if password is None else _hash(password)
        self._monotonic = monotonic
        self._logged: deque[float] = deque(maxlen=LINES)
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def authorize(self, *, host: str, authorization: str, address: str) -> AuthResult:
        """Check a request.

        Args:
            host: Host header.
            authorization: Authorization header; empty if absent.
            address: IP address of the client.
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
        self._log_attempt(address, blocked=self._is_guessing(source))
        self._wrong.move_to_end(source)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)
        return AuthResult.NO_PASSWORD

    def _log_attempt(self, address: str, *, blocked: bool) -> None:
        """Log a wrong password without the password, at most `LINES` times in `WINDOW_SECONDS`."""
        now = self._monotonic()
        if len(self._logged) == LINES and now - self._logged[0] < WINDOW_SECONDS:
            return
        self._logged.append(now)
        _log.warning(
            "wrong password from %s%s",
            address,
            f": {TRIES} within {WINDOW_SECONDS:.0f} s, so further ones are refused for a while" if blocked else "",
        )

    def _is_guessing(self, source: str) -> bool:
        wrong = self._wrong.get(source)
        return wrong is not None and len(wrong) == TRIES and self._monotonic() - wrong[0] < WINDOW_SECONDS


def is_local(host: str) -> bool:
    """Whether a server bound to this host can be reached only from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hash(password: str) -> bytes:
    # A hash, so that both sides of the comparison have one length.
    return hashlib.sha256(password.encode("utf-8", "surrogateescape")).digest()


def _password_of(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return ""
    # Any user name is accepted.
    return text.partition(":")[2]


def _name_of(host: str) -> str:
    name = host.lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].removesuffix(".")


def network(address: str) -> str:
    """The IPv4 address of a client, or its /64 network of IPv6, which one household has for itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)  # noqa: PLR2004 - IPv6
