"""The JSON interface under `api/v1`, which the page itself uses: session, listeners and their histories."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headnod.dashboard.auth import WINDOW_SECONDS, AuthResult, Visitor
from headnod.dashboard.controls_api import control_endpoints
from headnod.dashboard.endpoints import Endpoint, RequestError, read_body
from headnod.dashboard.history_api import History, HistoryApi, LocalHistory
from headnod.dashboard.listener_link import CommandError
from headnod.dashboard.openapi import document
from headnod.dashboard.prometheus import MEDIA, exposition
from headnod.dashboard.server import PieceResponse, Request, Response, json_response

if TYPE_CHECKING:
    from headnod.dashboard.site import Site

_CROSS_SITE = {"cross-site", "same-site"}


class LogIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a log-in."""

    password: str
    """The owner's password, or the readers'."""


class SessionState(msgspec.Struct, frozen=True):
    """Who uses the page."""

    role: str | None
    """`owner`, `reader`, or null before a log-in."""

    password: bool
    """Whether there is a password to log in with."""

    logged_in: bool
    """Whether this browser has a session."""

    csrf: str
    """Value of the header `X-CSRF-Token` of every request that changes something."""

    local: str | None
    """Name of the listener that serves the page; null for `headnod dashboard`."""

    remote_history: bool
    """Whether the histories of other listeners can be requested through a broker."""

    version: str
    """Version of headnod; empty before a log-in."""


async def call(site: Site, command: str, **arguments: object) -> msgspec.Raw:
    """Let the listener apply a command; returns its answer as JSON.

    Raises:
        RequestError: The page is not served by a listener, or the listener refuses.
    """
    if site.link is None:
        raise RequestError("this page is not served by a listener (headnod listen --web)", 404)
    try:
        return await site.link.call(command, **arguments)
    except CommandError as error:
        raise RequestError(str(error), 409) from None


def visitor_of(request: Request) -> Visitor:
    """Who sends a request."""
    visitor: Visitor = request.scope["visitor"]
    return visitor


class SessionApi:
    """Log-in, log-out, and who uses the page."""

    def __init__(self, site: Site) -> None:
        """Answer for a page."""
        self._settings, self._authenticator = site.settings, site.authenticator
        self._sessions = site.authenticator.sessions

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints."""
        path = "api/v1/session"
        return [
            Endpoint("GET", path, self._show, "Who uses the page", SessionState, public=True),
            Endpoint("POST", path, self._log_in, "Log in; sets a cookie", SessionState, LogIn, public=True),
            Endpoint("DELETE", path, self._log_out, "Log out", public=True),
        ]

    def _state(self, visitor: Visitor) -> SessionState:
        return SessionState(
            role=visitor.role,
            password=self._authenticator.has_password,
            logged_in=bool(visitor.token),
            csrf=self._sessions.csrf(visitor.token),
            local=self._settings.node or None,
            remote_history=self._settings.broker is not None,
            version=self._settings.version if visitor.role is not None else "",
        )

    async def _show(self, request: Request) -> SessionState:
        return self._state(visitor_of(request))

    async def _log_in(self, request: Request) -> Response:
        if request.headers.get("sec-fetch-site", "") in _CROSS_SITE:
            raise RequestError("another site may not log in here", 403)
        password = (await read_body(request, LogIn)).password
        if not self._authenticator.has_password:
            raise RequestError("there is no password to log in with", 404)
        result, role = self._authenticator.check(password, request.client.host if request.client else "")
        if result is AuthResult.TOO_MANY:
            raise RequestError("too many wrong passwords", 429, {"Retry-After": f"{WINDOW_SECONDS:.0f}"})
        if role is None:
            raise RequestError("the password is wrong", 401)
        self._sessions.close(visitor_of(request).token)
        token = self._sessions.open(role)
        cookie = {"Set-Cookie": self._sessions.set_cookie(token)}
        return json_response(self._state(Visitor(role, token)), headers=cookie)

    async def _log_out(self, request: Request) -> Response:
        visitor = visitor_of(request)
        if not visitor.token or not self._authenticator.is_own_page(visitor, request.headers.get("x-csrf-token", "")):
            raise RequestError("nobody is logged in, or X-CSRF-Token is wrong", 403)
        self._sessions.close(visitor.token)
        return json_response(None, 200, {"Set-Cookie": self._sessions.set_cookie("")})


_SPAN = {"from": "seconds since 1970; a day before `to` if absent", "to": "seconds since 1970; now if absent"}
_DOWNLOAD = {"download": "present for a file"}
_HISTORY = {
    "songs": ("Songs that ended in a time", {**_SPAN, "format": "`json` or `csv`", **_DOWNLOAD}),
    "hours": ("Seconds of each genre in every hour", _SPAN),
    "days": ("Seconds of each genre in every day", {"year": "such as 2026; the last twelve months if absent"}),
    "firsts": ("The first song of each genre", {}),
    "timeline": ("Runs of one genre", _SPAN),
    "week.svg": ("The week on a card", {"to": _SPAN["to"], **_DOWNLOAD}),
}


def listener_endpoints(site: Site) -> list[Endpoint]:
    """The state of all listeners, and their histories."""
    settings = site.settings

    def history_of(node: str) -> History | None:
        if node == settings.node:
            return LocalHistory(Path(settings.history)) if settings.history else None
        return site.remote.history_of(node) if settings.broker is not None else None

    histories = HistoryApi(history_of)

    async def listeners(_request: Request) -> list[dict[str, Any]]:
        return [each for some in site.fleet.snapshot() for each in some]

    def history(part: str) -> Any:  # noqa: ANN401 - a handler
        async def answer(request: Request) -> Response:
            found = await histories.get(request.path_params["node"], part, request.query_params)
            return PieceResponse(found.body, found.status, {"Cache-Control": "no-store", **found.headers})

        return answer

    media = {"week.svg": "image/svg+xml"}
    found = [Endpoint("GET", "api/v1/listeners", listeners, "All listeners", list[dict[str, Any]])]
    for part, (summary, query) in _HISTORY.items():
        path = f"api/v1/listeners/{{node}}/{part}"
        kind = media.get(part, "application/json")
        found.append(Endpoint("GET", path, history(part), summary, query=query, media=kind))
    return found


def all_endpoints(site: Site) -> list[Endpoint]:
    """Every endpoint of the interface, its description among them."""

    async def metrics(_request: Request) -> Response:
        text = exposition(each for some in site.fleet.snapshot() for each in some)
        return Response(text, 200, {"Content-Type": MEDIA, "Cache-Control": "no-store"})

    found = [*SessionApi(site).endpoints, *listener_endpoints(site), *control_endpoints(partial(call, site))]
    found.append(Endpoint("GET", "metrics", metrics, "All listeners as metrics of Prometheus", media="text/plain"))

    async def description(_request: Request) -> dict[str, Any]:
        return document(found)

    found.append(
        Endpoint("GET", "api/v1/openapi.json", description, "This interface as OpenAPI", dict[str, Any], public=True)
    )
    return found
