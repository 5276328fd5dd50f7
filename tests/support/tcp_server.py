"""A TCP server in the test's own process, on a free port of this machine, with a thread for each connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

LONGEST = 30.0
"""Seconds after which a connection is closed, whatever the test does."""


@contextlib.contextmanager
def tcp_server(converse: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A server that ends with the block, and each connection with it; gives its port.

    Args:
        converse: Serves a connection; the event is set when the server ends.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    ending = threading.Event()
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            start(lambda connection=connection: serve(connection))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(LONGEST)
            converse(connection, ending)

    def start(target: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=target, daemon=True))
        threads[-1].start()

    start(accept)
    try:
        yield listening.getsockname()[1]
    finally:
        ending.set()
        # A thread in accept is woken by the shutdown, not by closing.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        # The first one may have started another until it ended.
        for thread in threads:
            thread.join(LONGEST)
