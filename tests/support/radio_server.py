"""A web radio's server in the test's own process, on a free port of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

LONGEST = 30.0
"""Seconds after which a connection is closed, whatever the test does."""


def answer(body: bytes = b"", *, status: str = "200 OK", kind: str = "audio/mpeg", head: str = "") -> bytes:
    """An HTTP answer; without a length, as radios have none."""
    return f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\n{head}\r\n".encode() + body


def redirect(location: str) -> bytes:
    return answer(status="302 Found", head=f"Location: {location}\r\n")


@dataclass
class RadioServer:
    """Gives each path its answers in turn, the last one for ever."""

    url: str
    """Its address, without a path."""

    answers: dict[str, list[bytes]] = field(default_factory=dict)
    """Bytes to send for a path, headers included; then the connection ends."""

    stalled: set[str] = field(default_factory=set)
    """Paths whose connection stays open after the answer."""

    requests: list[str] = field(default_factory=list)
    """Every request, with its headers."""

    asked: threading.Event = field(default_factory=threading.Event)
    """Somebody asked for something."""

    def on(self, path: str, *answers: bytes, stalled: bool = False) -> str:
        """Give these answers to a path; its address."""
        self.answers[path] = list(answers)
        if stalled:
            self.stalled.add(path)
        return f"{self.url}{path}"


@contextlib.contextmanager
def radio_server() -> Iterator[RadioServer]:
    """A server that ends with the block, and each connection with it."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = RadioServer(f"http://127.0.0.1:{listening.getsockname()[1]}")
    ending = threading.Event()
    threads: list[threading.Thread] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threads.append(_started(lambda connection=connection: _converse(connection, server, ending)))

    accepting = _started(serve)
    try:
        yield server
    finally:
        ending.set()
        # A thread in accept is woken by the shutdown, not by closing.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in [accepting, *threads]:
            thread.join(LONGEST)


def _started(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def _converse(connection: socket.socket, server: RadioServer, ending: threading.Event) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(LONGEST)
        request = b""
        while b"\r\n\r\n" not in request and (piece := connection.recv(4_096)):
            request += piece
        if not request:
            return
        server.requests.append(request.decode("latin-1"))
        path = server.requests[-1].split(" ")[1]
        answers = server.answers.get(path) or [answer(status="404 Not Found")]
        server.asked.set()
        connection.sendall(answers.pop(0) if len(answers) > 1 else answers[0])
        if path in server.stalled:
            ending.wait(LONGEST)
