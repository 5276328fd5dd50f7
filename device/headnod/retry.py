"""Back-off between attempts, and warnings that are logged at most once per cause and five minutes."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from enum import Enum


class Cause(Enum):
    """Why there is no connection: seconds before the second attempt, and in the long run."""

    NETWORK = (1.0, 4.0)
    """It is away: a restart takes seconds, and somebody waits for it."""

    REFUSED = (10.0, 300.0)
    """It is there and will not have us: a person has to change something."""

    CLOCK = (5.0, 300.0)
    """Its certificate is not valid at the time that our clock says: that may mend itself."""

    TAKEN_OVER = (60.0, 60.0)
    """Another client has our id: coming back at once would throw it out in turn."""


class BackOff:
    """Doubles the wait as long as the cause stays the same."""

    def __init__(self, rng: random.Random) -> None:
        """Waits are up to a fifth longer than they need be, by chance, so that a house does not knock at once."""
        self._rng = rng
        self._cause: Cause | None = None
        self._tries = 0

    def after(self, cause: Cause) -> float:
        """Seconds to wait, now that this has happened."""
        self._tries = self._tries + 1 if cause is self._cause else 0
        self._cause = cause
        first, most = cause.value
        return min(first * 2.0 ** min(self._tries, 16), most) * self._rng.uniform(1.0, 1.2)

    def forget(self) -> None:
        """All was well for long enough."""
        self._cause = None


class Complaints:
    """Says each thing once, and again only when it is still so after five minutes."""

    def __init__(self, log: logging.Logger, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Complain to a log."""
        self._log, self._monotonic = log, monotonic
        self._said: dict[str, float] = {}

    def warn(self, cause: str, message: str, *, error: Exception | None = None) -> bool:
        """Log a warning, unless one of the same cause was logged shortly before.

        Args:
            cause: What tells this from other complaints.
            message: One line for a person.
            error: A bug, whose traceback shall be seen.

        Returns:
            It was logged.
        """
        now, last = self._monotonic(), self._said.get(cause)
        if last is not None and now - last < QUIET:
            return False
        if len(self._said) >= _MOST:
            del self._said[next(iter(self._said))]
        self._said[cause] = now
        self._log.warning("%s", message, exc_info=error)
        return True


QUIET = 300.0
"""Seconds between two lines of one cause."""

_MOST = 100
