"""The few packets of MQTT 5 that a simulated listener and a collector need.

A client library costs many times more per message than its packet: with one, ten thousand connections would measure the
library and not the broker.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

CONNACK, PUBLISH, PUBACK, SUBACK, DISCONNECT = 2, 3, 4, 9, b"\xe0\x00"
"""Packet types, and a whole packet."""

_CONTINUED, _VALUE_BITS = 0x80, 7
_RETAIN, _WILL_FLAGS, _CLEAN = 0x01, 0x2C, 0x02
_FAILURE = 0x80


def connect(client_id: str, *, keepalive: int = 60, will: tuple[str, bytes] | None = None) -> bytes:
    """CONNECT with a clean session, and a retained last will of QoS 1."""
    flags = _CLEAN | (_WILL_FLAGS if will is not None else 0)
    body = b"\x00\x04MQTT\x05" + bytes([flags]) + struct.pack(">H", keepalive) + b"\x00" + _text(client_id.encode())
    if will is not None:
        body += b"\x00" + _text(will[0].encode()) + _text(will[1])
    return b"\x10" + length(len(body)) + body


def publish(topic: bytes, payload: bytes, number: int, *, retain: bool = False) -> bytes:
    """PUBLISH of QoS 1."""
    body = _text(topic) + struct.pack(">HB", number, 0) + payload
    return bytes([0x32 | (_RETAIN if retain else 0)]) + length(len(body)) + body


def subscribe(topic_filter: str) -> bytes:
    """SUBSCRIBE with QoS 1."""
    body = b"\x00\x01\x00" + _text(topic_filter.encode()) + b"\x01"
    return b"\x82" + length(len(body)) + body


def acknowledge(number: bytes) -> bytes:
    """PUBACK of a received message."""
    return b"\x40\x02" + number


def length(size: int) -> bytes:
    """The length field of a packet.

    >>> length(321).hex()
    'c102'
    """
    encoded = bytearray()
    while True:
        size, digit = divmod(size, _CONTINUED)
        encoded.append(digit | (_CONTINUED if size else 0))
        if not size:
            return bytes(encoded)


def packets(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the complete packets out of a buffer: type and content of each."""
    start = 0
    while True:
        size, place = 0, start + 1
        while place < len(buffer):
            size |= (buffer[place] & ~_CONTINUED) << _VALUE_BITS * (place - start - 1)
            place += 1
            if buffer[place - 1] < _CONTINUED:
                break
        else:
            break
        if len(buffer) < place + size:
            break
        yield buffer[start] >> 4, bytes(buffer[place : place + size])
        start = place + size
    del buffer[:start]


def message(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Topic, packet identifier and payload of a PUBLISH of QoS 1."""
    end = 2 + struct.unpack_from(">H", content)[0]
    # Properties of more than 127 bytes are sent by no simulated listener.
    return content[2:end], content[end : end + 2], content[end + 3 + content[end + 2] :]


def refused(content: bytes) -> bool:
    """Whether the reason code of a PUBACK, which is left out for success, is a failure."""
    return content[2:3] >= bytes([_FAILURE])


def _text(content: bytes) -> bytes:
    return struct.pack(">H", len(content)) + content
