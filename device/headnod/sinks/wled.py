"""Lamps on the network that run WLED, by DDP over UDP.

DDP is a stream of frames, so nothing waits for an answer, and a lamp goes back
to its own effect by itself (after 2.5 s, as WLED comes) when the stream ends.
The protocol: http://www.3waylabs.com/ddp/.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from headnod.sinks.scene import LAYOUTS, Layout, Light, Mode

_log = logging.getLogger(__name__)

_HEADER = struct.Struct(">BBBBIH")
_VERSION_1, _PUSH = 0x40, 0x01
_RGB_8_BIT, _DEFAULT_OUTPUT = 0x0B, 0x01
_MOST_BYTES = 1440
_KEEP_ALIVE = 1.0
_RETRY, _WARN_AGAIN = 10.0, 300.0


@dataclass(frozen=True)
class WledSettings:
    """Which lamp, and how it shows genres."""

    host: str = ""
    """Name or address of the lamp, such as `wled-shelf.local`; empty for none."""

    port: int = 4048
    """UDP port on which it takes DDP."""

    count: int = 60
    """How many LEDs it has."""

    mode: Mode = "bars"
    """`bars`: an equal stretch for every genre; `mood`: the whole lamp in the colour of what is heard."""

    brightness: float = 1.0
    """Greatest brightness (0-1), below that of the lamp itself."""

    gamma: float = 2.2
    """What makes half a bar look half as bright; 1 if the lamp is set to correct realtime colours itself."""


class Wled:
    """A lamp on the network: it may come and go, and is looked for until it is there."""

    def __init__(
        self,
        settings: WledSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[str, int], socket.socket] | None = None,
    ) -> None:
        """Show on a lamp. Nothing is sent, and no name asked for, before the first frame.

        Args:
            settings: Which lamp.
            clock: A monotonic clock in seconds.
            connect: Finds a host and gives a UDP socket that sends to its port.
        """
        self._settings, self._clock, self._connect = settings, clock, connect or udp_to
        self._socket: socket.socket | None = None
        self._retry_at = self._warn_at = float("-inf")
        self._sequence = 0
        self._sent, self._quiet = b"", 0.0

    @property
    def size(self) -> int:
        """How many LEDs the lamp has."""
        return self._settings.count

    @property
    def layout(self) -> Layout:
        """Bars or mood."""
        return LAYOUTS[self._settings.mode]

    def paint(self, light: Light, seconds: float) -> None:
        """Send a frame if it is a new one, or if the lamp would soon think that we are gone.

        A lamp that cannot be reached is a warning once in five minutes, and is
        tried again in ten seconds. Names are asked for here: a resolver may take
        its time, so this belongs on a thread that nobody waits for.
        """
        duties = light.pixels().clip(0.0, 1.0) ** self._settings.gamma * self._settings.brightness
        colours = (duties * 255).round().astype(np.uint8).tobytes()
        self._quiet += seconds
        if colours == self._sent and self._quiet < _KEEP_ALIVE:
            return
        try:
            self._send(colours)
        except OSError as error:
            self._lose(error)

    def close(self) -> None:
        """Stop sending."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._retry_at = float("inf")

    def _send(self, colours: bytes) -> None:
        if self._socket is None:
            # For darkness nobody need be looked for: the end must not wait for a resolver.
            if not any(colours) or self._clock() < self._retry_at:
                return
            self._socket = self._connect(self._settings.host, self._settings.port)
        for packet in ddp_packets(colours, self._next_sequence):
            self._socket.send(packet)
        self._sent, self._quiet = colours, 0.0

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % 15 + 1
        return self._sequence

    def _lose(self, error: OSError) -> None:
        self.close()
        now = self._clock()
        self._retry_at, self._sent = now + _RETRY, b""
        if now >= self._warn_at:
            self._warn_at = now + _WARN_AGAIN
            _log.warning(
                "lamp %s: %s (is it on, and on this network?); trying again every %.0f s",
                self._settings.host,
                error.strerror or error,
                _RETRY,
            )


def ddp_packets(colours: bytes, sequence: Callable[[], int]) -> Iterator[bytes]:
    """DDP packets that show one frame.

    A header is, big-endian: flags (version 1, and push on the last packet of a
    frame), a sequence number of 1-15, the data type (RGB of 8 bits), the output
    (the default one), the offset of the data in bytes and its length.

    Args:
        colours: Red, green, blue of every LED.
        sequence: Gives the next sequence number.
    """
    for offset in range(0, len(colours), _MOST_BYTES):
        data = colours[offset : offset + _MOST_BYTES]
        push = _PUSH if offset + _MOST_BYTES >= len(colours) else 0
        header = _HEADER.pack(_VERSION_1 | push, sequence(), _RGB_8_BIT, _DEFAULT_OUTPUT, offset, len(data))
        yield header + data


def udp_to(host: str, port: int) -> socket.socket:
    """A UDP socket that never blocks and learns when nothing listens there, or no way leads there.

    Raises:
        OSError: Nobody knows the host, or no way leads there.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    try:
        made.connect(address)
    except OSError:
        made.close()
        raise
    return made
