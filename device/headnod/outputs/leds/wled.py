"""WLED lamps on the network, by the Distributed Display Protocol (DDP) over UDP.

DDP is a stream of frames without acknowledgement. A lamp returns to its own effect
2.5 s (WLED's default) after the last frame, so frames are sent only while there is
something to show. Protocol: http://www.3waylabs.com/ddp/.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from headnod.address import split_address
from headnod.errors import LedError
from headnod.outputs.leds import LedFrame, Strip, eight_bits
from headnod.retry import RateLimitedLogger

if TYPE_CHECKING:
    from headnod.config.sections import LedsSection

PORT = 4048
"""UDP port of DDP."""

_log = logging.getLogger(__name__)

_HEADER = struct.Struct(">BBBBIH")
_VERSION_1, _PUSH = 0x40, 0x01
_RGB_8_BIT, _DEFAULT_OUTPUT = 0x0B, 0x01
_LARGEST_DATA = 1440
_KEEP_ALIVE = 1.0
_RETRY = 10.0


class WledLamp(Strip):
    """A lamp on the network; while it cannot be reached, it is tried again every ten seconds."""

    def __init__(
        self,
        section: LedsSection,
        *,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[str, int], list[socket.socket]] | None = None,
    ) -> None:
        """Prepare a lamp. Its name is resolved when the first frame is painted.

        `host`, `count`, `mode`, `brightness` and `gamma` of the section are used. `connect` resolves a host and returns
        a UDP socket for each of its addresses.
        """
        self._section, self._clock, self._connect = section, clock, connect or udp_sockets
        self._host, port = split_address(section.host)
        self._port = port or PORT
        self._sockets: dict[socket.socket, float] = {}  # and the time from which each is used
        self._warnings = RateLimitedLogger(_log, monotonic=clock)
        self._retry_at = float("-inf")
        self._sequence = 0
        self._sent, self._unchanged = b"", 0.0

    def paint(self, frame: LedFrame, seconds: float) -> None:
        """Send a frame if it differs from the last one or that is a second old; nothing while none is needed.

        A lamp that cannot be reached is logged once in five minutes. May block while
        its name is resolved.
        """
        if not frame.needed:
            self._sent = b""
            return
        duties = frame.pixels().clip(0.0, 1.0) ** self._section.gamma * self._section.brightness
        colours = eight_bits(duties).tobytes()
        self._unchanged += seconds
        if colours == self._sent and self._unchanged < _KEEP_ALIVE:
            return
        try:
            self._send(colours)
        except OSError as error:
            self._disconnect(self._clock() + _RETRY)
            self._sent = b""
            self._warnings.warn("unreachable", f"{_fault(self._host, error)}; trying again every {_RETRY:.0f} s")

    def close(self) -> None:
        """Stop sending."""
        self._disconnect(float("inf"))

    def _send(self, colours: bytes) -> None:
        # A dark frame does not take over the lamp, which others may use, and `close` must not wait for a resolver.
        if not self._sent and not any(colours):
            return
        now = self._clock()
        if not self._sockets:
            if now < self._retry_at:
                return
            self._sockets = dict.fromkeys(self._connect(self._host, self._port), now)
        packets = list(ddp_packets(colours, self._next_sequence))
        # To every address, because UDP does not show which of them the lamp uses.
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
        self._sent, self._unchanged = colours, 0.0

    def _disconnect(self, retry_at: float) -> None:
        for each in self._sockets:
            each.close()
        self._sockets, self._retry_at = {}, retry_at

    def _next_sequence(self) -> int:
        self._sequence = self._sequence % 15 + 1
        return self._sequence


def ddp_packets(colours: bytes, sequence: Callable[[], int]) -> Iterator[bytes]:
    """DDP packets of one frame.

    The header is, big-endian: flags (version 1, and push on the last packet of a
    frame), a sequence number of 1-15, the data type (RGB, 8 bits), the output
    (the default one), the offset of the data in bytes and its length.

    `sequence` returns the next number.
    """
    for offset in range(0, len(colours), _LARGEST_DATA):
        data = colours[offset : offset + _LARGEST_DATA]
        push = _PUSH if offset + _LARGEST_DATA >= len(colours) else 0
        header = _HEADER.pack(_VERSION_1 | push, sequence(), _RGB_8_BIT, _DEFAULT_OUTPUT, offset, len(data))
        yield header + data


def check_reachable(section: LedsSection, *, seconds: float = 3.5) -> None:
    """Send an empty packet, and wait for an error of the network; a lamp answers nothing.

    Raises:
        LedError: The name cannot be resolved, or no address takes the packet.
    """
    host, port = split_address(section.host)
    left: dict[int, socket.socket] = {}
    deadline, fault, poll = time.monotonic() + seconds, 0, select.poll()
    with contextlib.ExitStack() as opened:
        try:
            for each in udp_sockets(host, port or PORT):
                left[opened.enter_context(each).fileno()] = each
                poll.register(each, select.POLLIN)
                each.send(_HEADER.pack(_VERSION_1, 1, _RGB_8_BIT, _DEFAULT_OUTPUT, 0, 0))
        except OSError as error:
            raise LedError(_fault(host, error)) from error
        # The kernel gives up its search for a machine that is off after three seconds.
        while left and (found := poll.poll(1e3 * max(deadline - time.monotonic(), 0.0))):
            for descriptor, _ in found:
                poll.unregister(descriptor)
                fault = left.pop(descriptor).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if not left:
        raise LedError(_fault(host, OSError(fault, os.strerror(fault))))


def _fault(host: str, error: OSError) -> str:
    if error.errno == errno.EACCES:
        return f"lamp {host}: is the address of a whole network (write that of the lamp)"
    if error.errno == errno.EINVAL:
        return f"lamp {host}: the address needs an interface (write fe80::1%wlan0)"
    reason = error.strerror or str(error)
    return f"lamp {host}: {reason} (is it on, and on this network?)"


def udp_sockets(host: str, port: int) -> list[socket.socket]:
    """A non-blocking UDP socket for each address of a host that has a route.

    Raises:
        OSError: The name cannot be resolved, or no address has a route.
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
