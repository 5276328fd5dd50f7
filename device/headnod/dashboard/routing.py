"""Requests, responses and their routes: an ASGI application; and the endpoints of the JSON interface, as OpenAPI 3.1.

A framework such as Starlette would take 2.6 MiB of memory more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from headnod import __version__
from headnod.errors import HeadnodError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Kind = TypeVar("Kind", bound=msgspec.Struct)

LARGEST_BODY = 16_384
"""Bytes of the largest body of a request."""

REQUEST_SECONDS = 10.0
"""Seconds within which a request, and then its body, must be complete."""

_log = logging.getLogger(__name__)

_PARAMETER, _NAMED = re.compile(r"\\\{(\w+)\\\}"), re.compile(r"\{(\w+)\}")
"""A parameter in an escaped path, and in a path."""
_NO_BODY = {204, 304}
_REFERENCE = "#/components/schemas/{name}"


class RequestError(HeadnodError, ValueError):
    """A request is refused with an HTTP status."""

    def __init__(self, reason: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        """Give the reason to the client as JSON."""
        super().__init__(reason)
        self.status, self.headers = status, dict(headers or {})


class ClientDisconnectError(Exception):
    """The client has gone while it sent the body."""


class HttpRequest:
    """A request, whose path and query are decoded."""

    def __init__(self, scope: Scope, receive: Receive, path_params: dict[str, str]) -> None:
        """Read a request of ASGI.

        `receive` gives parts of the body, and says when the client has gone; `path_params` has parts of the path by
        their names in the route.
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


@dataclass(frozen=True)
class Endpoint:
    """One method of one path."""

    method: str
    """`GET`, `POST`, `PATCH` or `DELETE`."""

    path: str
    """Path below the page, with parameters in braces, such as `api/v1/listeners/{node}/songs`."""

    handler: Handler

    summary: str
    """What it does, in one line."""

    answer: Any = None
    """Type of the answer, from which its schema is made; None for no description."""

    body: type[msgspec.Struct] | None = None
    """Type of the request's body; None for none."""

    query: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the query, with their meaning."""

    public: bool = False
    """It is answered before a log-in."""

    media: str = "application/json"
    """Media type of the answer."""


async def read_body(request: HttpRequest, kind: type[Kind]) -> Kind:
    """The body of a request, which must be JSON: a form of another site cannot send that.

    Raises:
        RequestError: It is not JSON, too large, not valid, or does not come in time.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError("the body must be application/json", 415)
    body = b""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST_BODY:
                    raise RequestError(f"the body is larger than {LARGEST_BODY} bytes", 413)
    except TimeoutError:
        raise RequestError(f"the body did not come within {REQUEST_SECONDS:.0f} s", 408) from None
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(f"the body is not valid: {error}", 400) from None


class Problem(msgspec.Struct, frozen=True):
    """The answer to a request that is refused."""

    error: str
    """The reason, in one line."""


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The document that describes these endpoints."""
    endpoints = list(endpoints)
    kinds = [kind for each in endpoints for kind in (each.answer, each.body) if kind is not None]
    kinds.append(Problem)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    # Types cannot be keys: some, such as list[dict], have no hash of their own in every version.
    schema = dict(zip(map(repr, kinds), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        paths.setdefault(f"/{each.path}", {})[each.method.lower()] = _operation(each, schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "headnod",
            "version": __version__,
            "description": "The interface of the page of a listener. Every request but GET needs the owner's role and "
            "the header X-CSRF-Token with the value `csrf` of the session.",
        },
        "servers": [{"url": "../.."}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "headnod_PORT"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"session": []}, {"basic": []}],
    }


def _operation(endpoint: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {} if endpoint.answer is None else {"schema": schema[repr(endpoint.answer)]}
    refusal = {"content": {"application/json": {"schema": schema[repr(Problem)]}}}
    found: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', endpoint.path.lower()).strip('_')}",
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            "200": {"description": "done", "content": {endpoint.media: content}},
            "default": {"description": "refused", **refusal},
        },
    }
    if endpoint.public:
        found["security"] = []
    elif endpoint.method != "GET":
        token = {"name": "X-CSRF-Token", "in": "header", "required": True, "schema": {"type": "string"}}
        found["parameters"].append(token)
    if endpoint.body is not None:
        body = {"application/json": {"schema": schema[repr(endpoint.body)]}}
        found["requestBody"] = {"required": True, "content": body}
    return found


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _NAMED.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in endpoint.query.items()
    ]
