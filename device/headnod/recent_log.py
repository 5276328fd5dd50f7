"""The log of the last hours, in memory, for the page."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from headnod.escaping import printable

CAPACITY = 1_000
"""Lines that are kept."""

_LONGEST = 400
_LARGEST = 100_000
"""Characters of one answer."""


class RecentLog(logging.Handler):
    """A log handler that keeps the newest lines."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        """Start empty; `now` gives seconds since 1970."""
        super().__init__()
        self._now = now
        self._lines: deque[dict[str, Any]] = deque(maxlen=CAPACITY)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record in one line; of an exception its type and message."""
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                text = f"{text}: {record.exc_info[0].__name__}: {record.exc_info[1]}"
            text = printable(text[:_LONGEST])
        except Exception:
            self.handleError(record)
            return
        self._lines.append({"time": round(record.created, 3), "level": record.levelname.lower(), "message": text})

    def since(self, seconds: float) -> list[dict[str, Any]]:
        """Lines of the last seconds, the oldest first, as many of the newest as fit into one answer."""
        oldest, left, found = self._now() - seconds, _LARGEST, []
        for line in reversed(tuple(self._lines)):
            left -= len(line["message"]) + 60
            if line["time"] < oldest or left < 0:
                break
            found.append(line)
        return found[::-1]
