"""What systemd is told: that the listener is ready, that it moves, how it fares.

It is a sink, so the watchdog is fed by progress and by nothing else: an
estimate that was made, or a condition that the listener knows itself to be in.
Protocol: sd_notify(3), datagrams of KEY=value lines to $NOTIFY_SOCKET.
"""

from __future__ import annotations

import logging
import os
import socket
import time

from headnod.pipeline.estimate import Estimate, State, StatusEvent

_log = logging.getLogger(__name__)


class SystemdNotifier:
    """The service manager as a sink."""

    def __init__(self, address: str) -> None:
        """Tell whoever listens at this address.

        Args:
            address: A path, or a name in the abstract namespace that begins with @.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._ready = False
        self._open = True
        self._heard = True
        self._status = ""

    def show(self, estimate: Estimate) -> None:
        """Ready, alive, and what plays."""
        sure = f" ({estimate.confidence:.0%})" if estimate.named else ""
        state = "" if estimate.state is State.LISTENING else f", microphone is {estimate.state}"
        self._alive(f"hears {estimate.genre}{sure} at {estimate.level:.0f} dBFS{state}")

    def show_status(self, condition: StatusEvent) -> None:
        """Ready and alive too: a listener that waits for its microphone works as it should."""
        if condition.state in {State.STARTING, State.STOPPING}:
            self._send(f"STATUS={condition.message}")
            return
        self._alive(f"{condition.state.replace('_', ' ')}: {condition.message}")

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        self._ready = False

    def close(self) -> None:
        """The listener is about to end."""
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
            # One line: what follows a line's end would be another message.
            lines.append(f"STATUS={' '.join(status.split())}")
            self._status = status
        self._send("\n".join(lines))

    def _send(self, text: str) -> None:
        try:
            self._socket.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            # A manager that does not listen will notice by itself that it hears nothing.
            if self._heard:
                _log.warning("systemd could not be told: %s", os.strerror(error.errno or 0))
            self._heard = False
        else:
            self._heard = True
