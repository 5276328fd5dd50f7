"""How a line of the log looks: for a person at a terminal, or for systemd's journal.

Alone because the journal knows by itself which program a line is of, and wants to
be told how grave it is: `journalctl -p warning` shows what a person should look at.
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
    """What a stream's lines are made by.

    Args:
        stream: The file descriptor that the log goes to.
        journal: The environment's JOURNAL_STREAM: device and inode of the stream
            that systemd gave to the service, empty where it gave none. See
            systemd.exec(5).
    """
    try:
        status = os.fstat(stream)
    except OSError:
        # A closed one: nobody reads it.
        return _ForAPerson()
    return _ForTheJournal() if journal == f"{status.st_dev}:{status.st_ino}" else _ForAPerson()


class _Legible(logging.Formatter):
    """A message is one line, whatever the names in it hold; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return printable(super().formatMessage(record))

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - the library's name
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


class _ForAPerson(_Legible):
    def __init__(self) -> None:
        super().__init__("headnod: %(message)s")


class _ForTheJournal(_Legible):
    """Each line begins with its priority, as sd-daemon(3) has it."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())
