"""The JSON interface under `api/v1`, which the page itself uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headnod.dashboard.history_api import History, HistoryApi, LocalHistory
from headnod.dashboard.listener_link import CommandError
from headnod.dashboard.server import Request, Response, Route, StreamingResponse

if TYPE_CHECKING:
    from headnod.dashboard.site import Site


def answer(content: object, status: int = 200) -> Response:
    """A response of JSON, which no cache keeps."""
    body = bytes(content) if isinstance(content, msgspec.Raw) else msgspec.json.encode(content)
    return Response(body, status, {"Content-Type": "application/json", "Cache-Control": "no-store"})


def refusal(reason: str, status: int = 400) -> Response:
    """An error as JSON."""
    return answer({"error": reason}, status)


async def call(site: Site, command: str, **arguments: object) -> Response:
    """Let the listener apply a command; its answer, or the reason of its refusal, as a response."""
    if site.link is None:
        return refusal("this page is not served by a listener", 404)
    try:
        return answer(await site.link.call(command, **arguments))
    except CommandError as error:
        return refusal(str(error), 409)


def api_routes(site: Site) -> list[Route]:
    """The routes of session, listeners and their histories."""
    settings = site.settings

    def history_of(node: str) -> History | None:
        return LocalHistory(Path(settings.history)) if node == settings.node and settings.history else None

    histories = HistoryApi(history_of)

    async def session(_request: Request) -> Response:
        content: dict[str, Any] = {
            "role": "owner",
            "password": settings.password is not None,
            "csrf": "",
            "local": settings.node or None,
        }
        return answer(content)

    async def listeners(_request: Request) -> Response:
        return answer([each for some in site.fleet.snapshot() for each in some])

    async def history(request: Request) -> Response:
        node, part = request.path_params["node"], request.path_params["part"]
        found = await histories.get(node, part, request.query_params)
        return StreamingResponse(found.body, found.status, {"Cache-Control": "no-store", **found.headers})

    return [
        Route("/api/v1/session", session, methods=["GET"]),
        Route("/api/v1/listeners", listeners, methods=["GET"]),
        Route("/api/v1/listeners/{node}/{part}", history, methods=["GET"]),
    ]
