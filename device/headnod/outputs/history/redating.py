"""Rows that were written by a clock that had not been synchronised: which they are, and their right dates later.

Beside such a row stands when it was made by the monotonic clock of which boot. The
tables are made when they are first needed, and an older headnod leaves them alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from headnod.clock import STEP, Clock
from headnod.pipeline.estimate import Estimate
from headnod.pipeline.songs import Song

STEPS = 2000
"""Rows of a kind that are dated anew at once: 200,000 would stop the listener for seconds."""

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
"""Of a row of estimates: its date may be wrong."""

SONGS = "EXISTS (SELECT 1 FROM undated_songs u WHERE u.ended = songs.ended AND u.started = songs.started)"
"""Of a row of songs: its dates may be wrong."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def number(time: datetime) -> int:
    """A date as it stands in the file: milliseconds since 1970."""
    return (time - _EPOCH) // _MILLISECOND


def exist(db: sqlite3.Connection) -> bool:
    """The tables are there."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'undated_songs'").fetchone() is not None


def others(db: sqlite3.Connection) -> tuple[str, str]:
    """Conditions of estimates and of songs that may be forgotten for their age or for want of room.

    Those with dates to be believed; all of them where there are no such estimates.
    """
    if not exist(db) or db.execute(f"SELECT 1 FROM estimates WHERE NOT {ESTIMATES} LIMIT 1").fetchone() is None:  # noqa: S608
        return "1", "1"
    return f"NOT {ESTIMATES}", f"NOT {SONGS}"


def forget(db: sqlite3.Connection) -> None:
    """Forget what is older than every row that is left. Inside a transaction."""
    if exist(db):
        db.execute("DELETE FROM undated_estimates WHERE time < (SELECT min(time) FROM estimates)")
        db.execute("DELETE FROM undated_songs WHERE ended < (SELECT min(ended) FROM songs)")


def note(db: sqlite3.Connection, estimates: Iterable[Estimate], songs: Iterable[Song], clock: Clock) -> None:
    """Remember that these rows, which are dated already, have no dates to be believed. Inside a transaction."""
    if clock.synchronised():
        return
    doubtful = [each for each in estimates if not each.clock_synchronised]
    ended = [each for each in songs if not each.clock_synchronised]
    if not doubtful and not ended:
        return
    for table in _TABLES:
        db.execute(table)
    db.executemany(
        "INSERT OR REPLACE INTO undated_estimates VALUES (?, ?, ?, ?)",
        [(number(e.time), e.sequence, clock.boot, round(1e3 * e.monotonic)) for e in doubtful],
    )
    db.executemany(
        "INSERT OR REPLACE INTO undated_songs VALUES (?, ?, ?, ?, ?)",
        [
            (
                number(s.end),
                number(s.start),
                clock.boot,
                round(1e3 * s.ended_monotonic),
                round(1e3 * s.started_monotonic),
            )
            for s in ended
        ],
    )


def redate(db: sqlite3.Connection, clock: Clock, after: int = -1) -> int | None:
    """Give rows of this boot the dates that they have by the clock as it is set now. Inside a transaction.

    Args:
        db: The history file.
        clock: The clocks; once they are synchronised, the dates are believed.
        after: Milliseconds of the monotonic clock after which to go on.

    Returns:
        Where to go on; None if every row is done.
    """
    if not clock.boot or not exist(db):
        return None
    rows = db.execute(
        "SELECT time, sequence, monotonic FROM undated_estimates WHERE boot = ? AND monotonic > ? "
        "ORDER BY monotonic, sequence LIMIT ?",
        (clock.boot, after, STEPS),
    ).fetchall()
    for time, sequence, monotonic in rows:
        _move(db, "estimates", ("time", "sequence"), (time, sequence), (_at(clock, monotonic, time), sequence), clock)
    songs = db.execute(
        "SELECT ended, started, ended_monotonic, started_monotonic FROM undated_songs WHERE boot = ? LIMIT ?",
        (clock.boot, STEPS),
    ).fetchall()
    for ended, started, last, first in songs:
        right = _at(clock, last, ended), _at(clock, first, started)
        _move(db, "songs", ("ended", "started"), (ended, started), right, clock)
    return int(rows[-1][2]) if len(rows) == STEPS else None


def _at(clock: Clock, monotonic: int, before: int) -> int:
    right = number(clock.at(monotonic / 1e3))
    # NTP slews what is less, and a row that hardly moves is not worth a write.
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
        db.execute(f"UPDATE OR REPLACE {table} SET {first} = ?, {second} = ? {where}", (*new, *old))  # noqa: S608 - our own names
    if clock.synchronised():
        db.execute(f"DELETE FROM undated_{table} {where}", old)  # noqa: S608 - our own names
    elif new != old:
        db.execute(f"UPDATE OR REPLACE undated_{table} SET {first} = ?, {second} = ? {where}", (*new, *old))  # noqa: S608 - our own names
