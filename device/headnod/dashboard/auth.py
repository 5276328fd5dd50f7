"""Access to the page: who may read, and who may change. Every request is checked here before it is answered.

Without a password the page is for this machine alone, and the Host header is checked against DNS rebinding. With one, a
browser logs in once and has a session: a random token in a cookie, kept in memory only, so after a restart of the page
every browser logs in again. Other programs send HTTP Basic authentication (RFC 7617) with each request. Passwords are
compared in constant time and limited in attempts per address. A change needs the owner's role and a token that other
sites cannot read.

Files of the page need no log-in, because they hold no data and the log-in is one of them; events, metrics and the
JSON interface need a role.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from headnod.dashboard.routing import HttpRequest, Message, Receive, RequestError, Response, Scope, Send, json_response

if TYPE_CHECKING:
    from headnod.dashboard.routing import Endpoint
    from headnod.dashboard.server import Connections

_log = logging.getLogger(__name__)

SESSIONS = 256
"""Limit of sessions of one role: beyond it the one that was used longest ago ends. Readers log no owner out."""

IDLE_SECONDS = 30 * 86_400.0
"""Seconds after its last use when a session ends."""

_LONGEST_COOKIE = 4096

TRIES = 5
"""Wrong passwords that one address may send in `WINDOW_SECONDS`."""

WINDOW_SECONDS = 60.0
"""Length of the time window of all limits."""

LINES = 10
"""Wrong passwords that are logged in `WINDOW_SECONDS`, of all addresses; of one address it is one."""

_ADDRESSES = 1024
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READING = frozenset({"GET", "HEAD"})

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_BUSY = "Too many requests at once; the page answers more of them after a log-in."

_PRIVATE = ("/api/", "/events", "/metrics")


class Role(StrEnum):
    """What a person may do."""

    OWNER = "owner"
    """Read and change everything."""

    READER = "reader"
    """Read everything."""


class Sessions:
    """Tokens of browsers that have logged in, by their hash, so that a lookup takes no time that depends on a token."""

    def __init__(self, port: int, *, secure: bool, monotonic: Callable[[], float]) -> None:
        """Start without sessions.

        Cookies are named for the port, because browsers share them between the ports of a host. With TLS (`secure`)
        they are sent by TLS only.
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


class Visitor(NamedTuple):
    """The person or program that sends a request."""

    role: Role | None
    """Its role; None before a log-in."""

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

        `password` is that of the owner, `reader` that of the readers; `everyone` is the role without a password, on a
        page that is open.
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
        """Whether there is a password to log in with."""
        return bool(self._secrets)

    def identify(self, *, host: str, authorization: str, cookie: str, address: str) -> Visitor:
        """The visitor that sends a request.

        Raises:
            RequestError: The request comes by another name of this machine, or with a password that is not accepted.
        """
        if self.local and _name_of(host) not in _LOCAL_NAMES:
            raise RequestError("Without a password this page is for this machine alone: open http://localhost.", 421)
        if token := self.sessions.token_of(cookie):
            role = self.sessions.role(token)
            if role is not None:
                return Visitor(role, token)
        if authorization and self._secrets:
            return Visitor(self.check(_password_of(authorization), address))
        return Visitor(self._everyone)

    def is_trusted(self, visitor: Visitor) -> bool:
        """Whether a visitor has logged in, or is this machine."""
        return visitor.role is not None and (self.local or visitor.role is not self._everyone)

    def check(self, password: str, address: str) -> Role:
        """The role of a password that comes from an address.

        Raises:
            RequestError: It is wrong, or the address sent too many wrong ones before.
        """
        source = network(address)
        if self._is_guessing(source):
            raise RequestError("too many wrong passwords", 429, {"Retry-After": f"{WINDOW_SECONDS:.0f}"})
        given = _hash(password)
        # All are compared, so the time does not depend on the password.
        roles = [role for role, secret in self._secrets.items() if hmac.compare_digest(given, secret)]
        if roles:
            self._wrong.pop(source, None)
            return roles[0]
        wrong = self._wrong.setdefault(source, deque(maxlen=TRIES))
        wrong.append(self._monotonic())
        self._log_attempt(source, address)
        self._wrong.move_to_end(source)
        while len(self._wrong) > _ADDRESSES:
            self._wrong.popitem(last=False)
        raise RequestError("the password is wrong", 401)

    def authorize(self, visitor: Visitor, method: str, *, csrf: str) -> None:
        """Let a visitor send a request; methods other than `GET` and `HEAD` change something.

        Raises:
            RequestError: The visitor may not.
        """
        if visitor.role is None:
            raise RequestError("A password is needed.", 401)
        if method not in _READING and (visitor.role is not Role.OWNER or not self.is_own_page(visitor, csrf)):
            raise RequestError("Only the owner may change this, from the page or with X-CSRF-Token.", 403)

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


class Guard:
    """An ASGI application around another one."""

    def __init__(
        self,
        app: App,
        authenticator: Authenticator,
        connections: Connections,
        endpoints: Iterable[Endpoint],
        *,
        frame_ancestors: Iterable[str] = (),
    ) -> None:
        """Guard an application, which these origins may embed; some endpoints need no log-in."""
        self._app, self._authenticator, self._connections = app, authenticator, connections
        self._public = {(each.method, f"/{each.path}") for each in endpoints if each.public}
        policy = _CONTENT_POLICY.format(ancestors=" ".join(frame_ancestors) or "'none'")
        found = {"Content-Security-Policy": policy, **_HEADERS}
        self._headers = [(name.lower().encode(), value.encode("ascii")) for name, value in found.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        request = HttpRequest(scope, receive, {})
        try:
            visitor = scope["visitor"] = self._identify(request)
        except RequestError as error:
            await _refusal(error, request).send(send_guarded)
            return
        if self._authenticator.is_trusted(visitor):
            self._connections.trust(scope.get("client"))
            await self._app(scope, receive, send_guarded)
            return
        with self._connections.request(request.address) as admitted:
            if admitted:
                await self._app(scope, receive, send_guarded)
            else:
                await json_response({"error": _BUSY}, 503, {"Retry-After": "5"}).send(send_guarded)

    def _identify(self, request: HttpRequest) -> Visitor:
        """The visitor that sends a request, which may be answered."""
        headers = request.headers
        visitor = self._authenticator.identify(
            host=headers.get("host", ""),
            authorization=headers.get("authorization", ""),
            cookie=headers.get("cookie", ""),
            address=request.address,
        )
        if not self._is_public(request.scope):
            method, csrf = request.scope["method"], headers.get("x-csrf-token", "")
            self._authenticator.authorize(visitor, method, csrf=csrf)
        return visitor

    def _is_public(self, scope: Scope) -> bool:
        method, path = scope["method"], scope["path"]
        if (method, path) in self._public:
            return True
        return method in _READING and not path.startswith(_PRIVATE)


def _refusal(error: RequestError, request: HttpRequest) -> Response:
    headers = error.headers
    # Browsers send their languages, and would open a window of their own in place of the page's log-in.
    if error.status == HTTPStatus.UNAUTHORIZED and "accept-language" not in request.headers:
        headers = {**headers, "WWW-Authenticate": 'Basic realm="headnod", charset="UTF-8"'}
    return json_response({"error": str(error)}, error.status, headers)
