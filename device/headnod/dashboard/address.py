"""The address: a socket that listens, or one line that says why there is none."""

from __future__ import annotations

import socket

from headnod.errors import HeadnodError

_SENT_IN_VAIN = 20_000
"""Milliseconds after which a browser that takes nothing is cut off."""


class DashboardError(HeadnodError, OSError):
    """The dashboard cannot be served, or can be no longer."""


def listen_at(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 lets the system choose.

    Raises:
        DashboardError: There can be none.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listening = socket.socket(family, kind)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Linux hands this down to every connection: what waits for a frozen browser is given up.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SENT_IN_VAIN)
            listening.bind(address)
            listening.listen()
        except OSError:
            listening.close()
            raise
    except OSError as error:
        message = f"cannot listen at {host} port {port}: {error.strerror} (dashboard.host and dashboard.port choose)"
        raise DashboardError(message) from None
    return listening


def url_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
