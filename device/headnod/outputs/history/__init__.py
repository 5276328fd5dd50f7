"""The history file: its tables, and opening it for writing and for reading; correction of dates from a wrong clock.

The listener writes it while `headnod history` reads it. It is SQLite in WAL mode; times
are Unix milliseconds, and the scores of an estimate are a JSON array of thousandths in
the order of the model's labels, so that any SQLite tool can read them:

    SELECT datetime(time / 1000, 'unixepoch'), genre FROM estimates;

Each row that was dated by a clock that had not been synchronised has a row in a second
table with its monotonic time and the boot that it belongs to. These tables are created
when they are first needed.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headnod.clock import STEP, Clock
from headnod.pipeline.estimate import Estimate, Song
from headnod.sqlite import (
    DamagedDatabaseError,
    DatabaseAccessError,
    DatabaseError,
    ForeignDatabaseError,
    check_pages,
    database_errors,
    open_private,
    use_wal,
)

VERSION = 1
"""Number of this file format, stored as SQLite's `user_version`."""

PAGE = 4096
"""Bytes by which the file grows and shrinks."""

_TABLES = {
    "models": """CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    labels TEXT NOT NULL, -- JSON array
    UNIQUE (name, labels)
)""",
    "estimates": """CREATE TABLE estimates (
    time INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    genre TEXT NOT NULL,
    confidence REAL NOT NULL,
    level REAL NOT NULL, -- dBFS
    model INTEGER NOT NULL REFERENCES models,
    scores TEXT NOT NULL, -- JSON array of thousandths
    PRIMARY KEY (time, sequence)
) WITHOUT ROWID""",
    "songs": """CREATE TABLE songs (
    ended INTEGER NOT NULL,
    started INTEGER NOT NULL,
    genre TEXT NOT NULL,
    stability REAL NOT NULL,
    estimates INTEGER NOT NULL,
    PRIMARY KEY (ended, started)
) WITHOUT ROWID""",
}

_MAGIC = b"SQLite format 3\0"
_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})


class HistoryFile:
    """A history file, open for writing and locked.

    Every method may raise DamagedDatabaseError or DatabaseError (the disk is full,
    read-only, failing or absent).
    """

    def __init__(self, path: Path, *, check: bool = True) -> None:
        """Open a history file, or create one that only its owner may read.

        `check` checks every page for damage; once per start is enough.

        Raises:
            ForeignDatabaseError: The file is not a history of this version, and was left unchanged.
        """
        self._path = path
        with database_errors(path):
            # Open for as long as the connection is: to close it would release SQLite's own locks.
            self._lock: int | None = open_private(path)
            self._stat = os.fstat(self._lock)
            try:
                self._lock_file(self._lock)
                self._connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
                try:
                    _prepare(self._connection, path)
                    if check:
                        check_pages(self._connection, path)
                except BaseException:
                    self._connection.close()
                    raise
            except BaseException:
                self._unlock()
                raise

    def _lock_file(self, file: int) -> None:
        _check_kind(self._path, file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseError(
                f"{self._path}: another headnod listener writes this history, and the rows of two would be mixed "
                "(set another history.path for one of them)"
            ) from None

    def _unlock(self) -> None:
        file, self._lock = self._lock, None
        if file is not None:
            os.close(file)

    @property
    def in_place(self) -> bool:
        """Whether the open file is still the one at its path."""
        try:
            return os.path.samestat(self._stat, self._path.stat())
        except OSError:
            return False

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commits everything that is written inside, synced to the disk, or nothing."""
        with database_errors(self._path), self._connection as db:
            db.execute("BEGIN IMMEDIATE")
            yield db

    def close(self) -> None:
        """Close the file; may be called twice."""
        with database_errors(self._path):
            try:
                self._connection.close()
            finally:
                self._unlock()


def check_kind(path: Path) -> None:
    """Refuse a file that is not a history, without writing to it; an absent or damaged one is accepted.

    Raises:
        ForeignDatabaseError: It is another kind of file, another program's database, or a newer headnod's.
        DatabaseAccessError: This user may not read it.
    """
    with database_errors(path):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        try:
            _check_kind(path, file)
        finally:
            os.close(file)
    try:
        with read_only(path):
            pass
    except (ForeignDatabaseError, DatabaseAccessError):
        raise
    except DatabaseError:
        # Empty, damaged or locked: the listener can handle that.
        return


def _check_kind(path: Path, file: int) -> None:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise ForeignDatabaseError(f"{path}: is not a regular file (set another history.path)")
    start = os.pread(file, PAGE, 0)
    if not start.startswith(_MAGIC[: len(start)]) and _is_foreign(path, start, status.st_size):
        raise ForeignDatabaseError(f"{path}: is not an SQLite database (set another history.path)")


def _is_foreign(path: Path, start: bytes, size: int) -> bool:
    """Whether a file without SQLite's header is something else than a damaged history, which may be moved aside."""
    if path.suffix in _SUFFIXES:
        return False
    # Pages of SQLite hold zeros, text does not.
    return bool(size % PAGE) or b"\0" not in start


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, while a listener may be writing.

    Raises:
        DatabaseError: The file is absent or cannot be read.
    """
    with database_errors(path):
        try:
            # SQLite does not say why it cannot open a file.
            path.open("rb").close()
        except FileNotFoundError:
            raise DatabaseError(
                f"{path}: there is no history (headnod listen writes it once history.path is set)"
            ) from None
        # On a read-only card no listener writes, and SQLite cannot create its lock file.
        frozen = "&immutable=1" if os.statvfs(path).f_flag & os.ST_RDONLY else ""
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{frozen}", uri=True, isolation_level=None)
        try:
            if not _version(db, path):
                raise DatabaseError(f"{path}: nothing was written to it yet")
            yield db
        finally:
            db.close()


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    new = _version(db, path) == 0
    if new:
        db.execute(f"PRAGMA page_size = {PAGE}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    use_wal(db, cache=512)
    if new:
        with db:
            db.execute("BEGIN IMMEDIATE")
            for table in _TABLES.values():
                db.execute(table)
            db.execute(f"PRAGMA user_version = {VERSION}")


def _version(db: sqlite3.Connection, path: Path) -> int:
    db.text_factory = lambda text: text.decode(errors="replace")
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        tables = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    except sqlite3.OperationalError as error:
        # These queries are valid SQL, so this code means damage.
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise DamagedDatabaseError(f"{path}: {error}") from error
    if version not in {0, VERSION}:
        raise ForeignDatabaseError(
            f"{path}: is of version {version}, this headnod supports {VERSION} (upgrade headnod or move the file away)"
        )
    if version == 0 and tables:
        raise ForeignDatabaseError(f"{path}: is another program's database (set another history.path)")
    if version == VERSION and not _TABLES.items() <= tables.items():
        raise DamagedDatabaseError(f"{path}: its tables are damaged")
    return version


ROWS_PER_STEP = 2000
"""Rows of each kind that one call of `redate` corrects: 200,000 would stop the listener for seconds."""

_UNDATED_TABLES = (
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
UNDATED_ESTIMATES = (
    "EXISTS (SELECT 1 FROM undated_estimates u WHERE u.time = estimates.time AND u.sequence = estimates.sequence)"
)
"""SQL condition of a row of estimates: its date may be wrong."""

UNDATED_SONGS = "EXISTS (SELECT 1 FROM undated_songs u WHERE u.ended = songs.ended AND u.started = songs.started)"
"""SQL condition of a row of songs: its dates may be wrong."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_milliseconds(time: datetime) -> int:
    """A date as it is stored: milliseconds since 1970."""
    return (time - _EPOCH) // _MILLISECOND


def from_milliseconds(number: int) -> datetime:
    """A number of milliseconds as a time in UTC."""
    return _EPOCH + number * _MILLISECOND


def undated_tables_exist(db: sqlite3.Connection) -> bool:
    """Whether the tables of rows with dates from a wrong clock exist."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'undated_songs'").fetchone() is not None


def tags_exist(db: sqlite3.Connection) -> bool:
    """Whether songs have tags, which are in a table of their own."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'song_tags'").fetchone() is not None


def prunable(db: sqlite3.Connection) -> tuple[str, str]:
    """SQL conditions of the estimates and songs that may be deleted for their age or for want of space.

    Only rows with right dates; all rows if no estimate has a right date.
    """
    dated = f"SELECT 1 FROM estimates WHERE NOT {UNDATED_ESTIMATES} LIMIT 1"  # noqa: S608 - constants
    if not undated_tables_exist(db) or db.execute(dated).fetchone() is None:
        return "1", "1"
    return f"NOT {UNDATED_ESTIMATES}", f"NOT {UNDATED_SONGS}"


def prune_undated(db: sqlite3.Connection) -> None:
    """Delete notes that are older than every remaining row. Inside a transaction."""
    if undated_tables_exist(db):
        db.execute("DELETE FROM undated_estimates WHERE time < (SELECT min(time) FROM estimates)")
        db.execute("DELETE FROM undated_songs WHERE ended < (SELECT min(ended) FROM songs)")


def mark_undated(db: sqlite3.Connection, estimates: Iterable[Estimate], songs: Iterable[Song], clock: Clock) -> None:
    """Note those of these rows whose dates may be wrong. Inside a transaction."""
    if clock.synchronised():
        return
    undated = [each for each in estimates if not each.clock_synchronised]
    ended = [each for each in songs if not each.clock_synchronised]
    if not undated and not ended:
        return
    for table in _UNDATED_TABLES:
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

    Continues after `after` milliseconds of the monotonic clock. Once the clock is synchronised, the rows have right
    dates.

    Returns:
        Where to continue; None if every row is done.
    """
    if not clock.boot or not undated_tables_exist(db):
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
