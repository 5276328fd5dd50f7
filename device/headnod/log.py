"""Format of the log: for a terminal, or with priorities for systemd's journal.

`journalctl -p warning` then shows what needs attention.
"""

from __future__ import annotations

import logging
import os
from types import TracebackType

from headnod.escaping import printable

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def formatter(stream: int, journal: str) -> logging.Formatter:
    """The formatter for a stream.

    Args:
        stream: File descriptor of the log.
        journal: Value of JOURNAL_STREAM: device and inode of the journal's stream, or
            empty. See systemd.exec(5).
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
