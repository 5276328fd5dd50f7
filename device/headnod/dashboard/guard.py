"""Checks every request before the page answers it, and adds the headers to every response.

Files of the page are for everyone, because they hold no data and the log-in is one of them; events, metrics and the
JSON interface need a role.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from headnod.dashboard.auth import WINDOW_SECONDS, Authenticator, AuthResult
from headnod.dashboard.connections import Connections
from headnod.dashboard.endpoints import Endpoint

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
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

_REASONS = {
    AuthResult.NO_PASSWORD: "A password is needed.",
    AuthResult.FORBIDDEN: "Only the owner may change this, from the page or with X-CSRF-Token.",
    AuthResult.WRONG_HOST: "Without a password this page is for this machine alone: open http://localhost.",
    AuthResult.TOO_MANY: "Too many wrong passwords.",
}
_BUSY = "Too many requests at once; the page answers more to those who have logged in."

_PRIVATE = ("/api/", "/events", "/metrics")


def headers(frame_ancestors: Iterable[str] = ()) -> list[tuple[bytes, bytes]]:
    """The headers of every response; the page may be embedded by these origins only."""
    policy = _CONTENT_POLICY.format(ancestors=" ".join(frame_ancestors) or "'none'")
    found = {"Content-Security-Policy": policy, **_HEADERS}
    return [(name.lower().encode(), value.encode("ascii")) for name, value in found.items()]


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
        """Guard an application.

        Args:
            app: Answers what is allowed.
            authenticator: Checks who sends a request.
            connections: Limits those who have not logged in.
            endpoints: The JSON interface, some of which is for everyone.
            frame_ancestors: Origins that may embed the page.
        """
        self._app, self._authenticator, self._connections = app, authenticator, connections
        self._public = {(each.method, f"/{each.path}") for each in endpoints if each.public}
        self._headers = headers(frame_ancestors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        received = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        client = scope.get("client") or ("", 0)
        result, visitor = self._authenticator.identify(
            host=received.get(b"host", ""),
            authorization=received.get(b"authorization", ""),
            cookie=received.get(b"cookie", ""),
            address=client[0],
        )
        scope["visitor"] = visitor
        if result is AuthResult.ALLOWED and not self._is_public(scope):
            result = self._authenticator.may(visitor, scope["method"], csrf=received.get(b"x-csrf-token", ""))
        if result is not AuthResult.ALLOWED:
            await _refuse(result, received, send_guarded)
        elif self._authenticator.is_trusted(visitor):
            self._connections.trust(scope.get("client"))
            await self._app(scope, receive, send_guarded)
        else:
            with self._connections.request(client[0]) as admitted:
                if admitted:
                    await self._app(scope, receive, send_guarded)
                else:
                    await _answer(503, _BUSY, {"Retry-After": "5"}, send_guarded)

    def _is_public(self, scope: Scope) -> bool:
        method, path = scope["method"], scope["path"]
        if (method, path) in self._public:
            return True
        return method in {"GET", "HEAD"} and not path.startswith(_PRIVATE)


async def _refuse(result: AuthResult, received: dict[bytes, str], send: Send) -> None:
    more = {}
    # Browsers send their languages, and would open a window of their own in place of the page's log-in.
    if result is AuthResult.NO_PASSWORD and b"accept-language" not in received:
        more["WWW-Authenticate"] = 'Basic realm="headnod", charset="UTF-8"'
    if result is AuthResult.TOO_MANY:
        more["Retry-After"] = f"{WINDOW_SECONDS:.0f}"
    await _answer(result.value, _REASONS[result], more, send)


async def _answer(status: int, reason: str, more: dict[str, str], send: Send) -> None:
    body = msgspec.json.encode({"error": reason})
    fixed = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Cache-Control": "no-store"}
    found = [(name.lower().encode(), value.encode()) for name, value in {**fixed, **more}.items()]
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body})
