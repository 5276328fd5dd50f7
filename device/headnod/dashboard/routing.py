"""Requests, responses and their routes: an ASGI application.

A framework such as Starlette would take 2.6 MiB of memory more.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from headnod.dashboard.endpoints import RequestError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = logging.getLogger(__name__)

_PARAMETER = re.compile(r"\\\{(\w+)\\\}")
_NO_BODY = {204, 304}


class ClientDisconnectError(Exception):
    """The client has gone while it sent the body."""


class HttpRequest:
    """A request, whose path and query are decoded."""

    def __init__(self, scope: Scope, receive: Receive, path_params: dict[str, str]) -> None:
        """Read a request of ASGI.

        Args:
            scope: Its description.
            receive: Gives parts of the body, and says when the client has gone.
            path_params: Parts of the path by the names in its route.
        """
        self.scope, self.receive, self.path_params = scope, receive, path_params
        client = scope.get("client")
        self.address: str = client[0] if client else ""
        """IP address of the client; empty if unknown."""

    @cached_property
    def headers(self) -> dict[str, str]:
        """Headers by their name in lower case; the first of a name that comes twice."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(self.scope["headers"])}

    @cached_property
    def query(self) -> dict[str, str]:
        """Parameters of the query; the last of a name that comes twice."""
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))

    async def stream(self) -> AsyncIterator[bytes]:
        """The parts of the body.

        Raises:
            ClientDisconnectError: The client has gone before the end.
        """
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnectError
            yield message.get("body", b"")
            more = message.get("more_body", False)


class Response:
    """A response, whose body is whole or comes in pieces."""

    def __init__(
        self, body: bytes | AsyncIterator[bytes] | None, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with a body, an HTTP status and headers; without a body, a subclass sends one."""
        self._body = body
        found = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        if isinstance(body, bytes) and status not in _NO_BODY:
            found.append((b"content-length", b"%d" % len(body)))
        self.start = {"type": "http.response.start", "status": status, "headers": found}
        """The message of ASGI that begins it."""

    async def send(self, send: Send) -> None:
        """Send it."""
        await send(self.start)
        last = self._body
        if not (last is None or isinstance(last, bytes)):
            async for piece in last:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            last = None
        await send({"type": "http.response.body", "body": last or b""})


Handler = Callable[[HttpRequest], Awaitable[Any]]
"""Makes a `Response`, or anything that is answered as JSON."""


class Router:
    """Finds the handler of a request, and answers it. A handler of `GET` answers `HEAD` too."""

    def __init__(self) -> None:
        """Start without routes."""
        self._routes: dict[str, tuple[re.Pattern[str], dict[str, Handler]]] = {}

    def add(self, method: str, path: str, handler: Handler, part: str = "[^/]+") -> None:
        """Let a handler answer a path, whose parameters in braces match the expression `part`."""
        pattern = re.compile(_PARAMETER.sub(rf"(?P<\1>{part})", re.escape(path)))
        self._routes.setdefault(path, (pattern, {}))[1][method] = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of ASGI."""
        with contextlib.suppress(ClientDisconnectError):
            await (await self._answer(scope, receive)).send(send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        allowed: list[str] = []
        for pattern, handlers in self._routes.values():
            if (match := pattern.fullmatch(scope["path"])) is None:
                continue
            if method in handlers:
                return await _respond(handlers[method], HttpRequest(scope, receive, match.groupdict()))
            allowed += handlers
        if allowed:
            return json_response({"error": "this address has other methods"}, 405, {"Allow": ", ".join(allowed)})
        return json_response({"error": "there is nothing at this address"}, 404)


async def _respond(handler: Handler, request: HttpRequest) -> Response:
    try:
        found = await handler(request)
    except RequestError as error:
        return json_response({"error": str(error)}, error.status, error.headers)
    except ClientDisconnectError:
        raise
    except Exception:
        _log.exception("a request of the page failed: %s %a", request.scope["method"], request.scope["path"][:200])
        return json_response({"error": "it failed: see headnod's log"}, 500)
    return found if isinstance(found, Response) else json_response(found)


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response of JSON, which no cache keeps."""
    body = bytes(content) if isinstance(content, msgspec.Raw) else msgspec.json.encode(content)
    return Response(body, status, {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})})
