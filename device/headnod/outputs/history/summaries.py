"""Summaries of a history file: songs with their confidence, seconds per genre, first songs, and runs of one genre.

The page of a listener shows them, and parts of the history are requested by MQTT: validated, read on a thread of their
own, and answered in pages with as many rows as fit in the size that requester and broker accept. Each call reads the
file once and closes it, so that it can be repeated from any thread while a listener writes.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from threading import BoundedSemaphore
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headnod.clock import local_zone
from headnod.errors import HeadnodError
from headnod.outputs.history import UNDATED_SONGS, read_only, tags_exist, undated_tables_exist
from headnod.pipeline.estimate import TAGS, Seconds, Share
from headnod.retry import RateLimitedLogger

_log = logging.getLogger(__name__)

Unit = Literal["hour", "day"]
Run = tuple[int, int, str]
"""Beginning and end in seconds since 1970, and the genre."""

SONGS = 500
"""Songs of one answer; the next one begins after the last of them."""

LONGEST = {"hours": 62 * 86_400.0, "days": 373 * 86_400.0, "timeline": 8 * 86_400.0}
"""Longest time of a request for each part that is summed; songs of any time are read page by page."""

Text = Annotated[str, Meta(min_length=1, max_length=64)]
_GAP = 60.0
_RUNS = 4000
_FETCHED = 500


class SongSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A song as the page lists it; times are seconds since 1970. The limits are for songs of other listeners."""

    start: Seconds
    """When its genre was first named."""

    end: Seconds
    """When its genre was last named."""

    genre: Text
    """A label of the model."""

    confidence: Share | None = None
    """Mean probability of the genre in the estimates that named it (0-1); None if those are deleted."""

    stability: Share
    """Share of its estimates that named its genre (0-1)."""

    tags: Annotated[list[Text], Meta(max_length=TAGS)] = []
    """Its most probable tags, the most probable first."""

    clock_synchronised: bool = True
    """False if its dates may be wrong."""


class Bucket(msgspec.Struct, frozen=True):
    """An hour or a day of the local time zone with music."""

    start: int
    """Its beginning, in seconds since 1970."""

    seconds: dict[str, float]
    """Seconds of songs by genre, the longest first."""

    songs: int
    """Number of songs that began in it."""


def songs(path: Path, first: float, last: float, *, after: float = 0.0, limit: int = SONGS) -> list[SongSummary]:
    """Songs that overlap a time, the oldest first.

    Times are in seconds since 1970. With `after` only songs that ended after it are given, to continue an earlier
    answer.

    Raises:
        DatabaseError: The file is absent, damaged, or not a history.
    """
    with read_only(path) as db:
        undated = UNDATED_SONGS if undated_tables_exist(db) else "0"
        tags = (
            "(SELECT tags FROM song_tags t WHERE t.ended = songs.ended AND t.started = songs.started)"
            if tags_exist(db)
            else "NULL"
        )
        query = f"""SELECT started, ended, genre, stability, {undated}, {tags},
            (SELECT avg(confidence) FROM estimates e
                WHERE e.time BETWEEN started AND ended AND e.genre = songs.genre)
            FROM songs WHERE ended > ? AND ended >= ? AND started < ? ORDER BY ended, started LIMIT ?"""  # noqa: S608 - constants
        rows = db.execute(query, (round(1e3 * after), 1e3 * first, 1e3 * last, limit)).fetchall()
    return [
        SongSummary(
            start=started / 1e3,
            end=ended / 1e3,
            genre=genre,
            confidence=None if confidence is None else round(confidence, 4),
            stability=stability,
            tags=msgspec.json.decode(tags, type=list[str]) if tags else [],
            clock_synchronised=not undated,
        )
        for started, ended, genre, stability, undated, tags, confidence in rows
    ]


def buckets(path: Path, first: float, last: float, unit: Unit, *, zone: tzinfo | None) -> list[Bucket]:
    """Seconds of each genre in every hour or day with a song. A song is divided where it passes into the next one.

    Times are in seconds since 1970. Hours and days begin in `zone`, that of the C library if None.

    Raises:
        DatabaseError: The file is absent, damaged, or not a history.
    """
    found: dict[int, dict[str, float]] = {}
    counts: dict[int, int] = {}
    with read_only(path) as db:
        rows = db.execute(
            "SELECT started / 1e3, ended / 1e3, genre FROM songs WHERE ended >= ? AND started < ? ORDER BY ended",
            (1e3 * first, 1e3 * last),
        )
        begin, end = 0, 0
        for started, ended, genre in _fetched(rows):
            time, stop, counted = max(started, first), min(ended, last), started < first
            while time < stop:
                if not begin <= time < end:
                    begin, end = _bounds(time, unit, zone)
                sums = found.setdefault(begin, {})
                sums[genre] = sums.get(genre, 0.0) + min(stop, end) - time
                if not counted:
                    counts[begin], counted = counts.get(begin, 0) + 1, True
                time = end
    return [
        Bucket(
            start,
            {genre: round(seconds, 1) for genre, seconds in sorted(sums.items(), key=lambda each: -each[1])},
            counts.get(start, 0),
        )
        for start, sums in sorted(found.items())
    ]


def firsts(path: Path) -> list[dict[str, Any]]:
    """The first song of each genre, the latest first: `genre` and `time` in seconds since 1970.

    Raises:
        DatabaseError: The file is absent, damaged, or not a history.
    """
    with read_only(path) as db:
        rows = db.execute("SELECT genre, min(started) FROM songs GROUP BY genre ORDER BY 2 DESC").fetchall()
    return [{"genre": genre, "time": started / 1e3} for genre, started in rows]


def runs(path: Path, first: float, last: float) -> list[Run]:
    """The timeline of a time: runs of estimates of one genre; of songs where estimates are deleted.

    Raises:
        DatabaseError: The file is absent, damaged, or not a history.
    """
    span = (round(1e3 * first), round(1e3 * last))
    with read_only(path) as db:
        query = "SELECT time / 1e3, time / 1e3, genre FROM estimates WHERE time >= ? AND time < ? ORDER BY time"
        found = _joined(_fetched(db.execute(query, span)), _GAP)
        if not found:
            query = (
                "SELECT started / 1e3, ended / 1e3, genre FROM songs WHERE ended >= ? AND started < ? ORDER BY ended"
            )
            found = _joined(_fetched(db.execute(query, span)), 0.0)
    return [(round(begin), round(end), genre) for begin, end, genre in found]


def _joined(rows: Iterator[tuple[float, float, str]], gap: float) -> list[tuple[float, float, str]]:
    found: list[tuple[float, float, str]] = []
    for begin, end, genre in rows:
        if found and begin - found[-1][1] <= gap:
            # An estimate is of the time since the one before.
            begin = min(begin, found[-1][1]) if gap else begin  # noqa: PLW2901
            if found[-1][2] == genre:
                found[-1] = (found[-1][0], end, genre)
                continue
        found.append((begin, end, genre))
    shortest = 5
    while len(found) > _RUNS:
        found = [run for run in found if run[1] - run[0] >= shortest]
        shortest *= 2
    return found


def _fetched(rows: sqlite3.Cursor) -> Iterator[tuple[float, float, str]]:
    while some := rows.fetchmany(_FETCHED):
        yield from some


def local_date(seconds: float, zone: tzinfo | None) -> str:
    """The date of a time, such as 2026-11-27."""
    return datetime.fromtimestamp(seconds, zone).date().isoformat()


def _bounds(time: float, unit: Unit, zone: tzinfo | None) -> tuple[int, int]:
    """Beginning and end of the local hour or day that a time lies in, in seconds since 1970."""
    local = datetime.fromtimestamp(time, zone).replace(minute=0, second=0, microsecond=0)
    if unit == "hour":
        begin = int(local.timestamp())
        # The hour that is repeated when daylight saving time ends has the same name twice; one that begins within the
        # time that is left out when it starts (Chatham Islands: 2:45 to 3:45) would begin after its own songs.
        begin += int((time - begin) // 3600 * 3600)
        return begin, begin + 3600
    day = local.replace(hour=0, fold=0)
    return int(day.timestamp()), int((day + timedelta(days=1)).timestamp())


LARGEST = 61_440
"""Bytes of the rows of the largest page."""

WAITING = 4
"""Requests that are read or wait at once."""

_SMALLEST = 512
Answered = Callable[[dict[str, Any] | None, str], None]
"""Called once, on another thread, with the page, or with None and the reason."""


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of `request/history`."""

    part: Literal["songs", "hours", "days", "firsts", "timeline"]
    """What is requested."""

    start: Seconds = 0.0
    """Beginning of the time, in seconds since 1970."""

    end: Seconds = 4e9
    """Its end."""

    after: Seconds = 0.0
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

        The arguments are fields of `HistoryQuery`, from outside. The broker accepts `room` bytes of rows. `answered`
        takes the page.

        Raises:
            HistoryQueryError: The request is not valid, no history is kept, or too many requests wait.
        """
        query, path = _query(arguments), self._path()
        if path is None:
            raise HistoryQueryError("this listener keeps no history (history.path in its configuration)")
        if room < _SMALLEST:
            raise HistoryQueryError("the broker accepts only packets that are too small for a history")
        if not self._free.acquire(blocking=False):
            raise HistoryQueryError(f"{WAITING} requests for the history are in progress: try again later")
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
            # Without the folder, whose name is not published beyond this machine.
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
        found = songs(path, query.start, query.end, after=query.after, limit=query.rows)
        rows = _fitting([msgspec.to_builtins(song) for song in found], size)
        more = len(rows) < len(found) or len(found) == query.rows
        return _answer(query.part, rows, rows[-1]["end"] if rows and more else None)
    # The cursor counts rows: sums of the past do not change between two pages.
    everything, before = _rows(path, query), int(query.after)
    rows = _fitting(everything[before : before + query.rows], size)
    sent = before + len(rows)
    return _answer(query.part, rows, sent if sent < len(everything) else None)


def _rows(path: Path, query: HistoryQuery) -> Sequence[Any]:
    if query.part == "firsts":
        return firsts(path)
    if query.part == "timeline":
        return runs(path, query.start, query.end)
    zone = local_zone()
    unit: Unit = "hour" if query.part == "hours" else "day"
    dated = query.part == "days"
    return [
        msgspec.to_builtins(each) | ({"date": local_date(each.start, zone)} if dated else {})
        for each in buckets(path, query.start, query.end, unit, zone=zone)
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
        raise HistoryQueryError(f"a row has more than the {size} bytes that are accepted")
    return found
