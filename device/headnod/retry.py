"""Exponential back-off between attempts, and rate-limited warnings."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from enum import Enum

REPEAT_SECONDS = 300.0
"""Seconds between two log lines of one cause."""

_MAXIMUM_CAUSES = 100


class Cause(Enum):
    """Why an attempt failed: seconds before the second attempt, and the longest wait."""

    NETWORK = (1.0, 4.0)
    """The other side is not reachable; a restart takes seconds."""

    REFUSED = (10.0, 300.0)
    """The other side refuses; only a person can change that."""

    CLOCK = (5.0, 300.0)
    """A certificate is not valid at the time of the system clock, which may be corrected."""

    TAKEN_OVER = (60.0, 60.0)
    """Another client uses our client id: reconnecting at once would disconnect it in turn."""


class Backoff:
    """Doubles the wait for as long as the cause stays the same.

    Adds up to 20 % random jitter so that many devices do not reconnect at once.
    """

    def __init__(self, rng: random.Random, *, spread: float = 0.0) -> None:
        """Start at the shortest wait; `rng` spreads attempts over time.

        With a `spread`, waits for the network are uniform between the shortest and that many seconds, as thousands of
        devices need it: without, all of them come back within seconds.
        """
        self._rng, self._spread = rng, spread
        self._cause: Cause | None = None
        self._attempts = 0

    def after(self, cause: Cause) -> float:
        """Seconds to wait after a failure with this cause."""
        self._attempts = self._attempts + 1 if cause is self._cause else 0
        self._cause = cause
        first, longest = cause.value
        if cause is Cause.NETWORK and self._spread:
            return self._rng.uniform(first, max(first, self._spread))
        return min(first * 2.0 ** min(self._attempts, 16), longest) * self._rng.uniform(1.0, 1.2)

    def reset(self) -> None:
        """Start again at the shortest wait."""
        self._cause = None


class RateLimitedLogger:
    """Logs a warning at most once per cause and `repeat` seconds."""

    def __init__(
        self,
        log: logging.Logger,
        *,
        repeat: float = REPEAT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._repeat, self._monotonic = log, repeat, monotonic
        self._logged: dict[str, float] = {}

    def warn(self, cause: str, message: str, *, error: Exception | None = None) -> bool:
        """Log a warning unless one of the same cause was logged less than `repeat` seconds ago.

        The message is one line. The traceback of an error is logged with it.

        Returns:
            Whether it was logged.
        """
        now, last = self._monotonic(), self._logged.get(cause)
        if last is not None and now - last < self._repeat:
            return False
        if len(self._logged) >= _MAXIMUM_CAUSES:
            del self._logged[next(iter(self._logged))]
        self._logged[cause] = now
        self._log.warning("%s", message, exc_info=error)
        return True
