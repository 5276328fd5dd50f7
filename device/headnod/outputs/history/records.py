"""Rows of the history file: estimates and songs are written, read, pruned, and printed as table, JSON lines or CSV."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar

import msgspec
from msgspec.structs import replace

from headnod.clock import Clock
from headnod.errors import UsageError
from headnod.escaping import padded, printable
from headnod.outputs.history import (
    PAGE,
    UNDATED_ESTIMATES,
    UNDATED_SONGS,
    from_milliseconds,
    mark_undated,
    prunable,
    prune_undated,
    read_only,
    tags_exist,
    to_milliseconds,
    undated_tables_exist,
)
from headnod.pipeline.estimate import Estimate, Song

_log = logging.getLogger(__name__)

Row = TypeVar("Row")

_SLACK_PAGES = 64
_PRUNED_ROWS = 200
_READ_ROWS = 1000

# A table of its own, so that a history can be read by an older version.
_SONG_TAGS = """CREATE TABLE IF NOT EXISTS song_tags (
    ended INTEGER NOT NULL, -- as in songs
    started INTEGER NOT NULL,
    tags TEXT NOT NULL, -- JSON array, the most probable first
    PRIMARY KEY (ended, started)
) WITHOUT ROWID"""

_KEYS = {"estimates": ("time", "sequence"), "songs": ("ended", "started")}
"""Primary key of each table, whose first column is the time of a row."""


class PastEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate of the history."""

    time: datetime
    """Time of the estimate, UTC."""

    genre: str
    """A label of the model, `silence`, or `unknown`."""

    confidence: float
    """Smoothed probability of the best label (0-1); 0 in silence."""

    level: float
    """Level of the window in dBFS."""

    model: str
    """Name and version of the model that made the scores."""

    scores: dict[str, float]
    """Smoothed probability of every label, to three decimals."""

    clock_synchronised: bool = True
    """False if its date may be wrong: the clock had not been synchronised since boot."""


class PastSong(msgspec.Struct, frozen=True, kw_only=True):
    """A song of the history."""

    start: datetime
    """When its genre was first named, UTC."""

    end: datetime
    """When its genre was last named, UTC."""

    genre: str
    """A label of the model."""

    stability: float
    """Share of its estimates that named its genre (0-1)."""

    estimates: int
    """Number of estimates from start to end, including those of other genres."""

    clock_synchronised: bool = True
    """False if its dates may be wrong: the clock had not been synchronised since boot."""


def write(
    db: sqlite3.Connection, estimates: Collection[Estimate], songs: Collection[Song], clock: Clock | None = None
) -> None:
    """Add or replace rows inside a transaction, so that a write may be repeated.

    The clock corrects the dates of rows that were made before it was synchronised; None keeps them.
    """
    if clock is not None:
        estimates = [_dated(estimate, clock) for estimate in estimates]
        songs = [_dated_song(song, clock) for song in songs]
        mark_undated(db, estimates, songs, clock)
    models = {key: _model(db, *key) for key in {_model_of(estimate) for estimate in estimates}}
    db.executemany(
        "INSERT OR REPLACE INTO estimates VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                to_milliseconds(e.time),
                e.sequence,
                e.genre,
                e.confidence,
                e.level,
                models[_model_of(e)],
                _thousandths(e),
            )
            for e in estimates
        ],
    )
    db.executemany(
        "INSERT OR REPLACE INTO songs VALUES (?, ?, ?, ?, ?)",
        [(to_milliseconds(s.end), to_milliseconds(s.start), s.genre, s.stability, s.estimates) for s in songs],
    )
    if tagged := [song for song in songs if song.tags]:
        db.execute(_SONG_TAGS)
        db.executemany(
            "INSERT OR REPLACE INTO song_tags VALUES (?, ?, ?)",
            [(to_milliseconds(s.end), to_milliseconds(s.start), msgspec.json.encode(s.tags).decode()) for s in tagged],
        )


def _dated(estimate: Estimate, clock: Clock) -> Estimate:
    if estimate.clock_synchronised:
        return estimate
    return replace(estimate, time=clock.at(estimate.monotonic))


def _dated_song(song: Song, clock: Clock) -> Song:
    if song.clock_synchronised:
        return song
    return replace(song, start=clock.at(song.started_monotonic), end=clock.at(song.ended_monotonic))


def prune(db: sqlite3.Connection, *, before: datetime | None, size: int, step: int = 0) -> None:
    """Delete some of the oldest rows inside a transaction, with every write, to keep the file within its limits.

    Rows from before `before` are deleted, if it is not None. Over `size` bytes the oldest estimates are deleted,
    whatever their age, and songs when there are no more estimates. At once `step` rows of each kind are deleted, at
    least 200.
    """
    step, room = max(step, _PRUNED_ROWS), size // PAGE
    aged = -1 if before is None else to_milliseconds(before)
    limits = dict.fromkeys(_KEYS, aged)
    pages, free = (db.execute(f"PRAGMA {which}").fetchone()[0] for which in ("page_count", "freelist_count"))
    dated = dict(zip(_KEYS, prunable(db), strict=True))
    if pages - free > room:
        # Songs take a hundredth of the space and are what a calendar of a year is made of.
        for table, (time, _) in _KEYS.items():
            if (limit := _time_of_row(db, table, time, step, dated[table])) is not None:
                limits[table] = max(aged, limit)
                break
    for table, (time, other) in _KEYS.items():
        db.execute(
            f"DELETE FROM {table} WHERE ({time}, {other}) IN (SELECT {time}, {other} FROM {table} "  # noqa: S608 - constants
            f"WHERE {time} < ? AND {dated[table]} ORDER BY {time}, {other} LIMIT ?)",
            (limits[table], step),
        )
    prune_undated(db)
    if tags_exist(db):
        db.execute("DELETE FROM song_tags WHERE ended < (SELECT min(ended) FROM songs)")
    # Freed pages are used again, so the file shrinks only when its limit was lowered.
    if pages > room + _SLACK_PAGES:
        for _ in range(min(free, _SLACK_PAGES)):
            # sqlite3 steps this pragma only once, whatever its argument.
            db.execute("PRAGMA incremental_vacuum(1)")


def read_songs(path: Path, *, since: datetime | None = None) -> Iterator[PastSong]:
    """Songs that ended at or after a time, the oldest first.

    Raises:
        DatabaseError: The file is absent, damaged, or not a history.
    """
    query = """SELECT ended, started, genre, stability, estimates, {undated} FROM songs
        WHERE (ended, started) > (?, ?) ORDER BY ended, started LIMIT ?"""
    return _rows(path, query, UNDATED_SONGS, _song, since)


def read_estimates(path: Path, *, since: datetime | None = None) -> Iterator[PastEstimate]:
    """Estimates that were made at or after a time, the oldest first.

    Raises:
        DatabaseError: The file is absent, damaged, or not a history.
    """
    query = """SELECT time, sequence, genre, confidence, level, {undated}, name, labels, scores
        FROM estimates LEFT JOIN models ON models.id = estimates.model
        WHERE (time, sequence) > (?, ?) ORDER BY time, sequence LIMIT ?"""
    return _rows(path, query, UNDATED_ESTIMATES, _estimate, since)


def read_labels(path: Path) -> list[str]:
    """Every label of every model in the history.

    Raises:
        DatabaseError: The file is absent, damaged, or not a history.
    """
    with read_only(path) as db:
        found = db.execute("SELECT labels FROM models ORDER BY id").fetchall()
    return list(dict.fromkeys(label for (labels,) in found for label in msgspec.json.decode(labels, type=list[str])))


def _rows(path: Path, query: str, undated: str, unpack: Callable[..., Row], since: datetime | None) -> Iterator[Row]:
    damaged = 0
    key = (-1 if since is None else to_milliseconds(since), -1)
    with read_only(path) as db:
        query = query.format(undated=undated if undated_tables_exist(db) else "0")
        # In parts: a read that lasts as long as a pager is open would keep SQLite from truncating its log.
        while rows := db.execute(query, (*key, _READ_ROWS)).fetchall():
            key = rows[-1][:2]
            for row in rows:
                try:
                    unpacked = unpack(*row)
                except (ValueError, TypeError, OverflowError):
                    damaged += 1
                else:
                    yield unpacked
    if damaged:
        _log.warning("%s: %d damaged rows were left out", path, damaged)


def _song(ended: int, started: int, genre: str, stability: float, estimates: int, undated: int) -> PastSong:
    return msgspec.convert(
        {
            "start": from_milliseconds(started),
            "end": from_milliseconds(ended),
            "genre": genre,
            "stability": stability,
            "estimates": estimates,
            "clock_synchronised": not undated,
        },
        PastSong,
    )


def _estimate(time: int, _sequence: int, genre: str, confidence: float, level: float, *rest: Any) -> PastEstimate:  # noqa: ANN401 - converted below
    undated, model, labels, scores = rest
    names, numbers = msgspec.json.decode(labels, type=list[str]), msgspec.json.decode(scores, type=list[int])
    return msgspec.convert(
        {
            "time": from_milliseconds(time),
            "genre": genre,
            "confidence": confidence,
            "level": level,
            "model": model,
            "scores": {name: number / 1000 for name, number in zip(names, numbers, strict=True)},
            "clock_synchronised": not undated,
        },
        PastEstimate,
    )


def _time_of_row(db: sqlite3.Connection, table: str, time: str, place: int, condition: str) -> int | None:
    query = f"SELECT {time} FROM {table} WHERE {condition} ORDER BY {time} LIMIT 1 OFFSET ?"  # noqa: S608 - constants
    found = db.execute(query, (place,)).fetchone()
    return int(found[0]) if found else None


def _model(db: sqlite3.Connection, name: str, labels: tuple[str, ...]) -> int:
    key = (name, msgspec.json.encode(labels).decode())
    db.execute("INSERT OR IGNORE INTO models (name, labels) VALUES (?, ?)", key)
    return int(db.execute("SELECT id FROM models WHERE name = ? AND labels = ?", key).fetchone()[0])


def _model_of(estimate: Estimate) -> tuple[str, tuple[str, ...]]:
    return estimate.model, tuple(estimate.scores)


def _thousandths(estimate: Estimate) -> str:
    return msgspec.json.encode([round(1000 * score) for score in estimate.scores.values()]).decode()


Form = Literal["table", "json", "csv"]
Of = Literal["songs", "estimates"]

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SONG = ("start", "end", "genre", "stability", "estimates")
_ESTIMATE = ("time", "genre", "confidence", "level", "model")
_SYNCHRONISED = "clock_synchronised"


def print_history(
    path: Path,
    *,
    since: str | None,
    form: Form,
    out: TextIO,
    now: datetime,
    of: Of = "songs",
    zone: tzinfo | None = None,
) -> None:
    """Write the history to a stream, one line per row, the oldest first.

    `since` is a duration or a date, see `parse_since`; None writes all. A table has times of `zone`, the zone of the
    system if None, JSON lines and CSV have UTC.

    Raises:
        UsageError: `since` is neither a duration nor a date.
        DatabaseError: There is no history, or it cannot be read.
    """
    begin = None if since is None else parse_since(since, now=now, zone=zone)
    with read_only(path):
        # An error comes before the first line.
        pass
    rows: Iterator[PastSong] | Iterator[PastEstimate]
    rows = read_songs(path, since=begin) if of == "songs" else read_estimates(path, since=begin)
    if form == "json":
        out.writelines(msgspec.json.encode(row).decode() + "\n" for row in rows)
    elif form == "csv":
        fixed = _SONG if of == "songs" else (*_ESTIMATE, *map(_column, read_labels(path)))
        _write_csv(rows, out, (*fixed, _SYNCHRONISED))
    else:
        out.writelines(line + "\n" for line in _table(rows, of, zone))


def parse_since(text: str, *, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The time that `--since` means: a duration before `now`, or a local date.

    >>> parse_since("90m", now=datetime(2026, 11, 20, 12, tzinfo=UTC)).isoformat()
    '2026-11-20T10:30:00+00:00'

    Raises:
        UsageError: It is neither a duration nor a date.
    """
    try:
        if duration := re.fullmatch(r"(\d+)([smhdw])", text.strip(), re.ASCII):
            return now - timedelta(**{_UNITS[duration[2]]: int(duration[1])})
        date = datetime.fromisoformat(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=zone) if zone else date.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since: '{text}' is neither a duration (90m, 2h, 3d) nor a date (2026-11-20, 2026-11-20T18:30)"
        ) from error


def _write_csv(rows: Iterable[PastSong | PastEstimate], out: TextIO, columns: Iterable[str]) -> None:
    import csv  # noqa: PLC0415 - `headnod history` only, not the listener

    writer = csv.DictWriter(out, tuple(columns), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = msgspec.to_builtins(row)
        scores, cells[_SYNCHRONISED] = cells.pop("scores", {}), str(row.clock_synchronised).lower()
        writer.writerow(cells | {_column(label): score for label, score in scores.items()})


def _column(label: str) -> str:
    return f"scores_{label}"


def _table(rows: Iterable[PastSong | PastEstimate], of: Of, zone: tzinfo | None) -> Iterator[str]:
    if of == "songs":
        yield f"{'start':19}  {'end':8}  {'genre':16}  stability  duration"
    else:
        yield f"{'time':19}  {'genre':16}  confidence   level  model"
    for row in rows:
        genre = padded(printable(row.genre), 16)
        note = "" if row.clock_synchronised else "  (clock was not synchronised)"
        if isinstance(row, PastSong):
            start, end = row.start.astimezone(zone), row.end.astimezone(zone)
            yield (
                f"{start:%Y-%m-%d %H:%M:%S}  {end:%H:%M:%S}  {genre}  {row.stability:9.2f}"
                f"  {_duration(row.end - row.start):>8}{note}"
            )
        else:
            time = row.time.astimezone(zone)
            yield f"{time:%Y-%m-%d %H:%M:%S}  {genre}  {row.confidence:10.2f}  {row.level:6.1f}  {row.model}{note}"


def _duration(length: timedelta) -> str:
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
