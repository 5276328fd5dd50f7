"""Rows that were dated by a clock that had not been synchronised, and their correction.

Each such row has a row in a second table with its monotonic time and the boot that it
belongs to. The tables are created when they are first needed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from headnod.clock import STEP, Clock
from headnod.pipeline.estimate import Estimate
from headnod.pipeline.songs import Song

ROWS_PER_STEP = 2000
"""Rows of each kind that one call of `redate` corrects: 200,000 would stop the listener for seconds."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS undated_estimates (
    time INTEGER NOT NULL, -- as in estimates, by a clock that was not synchronised
    sequence INTEGER NOT NULL,
    boot TEXT NOT NULL, -- the kernel's boot id
    monotonic INTEGER NOT NULL, -- milliseconds since that boot
    PRIMARY KEY (time, sequence)
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS undated_estimates_of_boot ON undated_estimates (boot, monotonic, sequence)",
    """CREATE TABLE IF NOT EXISTS undated_songs (
    ended INTEGER NOT NULL, -- as in songs, by a clock that was not synchronised
    started INTEGER NOT NULL,
    boot TEXT NOT NULL,
    ended_monotonic INTEGER NOT NULL,
    started_monotonic INTEGER NOT NULL,
    PRIMARY KEY (ended, started)
) WITHOUT ROWID""",
)
ESTIMATES = (
    "EXISTS (SELECT 1 FROM undated_estimates u WHERE u.time = estimates.time AND u.sequence = estimates.sequence)"
)
"""SQL condition of a row of estimates: its date may be wrong."""

SONGS = "EXISTS (SELECT 1 FROM undated_songs u WHERE u.ended = songs.ended AND u.started = songs.started)"
"""SQL condition of a row of songs: its dates may be wrong."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_milliseconds(time: datetime) -> int:
    """A date as it is stored: milliseconds since 1970."""
    return (time - _EPOCH) // _MILLISECOND


def tables_exist(db: sqlite3.Connection) -> bool:
    """Whether the tables of this module exist."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'undated_songs'").fetchone() is not None


def tags_exist(db: sqlite3.Connection) -> bool:
    """Whether songs have tags, which are in a table of their own."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'song_tags'").fetchone() is not None


def prunable(db: sqlite3.Connection) -> tuple[str, str]:
    """SQL conditions of the estimates and songs that may be deleted for their age or for want of space.

    Only rows with right dates; all rows if no estimate has a right date.
    """
    dated = f"SELECT 1 FROM estimates WHERE NOT {ESTIMATES} LIMIT 1"  # noqa: S608 - constants
    if not tables_exist(db) or db.execute(dated).fetchone() is None:
        return "1", "1"
    return f"NOT {ESTIMATES}", f"NOT {SONGS}"


def prune(db: sqlite3.Connection) -> None:
    """Delete notes that are older than every remaining row. Inside a transaction."""
    if tables_exist(db):
        db.execute("DELETE FROM undated_estimates WHERE time < (SELECT min(time) FROM estimates)")
        db.execute("DELETE FROM undated_songs WHERE ended < (SELECT min(ended) FROM songs)")


def mark(db: sqlite3.Connection, estimates: Iterable[Estimate], songs: Iterable[Song], clock: Clock) -> None:
    """Note those of these rows whose dates may be wrong. Inside a transaction."""
    if clock.synchronised():
        return
    undated = [each for each in estimates if not each.clock_synchronised]
    ended = [each for each in songs if not each.clock_synchronised]
    if not undated and not ended:
        return
    for table in _TABLES:
        db.execute(table)
    db.executemany(
        "INSERT OR REPLACE INTO undated_estimates VALUES (?, ?, ?, ?)",
        [(to_milliseconds(e.time), e.sequence, clock.boot, round(1e3 * e.monotonic)) for e in undated],
    )
    stamps = ((s, round(1e3 * s.ended_monotonic), round(1e3 * s.started_monotonic)) for s in ended)
    db.executemany(
        "INSERT OR REPLACE INTO undated_songs VALUES (?, ?, ?, ?, ?)",
        [(to_milliseconds(s.end), to_milliseconds(s.start), clock.boot, last, first) for s, last, first in stamps],
    )


def redate(db: sqlite3.Connection, clock: Clock, after: int = -1) -> int | None:
    """Correct the dates of rows of this boot by the wall clock as it is set now. Inside a transaction.

    Args:
        db: The history file.
        clock: Once it is synchronised, the rows have right dates.
        after: Milliseconds of the monotonic clock after which to continue.

    Returns:
        Where to continue; None if every row is done.
    """
    if not clock.boot or not tables_exist(db):
        return None
    rows = db.execute(
        "SELECT time, sequence, monotonic FROM undated_estimates WHERE boot = ? AND monotonic > ? "
        "ORDER BY monotonic, sequence LIMIT ?",
        (clock.boot, after, ROWS_PER_STEP),
    ).fetchall()
    for time, sequence, monotonic in rows:
        _move(db, "estimates", ("time", "sequence"), (time, sequence), (_at(clock, monotonic, time), sequence), clock)
    songs = db.execute(
        "SELECT ended, started, ended_monotonic, started_monotonic FROM undated_songs WHERE boot = ? LIMIT ?",
        (clock.boot, ROWS_PER_STEP),
    ).fetchall()
    tagged = tags_exist(db)
    for ended, started, last, first in songs:
        right = _at(clock, last, ended), _at(clock, first, started)
        _move(db, "songs", ("ended", "started"), (ended, started), right, clock)
        if tagged:
            db.execute(
                "UPDATE OR REPLACE song_tags SET ended = ?, started = ? WHERE ended = ? AND started = ?",
                (*right, ended, started),
            )
    return int(rows[-1][2]) if len(rows) == ROWS_PER_STEP else None


def _at(clock: Clock, monotonic: int, before: int) -> int:
    right = to_milliseconds(clock.at(monotonic / 1e3))
    # NTP slews smaller differences, and those are not worth a write.
    return right if abs(right - before) >= 1e3 * STEP else before


def _move(
    db: sqlite3.Connection,
    table: str,
    columns: tuple[str, str],
    old: tuple[int, int],
    new: tuple[int, int],
    clock: Clock,
) -> None:
    first, second = columns
    where = f"WHERE {first} = ? AND {second} = ?"
    if new != old:
        db.execute(f"UPDATE OR REPLACE {table} SET {first} = ?, {second} = ? {where}", (*new, *old))  # noqa: S608 - constants
    if clock.synchronised():
        db.execute(f"DELETE FROM undated_{table} {where}", old)  # noqa: S608 - constants
    elif new != old:
        db.execute(f"UPDATE OR REPLACE undated_{table} SET {first} = ?, {second} = ? {where}", (*new, *old))  # noqa: S608 - constants
