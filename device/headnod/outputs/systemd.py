"""The service manager as a sink: readiness, watchdog and status by sd_notify(3).

The watchdog is reset by an estimate or a status of the listener and by nothing else,
so a listener that hangs is restarted.
"""

from __future__ import annotations

import logging
import os
import socket
import time

from headnod.pipeline.estimate import Estimate, State, StatusEvent

_log = logging.getLogger(__name__)


class SystemdNotifier:
    """Sends datagrams of KEY=value lines to the socket in $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        """Open the socket.

        Args:
            address: A path, or a name in the abstract namespace that begins with @.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._ready = False
        self._open = True
        self._failing = False
        self._status = ""

    def show(self, estimate: Estimate) -> None:
        """Report readiness and the genre, and reset the watchdog."""
        confidence = f" ({estimate.confidence:.0%})" if estimate.named else ""
        state = "" if estimate.state is State.LISTENING else f", microphone is {estimate.state}"
        self._alive(f"hears {estimate.genre}{confidence} at {estimate.level:.0f} dBFS{state}")

    def show_status(self, status: StatusEvent) -> None:
        """The same with a status: a listener that waits for its microphone works as it should."""
        if status.state in {State.STARTING, State.STOPPING}:
            self._send(f"STATUS={status.message}")
            return
        self._alive(f"{status.state.replace('_', ' ')}: {status.message}")

    def reloading(self) -> None:
        """Report that the configuration is read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        self._ready = False

    def close(self) -> None:
        """Report that the listener ends."""
        if self._open:
            self._open = False
            self._send("STOPPING=1\nSTATUS=stopping")
            self._socket.close()

    def _alive(self, status: str) -> None:
        lines = ["WATCHDOG=1"]
        if not self._ready:
            lines.append("READY=1")
            self._ready = True
        if status != self._status:
            # On one line: text after a line end would be another assignment.
            lines.append(f"STATUS={' '.join(status.split())}")
            self._status = status
        self._send("\n".join(lines))

    def _send(self, text: str) -> None:
        try:
            self._socket.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            if not self._failing:
                _log.warning("systemd could not be notified: %s", os.strerror(error.errno or 0))
            self._failing = True
        else:
            self._failing = False
