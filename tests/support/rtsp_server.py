"""A minimal RTSP server in the test's own process: it plays 16-bit samples through the connection of the request."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from support.tcp_server import LONGEST, tcp_server

RATE = 44_100
_PACKET = 441
_PAYLOAD_TYPE = 11  # L16, one channel, 44.1 kHz
_SDP = f"""v=0
o=- 0 0 IN IP4 127.0.0.1
s=camera
c=IN IP4 0.0.0.0
t=0 0
m=video 0 RTP/AVP 26
a=control:video
m=audio 0 RTP/AVP {_PAYLOAD_TYPE}
a=rtpmap:{_PAYLOAD_TYPE} L16/{RATE}/1
a=control:audio
""".replace("\n", "\r\n")


@dataclass
class RtspServer:
    """Plays one sound to everybody, then ends the connection."""

    address: str
    sound: np.ndarray
    """Samples in [-1, 1] at `RATE`."""

    login: str = ""
    """Value of the Authorization header that is required, if any."""

    stalled: bool = False
    """Whether the connection stays open after the sound."""

    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def rtsp_server(sound: np.ndarray, **settings: object) -> Iterator[RtspServer]:
    with tcp_server(lambda connection, ending: _converse(connection, server, ending)) as port:
        server = RtspServer(f"rtsp://127.0.0.1:{port}/live", sound, **settings)
        yield server


def _converse(connection: socket.socket, server: RtspServer, ending: threading.Event) -> None:
    waiting = b""
    while True:
        while b"\r\n\r\n" not in waiting:
            piece = connection.recv(4_096)
            if not piece:
                return
            waiting += piece
        request, _, waiting = waiting.partition(b"\r\n\r\n")
        text = request.decode()
        server.requests.append(text)
        connection.sendall(_answer(text, server))
        if text.startswith("PLAY"):
            _play(connection, server.sound)
            if server.stalled:
                ending.wait(LONGEST)
            return


def _answer(request: str, server: RtspServer) -> bytes:
    method = request.split(" ", 1)[0]
    number = re.search(r"CSeq: (\d+)", request)[1]
    status, more, body = "200 OK", "Session: 1\r\n", ""
    if "/live" not in request:
        status = "404 Not Found"
    elif server.login and method != "OPTIONS" and f"Authorization: {server.login}" not in request:
        status, more = "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n'
    elif method == "OPTIONS":
        more = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
    elif method == "DESCRIBE":
        body, more = _SDP, f"Content-Base: {server.address}/\r\nContent-Type: application/sdp\r\n"
    elif method == "SETUP":
        more += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
    return f"RTSP/1.0 {status}\r\nCSeq: {number}\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def _play(connection: socket.socket, sound: np.ndarray) -> None:
    samples = np.clip(np.rint(sound * 32767.0), -32768, 32767).astype(">i2")
    for number, start in enumerate(range(0, samples.size, _PACKET)):
        payload = samples[start : start + _PACKET].tobytes()
        header = struct.pack(">BBHII", 0x80, _PAYLOAD_TYPE, number & 0xFFFF, start & 0xFFFFFFFF, 1)
        connection.sendall(struct.pack(">cBH", b"$", 0, len(header) + len(payload)) + header + payload)
