"""The address: a socket that listens, or one line that says why there is none."""

from __future__ import annotations

import socket

from headnod.errors import HeadnodError

_SENT_IN_VAIN = 20_000
"""Milliseconds after which a browser that takes nothing is cut off."""


class DashboardError(HeadnodError, OSError):
    """The dashboard cannot be served, or can be no longer."""


def listen_at(host: str, port: int) -> list[socket.socket]:
    """A socket that listens at each address of a host; port 0 lets the system choose one for all.

    Raises:
        DashboardError: There can be none.
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
        message = f"cannot listen at {host} port {port}: {fault.strerror} (dashboard.host and dashboard.port choose)"
        raise DashboardError(message) from None
    return made


def _listen(family: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address[0] != "::":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Linux hands this down to every connection: what waits for a frozen browser is given up.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SENT_IN_VAIN)
        listening.bind(address)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def url_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
