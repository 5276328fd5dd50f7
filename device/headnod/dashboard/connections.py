"""Listening sockets, and limits of connections and requests of those who have not logged in.

A connection costs a client nothing, so those of clients that have not logged in are bounded: the
oldest without a request is closed for a new one, and each must send its request in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

from headnod.address import page_url
from headnod.dashboard.auth import network
from headnod.errors import HeadnodError, MissingExtraError
from headnod.extras import how_to_install

try:
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    message = f"the dashboard needs {error.name}: {how_to_install('dashboard')}"
    raise MissingExtraError(message) from None

REQUEST_SECONDS = 10.0
"""Seconds within which a request must be complete."""

WAITING = 64
"""Limit of connections without a request, of clients that have not logged in."""

OF_ONE = 16
"""Limit of connections of one address, or of one IPv6 network, that has not logged in."""

REQUESTS, REQUESTS_OF_ONE = 64, 12
"""Limits of requests that are being answered, of all clients that have not logged in and of one address. The rest of
an address's connections is for those of it who log in."""

_USER_TIMEOUT = 20_000
"""Milliseconds after which a connection is closed whose client acknowledges no data."""


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
        message = f"cannot listen at {host} port {port}: {fault.strerror} ({way_out})"
        raise DashboardError(message) from None
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


def url_of(listening: socket.socket, *, tls: bool = False) -> str:
    """The address of the page for a browser."""
    host, port = listening.getsockname()[:2]
    return page_url(host, port, tls=tls)


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
    """Connections of those who have not logged in, the oldest first, and their requests."""

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
