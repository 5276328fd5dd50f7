"""Requests by MQTT for a part of the history: validated, read on a thread of their own, and answered in pages.

A page has as many rows as fit in the size that the requester and the broker accept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headnod.clock import local_zone
from headnod.errors import HeadnodError
from headnod.outputs.history import summaries
from headnod.outputs.history.summaries import LONGEST, SONGS
from headnod.retry import RateLimitedLogger

_log = logging.getLogger(__name__)

LARGEST = 61_440
"""Bytes of the rows of the largest page."""

WAITING = 4
"""Requests that are read or wait at once."""

_SMALLEST = 512
_Moment = Annotated[float, Meta(ge=0.0, le=4e9)]

Answered = Callable[[dict[str, Any] | None, str], None]
"""Called once, on another thread, with the page, or with None and the reason."""


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of `request/history`."""

    part: Literal["songs", "hours", "days", "firsts", "timeline"]
    """What is requested."""

    start: _Moment = 0.0
    """Beginning of the time, in seconds since 1970."""

    end: _Moment = 4e9
    """Its end."""

    after: _Moment = 0.0
    """`next` of the page before; 0 for the first page."""

    rows: Annotated[int, Meta(ge=1, le=SONGS)] = SONGS
    """Largest number of rows of a page."""

    bytes: Annotated[int, Meta(ge=_SMALLEST, le=LARGEST)] = LARGEST
    """Largest size of the rows of a page as JSON."""


class HistoryQueryError(HeadnodError, ValueError):
    """A request for the history is refused."""


class HistoryRequests:
    """Answers requests from the history file of a listener, one at a time."""

    def __init__(self, path: Callable[[], Path | None]) -> None:
        """Read the file at `path()`, which is None if no history is kept."""
        self._path = path
        self._free = BoundedSemaphore(WAITING)
        # Its thread starts with the first request.
        self._executor = ThreadPoolExecutor(1, "history by MQTT")
        self._warnings = RateLimitedLogger(_log)

    def submit(self, arguments: Mapping[str, Any], room: int, answered: Answered) -> None:
        """Read a page on another thread; returns at once.

        Args:
            arguments: The fields of `HistoryQuery`, from outside.
            room: Bytes of rows that the broker accepts.
            answered: Takes the page.

        Raises:
            HistoryQueryError: The request is not valid, no history is kept, or too many requests wait.
        """
        query, path = _query(arguments), self._path()
        if path is None:
            raise HistoryQueryError("this listener keeps no history (history.path in its configuration)")
        if room < _SMALLEST:
            raise HistoryQueryError("the broker accepts only packets that are too small for a history")
        if not self._free.acquire(blocking=False):
            message = f"{WAITING} requests for the history wait already: repeat it later"
            raise HistoryQueryError(message)
        try:
            self._executor.submit(self._read, path, query, min(room, query.bytes), answered)
        except RuntimeError:
            self._free.release()
            raise HistoryQueryError("the listener is ending") from None

    def close(self) -> None:
        """Drop the requests that wait."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _read(self, path: Path, query: HistoryQuery, size: int, answered: Answered) -> None:
        page, reason = None, ""
        try:
            page = _page(path, query, size)
        except HeadnodError as error:
            # The folder is nobody's business beyond this machine.
            reason = str(error).replace(str(path), path.name)
        except Exception as error:
            self._warnings.warn("reading", "a request for the history by MQTT failed", error=error)
            reason = "it failed: see headnod's log"
        try:
            answered(page, reason)
        finally:
            self._free.release()


def _query(arguments: Mapping[str, Any]) -> HistoryQuery:
    try:
        query = msgspec.convert(dict(arguments), HistoryQuery)
    except msgspec.ValidationError as error:
        raise HistoryQueryError(str(error)) from None
    longest = LONGEST.get(query.part)
    if not 0.0 < query.end - query.start <= (longest or query.end):
        message = f"start and end: {query.start:.0f} to {query.end:.0f} is not a time"
        raise HistoryQueryError(message + (f" of at most {longest / 86_400:.0f} days" if longest else ""))
    return query


def _page(path: Path, query: HistoryQuery, size: int) -> dict[str, Any]:
    if query.part == "songs":
        songs = summaries.songs(path, query.start, query.end, after=query.after, limit=query.rows)
        rows = _fitting([msgspec.to_builtins(song) for song in songs], size)
        more = len(rows) < len(songs) or len(songs) == query.rows
        return _answer(query.part, rows, rows[-1]["end"] if rows and more else None)
    # The cursor counts rows: sums of the past do not change between two pages.
    everything, before = _rows(path, query), int(query.after)
    rows = _fitting(everything[before : before + query.rows], size)
    sent = before + len(rows)
    return _answer(query.part, rows, sent if sent < len(everything) else None)


def _rows(path: Path, query: HistoryQuery) -> Sequence[Any]:
    if query.part == "firsts":
        return summaries.firsts(path)
    if query.part == "timeline":
        return summaries.runs(path, query.start, query.end)
    zone = local_zone()
    unit: summaries.Unit = "hour" if query.part == "hours" else "day"
    buckets = summaries.buckets(path, query.start, query.end, unit, zone=zone)
    dated = query.part == "days"
    return [
        msgspec.to_builtins(each) | ({"date": summaries.local_date(each.start, zone)} if dated else {})
        for each in buckets
    ]


def _answer(part: str, rows: list[Any], cursor: float | None) -> dict[str, Any]:
    return {"part": part, "rows": rows} | ({} if cursor is None else {"next": cursor})


def _fitting(rows: Sequence[Any], size: int) -> list[Any]:
    """As many of the first rows as fit in a size.

    Raises:
        HistoryQueryError: Not even the first fits.
    """
    found, used = [], 2
    for row in rows:
        used += len(msgspec.json.encode(row)) + 1
        if used > size:
            break
        found.append(row)
    if rows and not found:
        message = f"a row has more than the {size} bytes that are accepted"
        raise HistoryQueryError(message)
    return found
