"""Access to the page: who may read, and who may change.

Without a password the page is for this machine alone, and the Host header is checked against DNS rebinding. With one, a
browser logs in once and has a session; other programs send HTTP Basic authentication (RFC 7617) with each request.
Passwords are compared in constant time and limited in attempts per address. A change needs the owner's role and a token
that other sites cannot read.
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
from typing import NamedTuple

from headnod.dashboard.sessions import Role, Sessions

TRIES = 5
"""Wrong passwords that one address may send in `WINDOW_SECONDS`."""

WINDOW_SECONDS = 60.0
"""Length of the time window of all limits."""

LINES = 10
"""Wrong passwords that are logged in `WINDOW_SECONDS`, of all addresses; of one address it is one."""

_log = logging.getLogger(__name__)

_ADDRESSES = 1024
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READING = frozenset({"GET", "HEAD"})


class AuthResult(Enum):
    """Result of the check of a request, as an HTTP status."""

    ALLOWED = 200
    NO_PASSWORD = 401
    FORBIDDEN = 403
    WRONG_HOST = 421
    TOO_MANY = 429


class Visitor(NamedTuple):
    """Who sends a request."""

    role: Role | None
    """What that person may do; None before a log-in."""

    token: str = ""
    """Token of the session; empty without one."""


class Authenticator:
    """Checks requests."""

    def __init__(
        self,
        password: str | None,
        *,
        reader: str | None = None,
        everyone: Role | None = None,
        sessions: Sessions,
        monotonic: Callable[[], float],
    ) -> None:
        """Require a password or, if there is none and `everyone` has no role, a Host header of this machine.

        Args:
            password: The owner's password; None for none.
            reader: The readers' password; None for none.
            everyone: The role without a password, on a page that is open.
            sessions: Sessions of browsers.
            monotonic: Monotonic clock, in seconds.
        """
        given = {Role.OWNER: password, Role.READER: reader}
        self._secrets = {role: _hash(secret) for role, secret in given.items() if secret is not None}
        self.local = not self._secrets and everyone is None
        """Whether the page is for this machine alone."""
        self._everyone = Role.OWNER if self.local else everyone
        self.sessions, self._monotonic = sessions, monotonic
        self._logged: deque[tuple[str, float]] = deque(maxlen=LINES)
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def has_password(self) -> bool:
        """Whether anyone can log in."""
        return bool(self._secrets)

    def identify(self, *, host: str, authorization: str, cookie: str, address: str) -> tuple[AuthResult, Visitor]:
        """Who sends a request, and whether it may be answered at all.

        Args:
            host: Host header.
            authorization: Authorization header; empty if absent.
            cookie: Cookie header; empty if absent.
            address: IP address of the client.
        """
        if self.local and _name_of(host) not in _LOCAL_NAMES:
            return AuthResult.WRONG_HOST, Visitor(None)
        if token := self.sessions.token_of(cookie):
            role = self.sessions.role(token)
            if role is not None:
                return AuthResult.ALLOWED, Visitor(role, token)
        if authorization and self._secrets:
            result, role = self.check(_password_of(authorization), address)
            return result, Visitor(role)
        return AuthResult.ALLOWED, Visitor(self._everyone)

    def is_trusted(self, visitor: Visitor) -> bool:
        """Whether a visitor has logged in, or is this machine."""
        return visitor.role is not None and (self.local or visitor.role is not self._everyone)

    def check(self, password: str, address: str) -> tuple[AuthResult, Role | None]:
        """The role of a password that comes from an address."""
        source = network(address)
        if self._is_guessing(source):
            return AuthResult.TOO_MANY, None
        given = _hash(password)
        # All are compared, so the time tells nothing.
        roles = [role for role, secret in self._secrets.items() if hmac.compare_digest(given, secret)]
        if roles:
            self._wrong.pop(source, None)
            return AuthResult.ALLOWED, roles[0]
        wrong = self._wrong.setdefault(source, deque(maxlen=TRIES))
        wrong.append(self._monotonic())
        self._log_attempt(source, address)
        self._wrong.move_to_end(source)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)
        return AuthResult.NO_PASSWORD, None

    def may(self, visitor: Visitor, method: str, *, csrf: str) -> AuthResult:
        """Whether a visitor may send a request.

        Args:
            visitor: Who sends it.
            method: `GET` and `HEAD` read, all others change.
            csrf: X-CSRF-Token header; empty if absent.
        """
        if visitor.role is None:
            return AuthResult.NO_PASSWORD
        if method in _READING:
            return AuthResult.ALLOWED
        if visitor.role is not Role.OWNER or not self.is_own_page(visitor, csrf):
            return AuthResult.FORBIDDEN
        return AuthResult.ALLOWED

    def is_own_page(self, visitor: Visitor, csrf: str) -> bool:
        """Whether a request comes from this page and not from another site in the same browser."""
        return hmac.compare_digest(csrf.encode(), self.sessions.csrf(visitor.token).encode())

    def _log_attempt(self, source: str, address: str) -> None:
        """Log a wrong password without the password: one line of an address in `WINDOW_SECONDS`, of all `LINES`."""
        now = self._monotonic()
        recent = [logged for logged, when in self._logged if now - when < WINDOW_SECONDS]
        if source in recent or len(recent) == LINES:
            return
        self._logged.append((source, now))
        _log.warning("wrong password from %s (more than %d within %.0f s are refused)", address, TRIES, WINDOW_SECONDS)

    def _is_guessing(self, source: str) -> bool:
        wrong = self._wrong.get(source)
        return wrong is not None and len(wrong) == TRIES and self._monotonic() - wrong[0] < WINDOW_SECONDS


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
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    # A socket at `::` gives IPv4 clients as ::ffff:192.0.2.1, which are all of one /64.
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
