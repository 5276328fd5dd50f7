"""The page and its event stream over HTTP, with Starlette and uvicorn.

Every response, including errors, has headers that restrict the browser to showing the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import socket
from collections.abc import AsyncIterator
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.datastructures import Headers, MutableHeaders
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    from headnod.errors import MissingExtraError
    from headnod.extras import how_to_install

    message = f"the dashboard needs {error.name}: {how_to_install('dashboard')}"
    raise MissingExtraError(message) from None

from headnod.dashboard.auth import WINDOW_SECONDS, Authenticator, AuthResult
from headnod.dashboard.connections import DashboardError, PendingConnections, TimedConnection
from headnod.dashboard.event_stream import EventStream, Subscriber
from headnod.dashboard.listener_link import ListenerLink

if TYPE_CHECKING:
    from headnod.dashboard.site import Site

__all__ = ["HEADERS", "Request", "Response", "Route", "StreamingResponse", "serve"]

_log = logging.getLogger(__name__)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every response."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_REFUSALS = {
    AuthResult.NO_PASSWORD: ("A password is needed.", {"WWW-Authenticate": 'Basic realm="headnod", charset="UTF-8"'}),
    AuthResult.WRONG_HOST: ("Without a password this page is for this machine alone: open http://localhost.", {}),
    AuthResult.TOO_MANY: ("Too many wrong passwords.", {"Retry-After": str(round(WINDOW_SECONDS))}),
}

_CONNECTIONS = 128
_CLOSE_SECONDS = 1


def serve(site: Site, listening: list[socket.socket]) -> None:
    """Serve the page until a signal, or until its listener ends.

    Args:
        site: What the routes use.
        listening: Listening sockets.

    Raises:
        DashboardError: The event stream failed.
    """
    _Server(site).run(sockets=listening)


class _Server(uvicorn.Server):
    """Disconnects browsers at the end, and ends when the event stream fails."""

    def __init__(self, site: Site) -> None:
        from headnod.dashboard.api import api_routes  # noqa: PLC0415 - the routes use the classes above

        self._stream, self._link = site.stream, site.link
        self._failed = False
        routes = [Route("/events", _Events(site.stream, site.link), methods=["GET"]), *api_routes(site)]
        routes += [Route(path, page, methods=["GET"]) for path, page in _pages().items()]
        app = _Guard(Starlette(routes=routes, lifespan=self._streaming), site.authenticator)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=partial(TimedConnection, pending=PendingConnections()),  # type: ignore[arg-type]
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_CLOSE_SECONDS,
        )
        super().__init__(config)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets)
        if self._failed:
            message = "the event stream of the dashboard failed (see the traceback in the log)"
            raise DashboardError(message)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stream.close()
        await super().shutdown(sockets)

    @contextlib.asynccontextmanager
    async def _streaming(self, _app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._stream.run())]
        if self._link is not None:
            tasks.append(asyncio.create_task(self._link.run()))
        for task in tasks:
            task.add_done_callback(self._ended)
        yield
        for task in tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Otherwise the page would be served and never change.
        self.should_exit = True
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the event stream of the dashboard failed", exc_info=error)
            self._failed = True


class _Page:
    """One static file in memory."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content = content
        self._headers = {"Content-Type": kind, "Cache-Control": "no-cache"}
        self._headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = Request(scope).headers.get("if-none-match") == self._headers["ETag"]
        response = Response(b"" if known else self._content, 304 if known else 200, self._headers)
        await response(scope, receive, send)


class _Events:
    """The endpoint of the event stream."""

    def __init__(self, stream: EventStream, link: ListenerLink | None) -> None:
        self._stream, self._link = stream, link

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watches = self._link is not None and "watch" in Request(scope).query_params
        with contextlib.ExitStack() as stack:
            subscriber = stack.enter_context(self._stream.subscriber(watches=watches))
            if subscriber is None:
                refusal = PlainTextResponse("Too many pages are open.", 503, {"Retry-After": "10"})
                await refusal(scope, receive, send)
                return
            if watches and self._link is not None:
                stack.enter_context(self._link.watching())
            await self._serve(subscriber, receive, send)

    @staticmethod
    async def _serve(subscriber: Subscriber, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        # A proxy must not buffer events.
        headers.append((b"x-accel-buffering", b"no"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        endings = (_send_events(subscriber, send), _disconnected(receive), _wait(subscriber.gone))
        tasks = [asyncio.create_task(each) for each in endings]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), _CLOSE_SECONDS)


async def _send_events(subscriber: Subscriber, send: Send) -> None:
    async for event in subscriber.events():
        await send({"type": "http.response.body", "body": event, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


class _Guard:
    """Checks every request, and adds the headers to every response."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app, self._authenticator = app, authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        result = self._check(scope)
        app = self._app if result is AuthResult.ALLOWED else _refusal(result)
        await app(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> AuthResult:
        headers = Headers(scope=scope)
        return self._authenticator.authorize(
            host=headers.get("host", ""),
            authorization=headers.get("authorization", ""),
            address=(scope.get("client") or ("",))[0],
        )


def _refusal(result: AuthResult) -> ASGIApp:
    text, headers = _REFUSALS[result]
    return PlainTextResponse(text, result.value, headers)


def _pages() -> dict[str, _Page]:
    files = [file for file in resources.files("headnod.dashboard").joinpath("static").iterdir() if file.is_file()]
    pages = {f"/{file.name}": _Page(file.read_bytes(), _TYPES["." + file.name.rpartition(".")[2]]) for file in files}
    pages["/"] = pages.pop("/index.html")
    return pages
