"""The page and its event stream over HTTP, with Starlette and uvicorn.

A connection costs a client nothing, so those of clients that have not logged in are bounded: the
oldest without a request is closed for a new one, and each must send its request in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

import msgspec

from headnod.dashboard.auth import Guard, network
from headnod.dashboard.endpoints import REQUEST_SECONDS, Endpoint, RequestError
from headnod.dashboard.fleet import Subscriber
from headnod.errors import HeadnodError, MissingExtraError
from headnod.system import how_to_install

if TYPE_CHECKING:
    from headnod.dashboard.site import Site

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.convertors import Convertor, register_url_convertor
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise MissingExtraError(f"the dashboard needs {error.name}: {how_to_install('dashboard')}") from None

__all__ = [
    "Connections",
    "DashboardError",
    "ListeningSocket",
    "PieceResponse",
    "Request",
    "Response",
    "TimedConnection",
    "json_response",
    "listen_at",
    "serve",
]

_log = logging.getLogger(__name__)

WAITING = 64
"""Limit of connections without a request, of clients that have not logged in."""

OF_ONE = 16
"""Limit of connections of one address, or of one IPv6 network, that has not logged in."""

REQUESTS, REQUESTS_OF_ONE = 64, 12
"""Limits of requests that are being answered, of all clients that have not logged in and of one address. The rest of
an address's connections is for clients of it that log in."""

_USER_TIMEOUT = 20_000
"""Milliseconds after which a connection is closed whose client acknowledges no data."""

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


class DashboardError(HeadnodError, OSError):
    """The dashboard cannot be served."""


def listen_at(host: str, port: int, section: str = "dashboard") -> list[socket.socket]:
    """A listening socket for each address of a host; port 0 lets the system choose one port for all.

    Raises:
        DashboardError: None can be opened.
    """
    made: list[socket.socket] = []
    fault: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        found, fault = [], error
    for family, _, _, _, address in found:
        chosen = made[0].getsockname()[1] if made else port
        try:
            made.append(_listen(family, (address[0], chosen, *address[2:])))
        except OSError as error:
            fault = error
    if not made and fault is not None:
        way_out = "web.address and web.port choose" if section == "web" else "dashboard.host and dashboard.port choose"
        raise DashboardError(f"cannot listen at {host} port {port}: {fault.strerror} ({way_out})") from None
    return made


def _listen(family: int, address: tuple[object, ...]) -> ListeningSocket:
    listening = ListeningSocket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address[0] != "::":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Inherited by every connection on Linux.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
        listening.bind(address)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


class ListeningSocket(socket.socket):
    """A socket that accepts connections."""

    handshakes: Connections | None = None
    """Limits TLS handshakes; None without TLS."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; asyncio makes it known only after the handshake."""
        connection, address = super().accept()
        if self.handshakes is not None:
            self.handshakes.begin_handshake(connection, address[:2])
        return connection, address


class Connections:
    """Connections of clients that have not logged in, the oldest first, and their requests."""

    def __init__(self) -> None:
        """Start empty."""
        self._networks: dict[TimedConnection, str] = {}
        self._requests: Counter[str] = Counter()
        self._handshakes: dict[tuple[str, int], tuple[str, socket.socket]] = {}

    def begin_handshake(self, connection: socket.socket, client: tuple[str, int]) -> None:
        """Add a connection whose TLS handshake begins; beyond a limit the oldest of them is closed."""
        source = network(client[0])
        self._handshakes = known = {key: each for key, each in self._handshakes.items() if each[1].fileno() >= 0}
        known[client] = source, connection
        of_one = [key for key, each in known.items() if each[0] == source]
        if len(of_one) > OF_ONE or len(known) > WAITING:
            _, oldest = known.pop(of_one[0] if len(of_one) > OF_ONE else next(iter(known)))
            with contextlib.suppress(OSError):
                # The handshake then fails, and asyncio closes it.
                oldest.shutdown(socket.SHUT_RDWR)

    def add(self, connection: TimedConnection, source: str) -> None:
        """Add a connection; beyond a limit the oldest one without a request is closed, or else this one."""
        self._networks[connection] = source
        if connection.client:
            self._handshakes.pop(connection.client, None)
        of_one = [each for each, other in self._networks.items() if other == source]
        waiting = [each for each in self._networks if not each.busy]
        if len(of_one) > OF_ONE:
            next(each for each in of_one if not each.busy).drop()
        elif len(waiting) > WAITING:
            waiting[0].drop()

    def discard(self, connection: TimedConnection) -> None:
        """Remove a connection that is closed."""
        self._networks.pop(connection, None)

    def trust(self, client: tuple[str, int] | None) -> None:
        """Count the connection of a client that has logged in no more."""
        self._networks = {each: source for each, source in self._networks.items() if each.client != client}

    @contextlib.contextmanager
    def request(self, source: str) -> Iterator[bool]:
        """Counts a request of a client that has not logged in until the context ends; false if there are too many."""
        source = network(source)
        if self._requests[source] >= REQUESTS_OF_ONE or self._requests.total() >= REQUESTS:
            yield False
            return
        self._requests[source] += 1
        try:
            yield True
        finally:
            self._requests[source] -= 1
            if not self._requests[source]:
                del self._requests[source]


class TimedConnection(H11Protocol):
    """A connection that is closed if its request is not complete in time."""

    def __init__(self, *args: Any, connections: Connections, **more: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Pass on uvicorn's arguments."""
        super().__init__(*args, **more)
        self._all = connections
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first request."""
        super().connection_made(transport)
        self._start_timer()
        self._all.add(self, network(self.client[0]) if self.client else "")

    def data_received(self, data: bytes) -> None:
        """Process a part of a request; the timer started with its first part."""
        if not self.busy:
            self._start_timer()
        super().data_received(data)
        if self.busy:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        self._all.discard(self)
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close the connection without an answer."""
        self._stop_timer()
        self._all.discard(self)
        self.transport.abort()

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(REQUEST_SECONDS, self.drop)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def serve(site: Site, listening: list[socket.socket]) -> None:
    """Serve the page at these sockets until a signal, or until its listener ends.

    Raises:
        DashboardError: The event stream failed.
    """
    _Server(site).run(sockets=listening)


class _Server(uvicorn.Server):
    """Disconnects browsers at the end, and ends when the event stream fails."""

    def __init__(self, site: Site) -> None:
        from headnod.dashboard.api import all_endpoints  # noqa: PLC0415 - it uses names of this module

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
            # Its warnings are one line per invalid request, so any client could fill the log.
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
            raise DashboardError("a part of the page failed (see the traceback in the log)")

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
        endings = (_send_events(subscriber, send), _disconnected(receive), subscriber.gone.wait())
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(each) for each in endings]
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
