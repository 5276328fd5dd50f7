"""The page and its event stream over HTTP, with Starlette and uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import logging
import socket
from collections.abc import AsyncIterator
from importlib import resources
from typing import TYPE_CHECKING

import msgspec

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.convertors import Convertor, register_url_convertor
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    from headnod.errors import MissingExtraError
    from headnod.extras import how_to_install

    message = f"the dashboard needs {error.name}: {how_to_install('dashboard')}"
    raise MissingExtraError(message) from None

from headnod.dashboard.connections import REQUEST_SECONDS, Connections, DashboardError, ListeningSocket, TimedConnection
from headnod.dashboard.endpoints import Endpoint, RequestError
from headnod.dashboard.event_stream import Subscriber
from headnod.dashboard.guard import Guard

if TYPE_CHECKING:
    from headnod.dashboard.site import Site

__all__ = ["PieceResponse", "Request", "Response", "Route", "json_response", "serve"]

_log = logging.getLogger(__name__)

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}

_CONNECTIONS, _BACKLOG = 512, 128
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
        from headnod.dashboard.api import all_endpoints  # noqa: PLC0415 - it uses the names above

        self._stream, self._link, self._webhooks = site.stream, site.link, site.webhooks
        self._failed = False
        endpoints, pages = all_endpoints(site), _pages()
        connections = self._connections = Connections()
        routes = [Route("/events", _Events(site), methods=["GET"]), *map(_route, endpoints)]
        routes += [Route(path, page, methods=["GET"]) for path, page in pages.items()]
        # The address of one listener; the page shows it.
        routes += [Route("/{node:node}", pages["/"], methods=["GET"]), Route("/{node:node}/", _without_slash)]
        refused = {RequestError: _refused, ClientDisconnect: _unanswered}
        settings = site.settings
        pages_and_api = Starlette(routes=routes, lifespan=self._running, exception_handlers=refused)  # type: ignore[arg-type]
        # Starlette redirects to an absolute address, which is wrong behind a proxy and names any host of a request.
        pages_and_api.router.redirect_slashes = False
        app = Guard(
            pages_and_api,
            site.authenticator,
            connections,
            endpoints,
            frame_ancestors=settings.frame_ancestors,
        )
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            log_config=None,
            # Its warnings are one line per invalid request, so anyone could fill the log.
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            # asyncio accepts as many at once, before any of them can be closed.
            backlog=_BACKLOG,
            ssl_certfile=settings.certificate or None,
            ssl_keyfile=settings.key or None,
            timeout_graceful_shutdown=_CLOSE_SECONDS,
        )
        super().__init__(config)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets)
        if self._failed:
            message = "a part of the page failed (see the traceback in the log)"
            raise DashboardError(message)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, with a limit of the time that a TLS handshake may take."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self._failed = True
            return
        config, loop = self.config, asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return TimedConnection(
                config=config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                connections=self._connections,
            )

        handshake = REQUEST_SECONDS if config.ssl else None
        for each in sockets or []:
            if config.ssl and isinstance(each, ListeningSocket):
                each.handshakes = self._connections
        self.servers = [
            await loop.create_server(
                protocol, sock=each, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=handshake
            )
            for each in sockets or []
        ]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stream.close()
        await super().shutdown(sockets)

    @contextlib.asynccontextmanager
    async def _running(self, _app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._stream.run()), asyncio.create_task(self._webhooks.run())]
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
            _log.error("a part of the page failed", exc_info=error)
            self._failed = True


class _Page:
    """One static file in memory, plain and compressed."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content, self._compressed = content, gzip.compress(content, mtime=0)
        self._headers = {"Content-Type": kind, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        self._headers["ETag"] = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Request(scope).headers
        if headers.get("if-none-match") == self._headers["ETag"]:
            response = Response(b"", 304, self._headers)
        elif "gzip" in headers.get("accept-encoding", ""):
            response = Response(self._compressed, 200, {**self._headers, "Content-Encoding": "gzip"})
        else:
            response = Response(self._content, 200, self._headers)
        await response(scope, receive, send)


class _Events:
    """The endpoint of the event stream."""

    def __init__(self, site: Site) -> None:
        self._stream, self._link, self._authenticator = site.stream, site.link, site.authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watches = self._link is not None and "watch" in Request(scope).query_params
        with contextlib.ExitStack() as stack:
            trusted = self._authenticator.is_trusted(scope["visitor"])
            subscriber = stack.enter_context(self._stream.subscriber(watches=watches, trusted=trusted))
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


class PieceResponse(Response):
    """A response whose body comes in pieces. Starlette's own loads 6 MB of anyio."""

    def __init__(self, pieces: AsyncIterator[bytes], status: int, headers: dict[str, str]) -> None:
        """Send these pieces."""
        self._pieces, self.status_code, self.background = pieces, status, None
        self.init_headers(headers)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the response."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _NodeConvertor(Convertor[str]):
    """A valid name of a listener, which has no dot: names of files do."""

    regex = "[A-Za-z0-9_-]{1,64}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("node", _NodeConvertor())


def _route(endpoint: Endpoint) -> Route:
    async def answer(request: Request) -> Response:
        found = await endpoint.handler(request)
        return found if isinstance(found, Response) else json_response(found)

    return Route(f"/{endpoint.path}", answer, methods=[endpoint.method])


async def _without_slash(request: Request) -> Response:
    return Response(b"", 307, {"Location": f"../{request.path_params['node']}"})


async def _unanswered(_request: Request, _error: ClientDisconnect) -> Response:
    # The client has gone while it sent the body.
    return Response(b"", 400)


async def _refused(_request: Request, error: RequestError) -> Response:
    return json_response({"error": str(error)}, error.status, error.headers)


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response of JSON, which no cache keeps."""
    body = bytes(content) if isinstance(content, msgspec.Raw) else msgspec.json.encode(content)
    return Response(body, status, {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})})


def _pages() -> dict[str, _Page]:
    files = [file for file in resources.files("headnod.dashboard").joinpath("static").iterdir() if file.is_file()]
    pages = {f"/{file.name}": _Page(file.read_bytes(), _TYPES["." + file.name.rpartition(".")[2]]) for file in files}
    pages["/"] = pages.pop("/index.html")
    return pages
