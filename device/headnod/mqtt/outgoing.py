"""What any thread asks the link to publish, until the link's own thread takes it.

Alone because it is where threads meet: nobody who adds ever waits, and the thread
that takes waits for this and for a socket at once.
"""

from __future__ import annotations

import threading
from collections import deque

from headnod.mqtt.messages import Request
from headnod.mqtt.wakeup import Bell


class Outgoing:
    """Requests and a bell. The bell is heard, and requests are taken, by one thread; everything else is for any."""

    def __init__(self) -> None:
        """Begin shut and empty."""
        self.bell = Bell()
        self._lock = threading.Lock()
        self._requests: deque[Request] = deque()
        self._open = self._closed = False

    @property
    def open(self) -> bool:
        """What is added will be taken."""
        return self._open

    def add(self, request: Request) -> bool:
        """Hand a request over; false if none is taken just now."""
        with self._lock:
            if self._open:
                self._requests.append(request)
                self.bell.ring()
            return self._open

    def nudge(self) -> bool:
        """Wake the thread that takes; false if none is taken just now."""
        with self._lock:
            if self._open:
                self.bell.ring()
            return self._open

    def take(self) -> list[Request]:
        """All that was added, in order."""
        # Without the lock, which would be held whenever the bell has just been rung.
        return [self._requests.popleft() for _ in range(len(self._requests))]

    def begin(self) -> None:
        """Let requests be added."""
        with self._lock:
            self._open = not self._closed

    def end(self) -> None:
        """Let none be added any more; wakes the thread that takes."""
        with self._lock:
            self._open = False
            if not self._closed:
                self.bell.ring()

    def close(self) -> None:
        """Let go of the bell; may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed, self._open = True, False
                self.bell.close()
