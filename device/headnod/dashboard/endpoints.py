"""The endpoints of the JSON interface: their handlers, and the OpenAPI 3.1 document that is made from them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from headnod import __version__
from headnod.errors import HeadnodError

LARGEST_BODY = 16_384
"""Bytes of the largest body of a request."""

REQUEST_SECONDS = 10.0
"""Seconds within which a request, and then its body, must be complete."""

Kind = TypeVar("Kind", bound=msgspec.Struct)

_PARAMETER = re.compile(r"\{(\w+)\}")

_REFERENCE = "#/components/schemas/{name}"


class RequestError(HeadnodError, ValueError):
    """A request is refused with an HTTP status."""

    def __init__(self, reason: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        """Give the reason to the client as JSON."""
        super().__init__(reason)
        self.status, self.headers = status, dict(headers or {})


@dataclass(frozen=True)
class Endpoint:
    """One method of one path."""

    method: str
    """`GET`, `POST`, `PATCH` or `DELETE`."""

    path: str
    """Path below the page, with parameters in braces, such as `api/v1/listeners/{node}/songs`."""

    handler: Callable[[Any], Awaitable[Any]]
    """Makes the response of a request: a `Response`, or anything that is answered as JSON."""

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


async def read_body(request: Any, kind: type[Kind]) -> Kind:  # noqa: ANN401 - a request of `routing`
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
        for name in _PARAMETER.findall(endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in endpoint.query.items()
    ]
