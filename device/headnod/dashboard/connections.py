"""TCP connections that wait for a request: how long, and how many for each network.

A connection costs a client nothing, so those without a request are bounded: the
oldest one makes room for a new one, and each has to send its request in time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from headnod.dashboard.auth import network

PATIENCE = 10.0
"""Seconds within which a request has to be complete."""

WAITING = 64
"""Connections without a request, of all networks."""

WAITING_OF_ONE = 16
"""The same of one address, or of one IPv6 network."""


class PendingConnections:
    """Connections without a request, the one that has waited longest first."""

    def __init__(self) -> None:
        """None are waiting."""
        self._networks: dict[TimedConnection, str] = {}

    def add(self, connection: TimedConnection, source: str) -> None:
        """Count a connection; close the oldest one where there are too many now."""
        self._networks[connection] = source
        if Counter(self._networks.values())[source] > WAITING_OF_ONE:
            next(each for each, other in self._networks.items() if other == source).drop()
        elif len(self._networks) > WAITING:
            next(iter(self._networks)).drop()

    def discard(self, connection: TimedConnection) -> None:
        """A connection has sent its request, or is closed."""
        self._networks.pop(connection, None)


class TimedConnection(H11Protocol):
    """A connection that is closed if its request does not come in time."""

    def __init__(self, *args: Any, waiting: PendingConnections, **more: Any) -> None:  # noqa: ANN401 - uvicorn's own
        """Take what uvicorn gives."""
        super().__init__(*args, **more)
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request: the time for all of it began with its first piece."""
        if not self._busy:
            self._wait()
        super().data_received(data)
        if self._busy:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Close it without an answer."""
        self._stop_waiting()
        self.transport.abort()

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(PATIENCE, self.drop)
            self._waiting.add(self, network(self.client[0]) if self.client else "")

    def _stop_waiting(self) -> None:
        self._waiting.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
