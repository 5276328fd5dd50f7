"""The page and its event stream over HTTP, with uvicorn.

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
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headnod.dashboard.api import all_endpoints
from headnod.dashboard.auth import Guard, network
from headnod.dashboard.fleet import Subscriber
from headnod.dashboard.routing import REQUEST_SECONDS, HttpRequest, Receive, Response, Router, Send, json_response
from headnod.errors import HeadnodError, MissingExtraError

if TYPE_CHECKING:
    from headnod.dashboard.page_process import PageParts

try:
    import uvicorn
    import uvicorn.lifespan.off  # by name at the start anyway; here, so that each installation compiles it
    import uvicorn.loops.asyncio
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    from headnod.system import how_to_install

    raise MissingExtraError(f"the dashboard needs {error.name}: {how_to_install('dashboard')}") from None

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

_NODE = "[A-Za-z0-9_-]{1,64}"
"""A valid name of a listener, which has no dot: names of files do."""

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
        """Stop counting the connection of a client that has logged in."""
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


def serve(parts: PageParts, listening: list[socket.socket]) -> None:
    """Serve the page at these sockets until a signal, or until its listener ends.

    Raises:
        DashboardError: The event stream failed.
    """
    _Server(parts).run(sockets=listening)


class _Server(uvicorn.Server):
    """Disconnects browsers at the end, and ends when the event stream fails."""

    def __init__(self, parts: PageParts) -> None:
        self._stream, self._link, self._webhooks = parts.stream, parts.link, parts.webhooks
        self._failed = False
        endpoints, pages = all_endpoints(parts), _pages()
        connections = self._connections = Connections()
        router, settings = Router(), parts.settings

        async def events(request: HttpRequest) -> Response:
            return _EventResponse(parts, request)

        router.add("GET", "/events", events)
        for each in endpoints:
            router.add(each.method, f"/{each.path}", each.handler)
        for path, page in pages.items():
            router.add("GET", path, page)
        # The address of one listener; the page shows it.
        router.add("GET", "/{node}", pages["/"], part=_NODE)
        router.add("GET", "/{node}/", _without_slash, part=_NODE)
        app = Guard(router, parts.authenticator, connections, endpoints, frame_ancestors=settings.frame_ancestors)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
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
        parts = [self._stream.run(), self._webhooks.run(), *([self._link.run()] if self._link is not None else [])]
        self._tasks = [asyncio.create_task(each) for each in parts]
        for task in self._tasks:
            task.add_done_callback(self._ended)
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
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        # Otherwise the page would be served and never change.
        self.should_exit = True
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a part of the page failed", exc_info=error)
            self._failed = True


class _StaticFile:
    """One static file in memory, plain and compressed."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content, self._compressed = content, gzip.compress(content, mtime=0)
        self._headers = {"Content-Type": kind, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        self._headers["ETag"] = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'

    async def __call__(self, request: HttpRequest) -> Response:
        if request.headers.get("if-none-match") == self._headers["ETag"]:
            return Response(b"", 304, self._headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self._compressed, 200, {**self._headers, "Content-Encoding": "gzip"})
        return Response(self._content, 200, self._headers)


class _EventResponse(Response):
    """The event stream of one browser."""

    def __init__(self, parts: PageParts, request: HttpRequest) -> None:
        # A proxy must not buffer events.
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(None, headers=headers)
        self._stream, self._link, self._receive = parts.stream, parts.link, request.receive
        self._watches = parts.link is not None and "watch" in request.query
        self._trusted = parts.authenticator.is_trusted(request.scope["visitor"])

    async def send(self, send: Send) -> None:
        """Send events until the browser or the page disconnects."""
        with contextlib.ExitStack() as stack:
            subscriber = stack.enter_context(self._stream.subscriber(watches=self._watches, trusted=self._trusted))
            if subscriber is None:
                await json_response({"error": "too many pages are open"}, 503, {"Retry-After": "10"}).send(send)
                return
            if self._watches and self._link is not None:
                stack.enter_context(self._link.watching())
            await send(self.start)
            await self._send_events(subscriber, send)

    async def _send_events(self, subscriber: Subscriber, send: Send) -> None:
        endings = (_send_all(subscriber, send), _disconnected(self._receive), subscriber.gone.wait())
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(each) for each in endings]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(send({"type": "http.response.body", "body": b""}), _CLOSE_SECONDS)


async def _send_all(subscriber: Subscriber, send: Send) -> None:
    async for event in subscriber.events():
        await send({"type": "http.response.body", "body": event, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _without_slash(request: HttpRequest) -> Response:
    return Response(b"", 307, {"Location": f"../{request.path_params['node']}"})


def _pages() -> dict[str, _StaticFile]:
    files = Path(__file__).with_name("static").iterdir()
    pages = {f"/{file.name}": _StaticFile(file.read_bytes(), _TYPES[file.suffix]) for file in files if file.is_file()}
    pages["/"] = pages.pop("/index.html")
    return pages
