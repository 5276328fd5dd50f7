"""Lamps on the network that run WLED, by DDP over UDP.

DDP is a stream of frames without answers. A lamp goes back to its own effect
(after 2.5 s, WLED's default) when the stream ends, so frames are sent only while
there is something to show.
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

from headnod.outputs.leds.layouts import LAYOUTS, Layout, LedFrame, Mode

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


class WledLamp:
    """A lamp on the network: it may come and go, and is looked for until it is there."""

    def __init__(
        self,
        settings: WledSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[str, int], list[socket.socket]] | None = None,
    ) -> None:
        """Show on a lamp. Nothing is sent, and no name asked for, before the first frame.

        Args:
            settings: Which lamp.
            clock: A monotonic clock in seconds.
            connect: Resolves a host and gives a UDP socket for each of its addresses.
        """
        self._settings, self._clock, self._connect = settings, clock, connect or udp_to
        self._sockets: dict[socket.socket, float] = {}  # and when each is used again after an error
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

    def paint(self, light: LedFrame, seconds: float) -> None:
        """Send a frame if it differs from the last one, or to keep the lamp in its realtime mode.

        Nothing is sent while the light is not needed. A lamp that cannot be
        reached is logged once in five minutes and tried again after ten seconds.
        May block while its name is resolved.
        """
        if not light.needed:
            self._sent = b""
            return
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
        self._disconnect()
        self._retry_at = float("inf")

    def _send(self, colours: bytes) -> None:
        # A dark frame takes over no lamp: its owner may be using it, and the end must not wait for a resolver.
        if not self._sent and not any(colours):
            return
        now = self._clock()
        if not self._sockets:
            if now < self._retry_at:
                return
            self._sockets = dict.fromkeys(self._connect(self._settings.host, self._settings.port), now)
        self._send_everywhere(list(ddp_packets(colours, self._next_sequence)), now)
        self._sent, self._quiet = colours, 0.0

    def _send_everywhere(self, packets: list[bytes], now: float) -> None:
        """Send to every address of the lamp, because UDP does not show which of them it answers at.

        Raises:
            OSError: None of them can be reached.
        """
        for each, usable_at in self._sockets.items():
            if now < usable_at:
                continue
            try:
                for packet in packets:
                    each.send(packet)
            except OSError:
                self._sockets[each] = now + _RETRY
                if all(now < at for at in self._sockets.values()):
                    raise

    def _disconnect(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets = {}

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % 15 + 1
        return self._sequence

    def _lose(self, error: OSError) -> None:
        self._disconnect()
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


def udp_to(host: str, port: int) -> list[socket.socket]:
    """A non-blocking UDP socket for each address of a host that there is a route to.

    Raises:
        OSError: The name is unknown, or there is a route to none of its addresses.
    """
    made: list[socket.socket] = []
    fault: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        try:
            one = socket.socket(family, kind, protocol)
        except OSError as error:  # a kernel without IPv6
            fault = error
            continue
        one.setblocking(False)
        try:
            one.connect(address)
        except OSError as error:
            one.close()
            fault = error
        else:
            made.append(one)
    if fault is not None and not made:
        raise fault
    return made
