"""The server: the page and its stream over HTTP.

The only file that knows Starlette and uvicorn. Every answer, an error too,
carries the headers that keep a browser from doing anything but show the page.
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

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.datastructures import Headers, MutableHeaders
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ImportError as error:
    from headnod.errors import MissingExtraError
    from headnod.extras import how_to_install

    message = f"the dashboard needs {error.name}: {how_to_install('dashboard')}"
    raise MissingExtraError(message) from None

from headnod.dashboard.auth import WHILE, Authenticator, AuthResult
from headnod.dashboard.connections import PendingConnections, TimedConnection
from headnod.dashboard.event_stream import EventStream, Subscriber
from headnod.dashboard.server_address import DashboardError

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
"""What every answer carries."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_REFUSALS = {
    AuthResult.NO_PASSWORD: ("A password is needed.", {"WWW-Authenticate": 'Basic realm="headnod", charset="UTF-8"'}),
    AuthResult.WRONG_HOST: ("Without a password this page is for this machine alone: open http://localhost.", {}),
    AuthResult.TOO_MANY: ("Too many wrong passwords.", {"Retry-After": str(round(WHILE))}),
}

_CONNECTIONS = 128
_FAREWELL = 1


def serve(stream: EventStream, access: Authenticator, listening: list[socket.socket]) -> None:
    """Serve the page until told to end.

    Args:
        stream: What browsers are told.
        access: Who may look.
        listening: Where, already bound.

    Raises:
        DashboardError: The stream broke.
    """
    _Server(stream, access).run(sockets=listening)


class _Server(uvicorn.Server):
    """Lets its browsers go when it is told to end, and ends when the stream breaks."""

    def __init__(self, stream: EventStream, access: Authenticator) -> None:
        self._stream = stream
        self._broken = False
        routes = [Route("/events", _Events(stream), methods=["GET"])]
        routes += [Route(path, page, methods=["GET"]) for path, page in _pages().items()]
        app = _Guard(Starlette(routes=routes, lifespan=self._streaming), access)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=partial(TimedConnection, waiting=PendingConnections()),  # type: ignore[arg-type]
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_FAREWELL,
        )
        super().__init__(config)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets)
        if self._broken:
            message = "the dashboard's stream broke: the log says where"
            raise DashboardError(message)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stream.close()
        await super().shutdown(sockets)

    @contextlib.asynccontextmanager
    async def _streaming(self, _app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(self._stream.run())
        running.add_done_callback(self._ended)
        yield
        running.cancel()

    def _ended(self, running: asyncio.Task[None]) -> None:
        # A page that is served and never changes looks alive and is not.
        if not running.cancelled() and (error := running.exception()) is not None:
            _log.error("the dashboard's stream broke", exc_info=error)
            self._broken = self.should_exit = True


class _Page:
    """One static file, held in memory."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content = content
        self._headers = {"Content-Type": kind, "Cache-Control": "no-cache"}
        self._headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = Request(scope).headers.get("if-none-match") == self._headers["ETag"]
        response = Response(b"" if known else self._content, 304 if known else 200, self._headers)
        await response(scope, receive, send)


class _Events:
    """The event stream of one browser after the other."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._stream.browser() as browser:
            if browser is None:
                refusal = PlainTextResponse("Too many pages are open.", 503, {"Retry-After": "10"})
                await refusal(scope, receive, send)
            else:
                await self._attend(browser, receive, send)

    @staticmethod
    async def _attend(browser: Subscriber, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        # A proxy in front of us must not gather what is told live.
        headers.append((b"x-accel-buffering", b"no"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        tasks = [asyncio.create_task(_tell(browser, send)), asyncio.create_task(_leaves(receive))]
        tasks.append(asyncio.create_task(_let_go(browser)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), _FAREWELL)


async def _tell(browser: Subscriber, send: Send) -> None:
    async for event in browser.events():
        await send({"type": "http.response.body", "body": event, "more_body": True})


async def _leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _let_go(browser: Subscriber) -> None:
    await browser.gone.wait()


class _Guard:
    """Lets in whom access lets in, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, access: Authenticator) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        verdict = self._judge(scope)
        app = self._app if verdict is AuthResult.ALLOWED else _refusal(verdict)
        await app(scope, receive, send_guarded)

    def _judge(self, scope: Scope) -> AuthResult:
        headers = Headers(scope=scope)
        return self._access.authorize(
            host=headers.get("host", ""),
            authorization=headers.get("authorization", ""),
            address=(scope.get("client") or ("",))[0],
        )


def _refusal(verdict: AuthResult) -> ASGIApp:
    text, headers = _REFUSALS[verdict]
    return PlainTextResponse(text, verdict.value, headers)


def _pages() -> dict[str, _Page]:
    files = [file for file in resources.files("headnod.dashboard").joinpath("static").iterdir() if file.is_file()]
    pages = {f"/{file.name}": _Page(file.read_bytes(), _TYPES["." + file.name.rpartition(".")[2]]) for file in files}
    pages["/"] = pages.pop("/index.html")
    return pages
