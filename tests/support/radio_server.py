"""A web radio's server in the test's own process, on a free port of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from support.tcp_server import LONGEST, tcp_server


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
    with tcp_server(lambda connection, ending: _converse(connection, server, ending)) as port:
        server = RadioServer(f"http://127.0.0.1:{port}")
        yield server


def _converse(connection: socket.socket, server: RadioServer, ending: threading.Event) -> None:
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
