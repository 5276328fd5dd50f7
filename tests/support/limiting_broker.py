"""A broker of MQTT 5 that announces any limits, refuses what it is told to, and disconnects who exceeds a limit.

mosquitto can announce some limits and refuse by its access list; the rest is here. It
acknowledges only when its client has nothing more to send, so that a client which
sends too much at once is always seen. Where MQTT 5 is switched off it is one of those
that know MQTT 3.1.1 alone.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from paho.mqtt.client import topic_matches_sub

HOST = "127.0.0.1"
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14
TOO_MANY, TOO_LARGE, NO_RETAIN, NO_QOS = 0x93, 0x95, 0x9A, 0x9B
LULL = 0.05
"""Seconds without a packet after which a client is waiting."""


class Published(NamedTuple):
    """A message that came."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    size: int


@dataclass
class Rules:
    """What it announces, and what it refuses; may be changed between two connections."""

    receive_maximum: int | None = None
    maximum_packet_size: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    wildcards_available: int | None = None
    keepalive: int | None = None
    silent: bool = False
    """Announces nothing, and enforces all of it."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Reason codes of PUBACK by the end of a topic."""
    unsubscribable: Mapping[str, int] = field(default_factory=dict)
    """Reason codes of SUBACK by the end of a filter."""
    connack: int = 0
    reason: str = ""
    """Its own words, with each refusal."""
    modern: bool = True
    dumb: bool = False
    """An old broker that closes the connection of who speaks MQTT 5, in place of answering."""


class StrictBroker:
    """It listens on a port of its own, in threads that end with it."""

    def __init__(self, **rules: object):
        self.rules = Rules(**rules)
        self._server = socket.create_server((HOST, 0))
        self.host, self.port = self._server.getsockname()[:2]
        self.published: list[Published] = []
        self.subscribed: list[str] = []
        self.connects: list[tuple[str, int]] = []
        self.sent_away: list[int] = []
        self.pings: list[float] = []
        self.wills: list[tuple[int, bool]] = []
        self._news = threading.Condition()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._begin(self._accept)

    def _begin(self, target: Callable[[], None]):
        self._threads.append(threading.Thread(target=target, daemon=True))
        self._threads[-1].start()

    def on(self, ending: str) -> list[Published]:
        """Messages so far on topics that end so."""
        with self._news:
            return [each for each in self.published if each.topic.endswith(ending)]

    def until(self, there: Callable[[Self], object], within: float = 10.0) -> Self:
        """Wait until it is so."""
        with self._news:
            told = [each.topic for each in self.published][-5:]
            assert self._news.wait_for(lambda: there(self), within), (told, self.connects, self.sent_away)
        return self

    def cut(self):
        """End every connection without a word."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self):
        while not self._closed:
            with suppress(OSError):
                client, _ = self._server.accept()
                self._open.append(client)
                self._begin(_Connection(self, client).serve)

    def note(self, change: Callable[[], object]):
        with self._news:
            change()
            self._news.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_):
        self._closed = True
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()
        for each in self._threads:
            each.join(10.0)


class _Connection:
    def __init__(self, broker: StrictBroker, client: socket.socket):
        self._broker, self._client, self._rules = broker, client, broker.rules
        self._filters: list[str] = []
        self._unacknowledged: list[tuple[bytes, int]] = []
        self._modern = True

    def serve(self):
        kinds = {CONNECT: self._connect, PUBLISH: self._publish, SUBSCRIBE: self._subscribe, PINGREQ: self._ping}
        with suppress(OSError, EOFError), self._client:
            self._client.settimeout(LULL)
            while True:
                try:
                    first = self._client.recv(1)
                except TimeoutError:
                    self._acknowledge()
                    continue
                if not first:
                    return
                length, read = self._length()
                body = self._exactly(length)
                if (kind := first[0] >> 4) == DISCONNECT:
                    return
                kinds[kind](first[0], body, 1 + read + length)

    def _connect(self, _first, body, _size):
        rules = self._rules
        place = 2 + struct.unpack(">H", body[:2])[0]
        version, flags = body[place], body[place + 1]
        self._modern = version == 5
        place += 4
        if self._modern:
            more, place = _number(body, place)
            place += more
        client_id, place = _text(body, place)
        self._broker.note(lambda: self._broker.connects.append((client_id, version)))
        if self._modern and not rules.modern:
            if not rules.dumb:
                self._send(CONNACK, b"\x00\x01")
            raise EOFError
        will = ((flags >> 3) & 3, bool(flags & 0x20)) if flags & 4 else None
        if will is not None:
            self._broker.note(lambda: self._broker.wills.append(will))
        code = rules.connack
        if will is not None and rules.retain_available == 0 and will[1]:
            code = NO_RETAIN
        elif will is not None and rules.maximum_qos is not None and will[0] > rules.maximum_qos:
            code = NO_QOS
        self._send(CONNACK, bytes([0, code]) + self._properties(b"" if rules.silent else self._announced()))
        if code:
            raise EOFError

    def _announced(self) -> bytes:
        rules = self._rules
        known = (
            (0x21, ">H", rules.receive_maximum),
            (0x27, ">I", rules.maximum_packet_size),
            (0x24, ">B", rules.maximum_qos),
            (0x25, ">B", rules.retain_available),
            (0x28, ">B", rules.wildcards_available),
            (0x13, ">H", rules.keepalive),
        )
        return b"".join(bytes([key]) + struct.pack(kind, value) for key, kind, value in known if value is not None)

    def _publish(self, first, body, size):
        rules, qos, retain = self._rules, (first >> 1) & 3, bool(first & 1)
        topic, place = _text(body, 0)
        packet, place = (body[place : place + 2], place + 2) if qos else (b"", place)
        if self._modern:
            more, place = _number(body, place)
            place += more
        message = Published(topic, body[place:], qos, retain, size)
        if rules.maximum_packet_size is not None and size > rules.maximum_packet_size:
            self._send_away(TOO_LARGE)
        elif rules.maximum_qos is not None and qos > rules.maximum_qos:
            self._send_away(NO_QOS)
        elif rules.retain_available == 0 and retain:
            self._send_away(NO_RETAIN)
        else:
            code = next((code for ending, code in rules.refused.items() if topic.endswith(ending)), 0)
            if qos:
                self._unacknowledged.append((packet, code))
            if rules.receive_maximum is not None and len(self._unacknowledged) > rules.receive_maximum:
                self._send_away(TOO_MANY)
                return
            self._broker.note(lambda: self._broker.published.append(message))
            if not code and any(topic_matches_sub(filter_, topic) for filter_ in self._filters):
                self._send(PUBLISH, _string(topic) + self._properties(b"") + message.payload)

    def _subscribe(self, _first, body, _size):
        packet, place = body[:2], 2
        if self._modern:
            more, place = _number(body, place)
            place += more
        codes: list[int] = []
        while place < len(body):
            filter_, place = _text(body, place)
            place += 1
            if self._rules.wildcards_available == 0 and set(filter_) & set("+#"):
                self._send_away(0xA2)
                return
            code = next((code for end, code in self._rules.unsubscribable.items() if filter_.endswith(end)), 0)
            codes.append(code)
            if not code:
                self._filters.append(filter_)
            self._broker.note(lambda filter_=filter_: self._broker.subscribed.append(filter_))
        self._send(SUBACK, packet + self._properties(self._words() if any(codes) else b"") + bytes(codes))

    def _ping(self, _first, _body, _size):
        self._broker.note(lambda: self._broker.pings.append(time.monotonic()))
        self._send(PINGRESP, b"")

    def _acknowledge(self):
        for packet, code in self._unacknowledged:
            more = bytes([code]) + self._properties(self._words()) if code and self._modern else b""
            self._send(PUBACK, packet + more)
        self._unacknowledged.clear()

    def _send_away(self, code):
        self._broker.note(lambda: self._broker.sent_away.append(code))
        if self._modern:
            self._send(DISCONNECT, bytes([code]) + self._properties(self._words()))
        raise EOFError

    def _words(self) -> bytes:
        return b"\x1f" + _string(self._rules.reason) if self._rules.reason else b""

    def _properties(self, content: bytes) -> bytes:
        return bytes([len(content)]) + content if self._modern else b""

    def _send(self, kind: int, body: bytes):
        length, left = b"", len(body)
        while True:
            left, byte = left >> 7, left & 127
            length += bytes([byte | (128 if left else 0)])
            if not left:
                break
        self._client.sendall(bytes([kind << 4]) + length + body)

    def _length(self) -> tuple[int, int]:
        value = read = 0
        while True:
            byte = self._exactly(1)[0]
            value += (byte & 127) << (7 * read)
            read += 1
            if not byte & 128:
                return value, read

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            with suppress(TimeoutError):
                if not (some := self._client.recv(count - len(content))):
                    raise EOFError
                content += some
        return content


def _number(body: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, place = body[place], place + 1
        value += (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value, place


def _text(body: Sequence[int], place: int) -> tuple[str, int]:
    length = struct.unpack(">H", bytes(body[place : place + 2]))[0]
    return bytes(body[place + 2 : place + 2 + length]).decode(), place + 2 + length


def _string(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()
