"""Sessions of browsers that have logged in, and the tokens against cross-site requests.

A session is a random token in a cookie, kept in memory only: after a restart of the page everyone logs in again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum

SESSIONS = 256
"""Limit of sessions of one role: beyond it the one that was used longest ago ends. Readers log no owner out."""

IDLE_SECONDS = 30 * 86_400.0
"""Seconds after its last use when a session ends."""

_LONGEST_COOKIE = 4096


class Role(StrEnum):
    """What a person may do."""

    OWNER = "owner"
    """Read and change everything."""

    READER = "reader"
    """Read everything."""


class Sessions:
    """Tokens of those who have logged in, by their hash, so that a lookup takes no time that depends on a token."""

    def __init__(self, port: int, *, secure: bool, monotonic: Callable[[], float]) -> None:
        """Start without sessions.

        Args:
            port: Port of the page; browsers share cookies between the ports of a host.
            secure: Whether the page is served by TLS, and the cookie sent by TLS only.
            monotonic: Monotonic clock, in seconds.
        """
        self.cookie = f"headnod_{port}"
        """Name of the cookie."""
        self._secure, self._monotonic = secure, monotonic
        self._sessions: OrderedDict[bytes, tuple[Role, float]] = OrderedDict()
        self._key = secrets.token_bytes(32)

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, role: Role) -> str:
        """Open a session; returns its token."""
        token = secrets.token_urlsafe(32)
        self._sessions[_hash(token)] = role, self._monotonic()
        same = [key for key, (other, _) in self._sessions.items() if other is role]
        for key in same[:-SESSIONS]:
            del self._sessions[key]
        return token

    def role(self, token: str) -> Role | None:
        """The role of a session, which is used now; None without one."""
        key, now = _hash(token), self._monotonic()
        found = self._sessions.pop(key, None)
        if found is None or now - found[1] > IDLE_SECONDS:
            return None
        self._sessions[key] = found[0], now
        return found[0]

    def close(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_hash(token), None)

    def csrf(self, token: str) -> str:
        """What a page sends with every change in `X-CSRF-Token`; `token` is empty for a page without a session."""
        return hmac.new(self._key, token.encode(), hashlib.sha256).hexdigest()

    def token_of(self, header: str) -> str:
        """The token in a Cookie header; empty without one."""
        pairs = (each.strip().partition("=") for each in header[:_LONGEST_COOKIE].split(";"))
        return next((value for name, _, value in pairs if name == self.cookie), "")

    def set_cookie(self, token: str) -> str:
        """The Set-Cookie header for a token; an empty one removes the cookie."""
        age = round(IDLE_SECONDS) if token else 0
        secure = "; Secure" if self._secure else ""
        return f"{self.cookie}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
