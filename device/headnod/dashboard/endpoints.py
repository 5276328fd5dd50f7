"""One endpoint of the JSON interface: its handler, and its description for OpenAPI.

The routes and the OpenAPI document are made from the same endpoints.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from headnod.errors import HeadnodError

LARGEST_BODY = 16_384
"""Bytes of the largest body of a request."""

_BODY_SECONDS = 10.0

Kind = TypeVar("Kind", bound=msgspec.Struct)


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
    """Makes the response of a Starlette request: a Response, or anything that is answered as JSON."""

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


async def read_body(request: Any, kind: type[Kind]) -> Kind:  # noqa: ANN401 - a Starlette request
    """The body of a request, which must be JSON: a form of another site cannot send that.

    Raises:
        RequestError: It is not JSON, too large, not valid, or does not come in time.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError("the body must be application/json", 415)
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST_BODY:
                    message = f"the body is larger than {LARGEST_BODY} bytes"
                    raise RequestError(message, 413)
    except TimeoutError:
        message = f"the body did not come within {_BODY_SECONDS:.0f} s"
        raise RequestError(message, 408) from None
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"the body is not valid: {error}"
        raise RequestError(message, 400) from None
