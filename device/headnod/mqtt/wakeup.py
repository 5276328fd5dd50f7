"""A bell that one thread waits for, together with a socket, and that rings a moment after it is asked to.

Alone because it is a timer of Linux's, timerfd_create(2), which Python knows from
3.13 on. A bell that rang at once would wake its thread while whoever rang it still
runs: they would take the interpreter from each other and sleep two or three times
more. So it waits until the other is done.
"""

from __future__ import annotations

import ctypes
import os
import select
from contextlib import suppress

_MOMENT = 0.01
"""Seconds from the asking to the ringing."""

_libc = ctypes.CDLL(None, use_errno=True)


class Bell:
    """Rings once, however often it is asked to before it is heard."""

    def __init__(self) -> None:
        """Begin silent."""
        self._file = _libc.timerfd_create(1, os.O_CLOEXEC | os.O_NONBLOCK)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        # struct itimerspec: seconds and nanoseconds of the interval, none, and of the first time.
        self._soon = (ctypes.c_long * 4)(0, 0, 0, round(_MOMENT * 1e9))
        self._asked = False

    def fileno(self) -> int:
        """For `poll`: readable while it rings."""
        return self._file

    def ring(self) -> None:
        """Ring soon; for one thread at a time."""
        if not self._asked:
            self._asked = True
            _libc.timerfd_settime(self._file, 0, self._soon, None)

    def hush(self) -> None:
        """Be silent; who asks from now on is heard, and what was asked for before can be done."""
        with suppress(BlockingIOError):
            os.read(self._file, 8)
        self._asked = False

    def rest(self, seconds: float) -> None:
        """Wait until it rings, or so long."""
        ready = select.poll()
        ready.register(self._file, select.POLLIN)
        if ready.poll(1e3 * seconds):
            self.hush()

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)
