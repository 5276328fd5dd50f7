"""Format of the log, for a terminal or with priorities for systemd's journal, and its last lines for the page.

`journalctl -p warning` then shows what needs attention.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from headnod.escaping import printable

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_CAPACITY = 1_000
"""Lines that are kept for the page."""
_LONGEST_LINE, _LARGEST_ANSWER = 400, 100_000
"""Characters of a line that is kept, and of all lines in one answer."""
_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def formatter(stream: int, journal: str) -> logging.Formatter:
    """The formatter for the file descriptor of the log.

    `journal` is the value of JOURNAL_STREAM: device and inode of the stream of the journal, or empty; see
    systemd.exec(5).
    """
    try:
        status = os.fstat(stream)
    except OSError:
        # A closed stream.
        return _TerminalFormatter()
    return _JournalFormatter() if journal == f"{status.st_dev}:{status.st_ino}" else _TerminalFormatter()


class _OneLineFormatter(logging.Formatter):
    """Escapes line ends in a message; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - the library's name
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


class _TerminalFormatter(_OneLineFormatter):
    def __init__(self) -> None:
        super().__init__("headnod: %(message)s")


class _JournalFormatter(_OneLineFormatter):
    """Begins each line with its priority, as in sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class RecentLog(logging.Handler):
    """A log handler that keeps the newest lines."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        """Start empty; `now` gives seconds since 1970."""
        super().__init__()
        self._now = now
        self._lines: deque[dict[str, Any]] = deque(maxlen=_CAPACITY)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record in one line; of an exception its type and message."""
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                text = f"{text}: {record.exc_info[0].__name__}: {record.exc_info[1]}"
            text = printable(text[:_LONGEST_LINE])
        except Exception:
            self.handleError(record)
            return
        self._lines.append({"time": round(record.created, 3), "level": record.levelname.lower(), "message": text})

    def since(self, seconds: float) -> list[dict[str, Any]]:
        """Lines of the last seconds, the oldest first, as many of the newest as fit into one answer."""
        oldest, left, found = self._now() - seconds, _LARGEST_ANSWER, []
        for line in reversed(tuple(self._lines)):
            left -= len(line["message"]) + 60
            if line["time"] < oldest or left < 0:
                break
            found.append(line)
        return found[::-1]
