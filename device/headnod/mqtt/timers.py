"""Work that is done in turns, by a thread that is awake for something else or by one that sleeps till it is needed.

Alone because two threads share it: the link's, which the broker wakes anyway and
which must not wait for a disk, and one of its own, which may.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from headnod.retry import RateLimitedLogger

_log = logging.getLogger(__name__)

_AFTER_A_FAULT = 1.0


class Turns:
    """Calls `work` whenever something has happened or is due, on one thread at a time."""

    def __init__(
        self,
        work: Callable[[], float],
        finish: Callable[[], None],
        *,
        quick: Callable[[], bool],
        nudge: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a thread; it sleeps for as long as `work` is quick and another thread calls `spare`.

        Args:
            work: Does what is due; gives the seconds until more is. If it raises,
                that is logged, and it is called again after a second.
            finish: Is called at the end, on the thread, in place of `work`.
            quick: The next turn will wait for nothing.
            nudge: Lets the other thread call `spare` soon; false if it cannot.
            monotonic: A clock in seconds that is never set.
        """
        self._work, self._finish, self._quick, self._nudge = work, finish, quick, nudge
        self._complaints = RateLimitedLogger(_log, monotonic=monotonic)
        self._turn, self._news, self._woken = threading.Lock(), threading.Condition(), False
        self.ending = False
        self._thread = threading.Thread(target=self._run, name="MQTT", daemon=True)

    def start(self) -> None:
        """Take the first turn, and begin to wait for the next."""
        self._thread.start()

    def wake(self) -> None:
        """Something has happened: let the other thread take a turn, or ours if it cannot."""
        if not self._nudge():
            self.rouse()

    def rouse(self) -> None:
        """Something has happened that our own thread is needed for."""
        with self._news:
            self._woken = True
            self._news.notify()

    def spare(self) -> float | None:
        """A turn that waits for nothing, or none; gives the seconds until another is due, None if ours sees to it."""
        if self._quick() and self._turn.acquire(blocking=False):
            try:
                return self._attempt()
            finally:
                self._turn.release()
        self.rouse()
        return None

    def take(self) -> float:
        """A turn, whatever it waits for; gives the seconds until another is due."""
        with self._turn:
            return self._attempt()

    def rest(self, wait: float) -> None:
        """Sleep until our thread is needed, or so many seconds."""
        with self._news:
            self._news.wait_for(lambda: self._woken, wait)
            self._woken = False

    def end(self, patience: float) -> bool:
        """Finish, within so many seconds; false if the thread has never begun."""
        self.ending = True
        self.rouse()
        begun = self._thread.ident is not None
        if begun:
            self._thread.join(patience)
        return begun

    def _run(self) -> None:
        while not self.ending:
            self.rest(self.take())
        self._finish()

    def _attempt(self) -> float:
        try:
            return self._work()
        except Exception as error:
            self._complaints.warn(repr(error), "MQTT: a part of it failed", error=error)
            return _AFTER_A_FAULT
