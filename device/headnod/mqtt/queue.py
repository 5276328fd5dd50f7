"""Messages that wait for the broker: in memory first, in an SQLite file if they have to wait.

A message that is not acknowledged within `LATE` seconds is written to the file, together
with all others in one transaction, so a broker that answers costs no write. The file is
synced once a minute: a power cut loses the messages written since the last sync, the end
of the process loses none. While the file cannot be used, memory holds the newest messages
and the file is tried again. The file is locked while it is open: two listeners with one
queue would publish each other's estimates.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from headnod.retry import RateLimitedLogger
from headnod.sqlite import (
    DamagedDatabaseError,
    DatabaseError,
    check_pages,
    database_errors,
    move_aside,
    open_database,
    use_wal,
)

_log = logging.getLogger(__name__)

HELD = 4800
"""Most messages in memory, four hours at one each three seconds; the oldest are discarded."""

LATE = 5.0
"""Seconds after which an unacknowledged message is written to the file."""

SYNC = 60.0
"""Seconds between two syncs of the file."""

_RETRY = 60.0
"""Seconds between attempts to use a file that fails."""

_VERSION = 1
_TABLES = """
BEGIN;
CREATE TABLE queue (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE lost (discarded INTEGER NOT NULL);
INSERT INTO lost VALUES (0);
PRAGMA user_version = 1;
COMMIT;
"""
_DAMAGE = {0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
"""Result codes that mean damage here; 0 is a text that Python cannot decode."""

_BEFORE_ALL = -(1 << 62)


class Item(NamedTuple):
    """A queued message."""

    number: int
    """Its place in the queue: 1 is the first message of this process, those of earlier ones have 0 and less."""

    topic: str
    payload: bytes
    connection: int = 0
    """The connection during which it was made; 0 if there was none."""

    queued: float = 0.0
    """When it was queued, in seconds of the monotonic clock; 0 if by an earlier process."""


class Counts(NamedTuple):
    """How many messages wait."""

    queued: int
    """Messages that the broker has not acknowledged."""

    on_disk: int
    """Those of them that survive a power cut."""

    discarded: int
    """Messages that were lost because the queue was full, since its file was created."""


class MessageQueue:
    """A bounded queue, ordered by age.

    Any thread may call `put` and `counts`, which never wait for the disk. The other
    methods belong to one thread.
    """

    def __init__(self, path: Path | None, *, bound: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Open the queue; a file that cannot be used is tried again later.

        Without a file everything is in memory. When more than `bound` messages wait, the oldest are discarded and
        counted.
        """
        self._path, self._bound, self._monotonic = path, bound, monotonic
        self._warnings = RateLimitedLogger(_log, monotonic=monotonic)
        self._lock = threading.Lock()
        self._memory: dict[int, Item] = {}
        self.in_flight: dict[int, Item] = {}
        """Messages returned by `next` that are neither done nor queued again, by number."""

        self._done_rows: set[int] = set()
        self._cursors: dict[frozenset[str], int] = {}
        self._rows = self._last_row = self._unsynced = 0
        self._discarded = self._unsaved_discards = 0
        self._synced = -math.inf
        self._save_after = monotonic()
        self._db: sqlite3.Connection | None = None
        # Numbers depend neither on the file, which may be readable only later, nor on the wall clock. A row has
        # the number of its message plus an offset, which is set when the file is first read.
        self._next_number = 1
        self._offset: int | None = None
        if path is not None:
            with self._guarded():
                self._open(path)

    @property
    def counts(self) -> Counts:
        """How many messages wait."""
        with self._lock:
            rows = self._rows - len(self._done_rows)
            return Counts(len(self._memory) + rows, max(rows - self._unsynced, 0), self._discarded)

    def put(self, topic: str, payload: bytes, *, connection: int = 0) -> None:
        """Queue a message that was made during this connection."""
        with self._lock:
            self._memory[self._next_number] = Item(self._next_number, topic, payload, connection, self._monotonic())
            self._next_number += 1
            if len(self._memory) > min(HELD, self._bound):
                del self._memory[next(number for number in self._memory if number not in self.in_flight)]
                self._discarded += 1
                self._unsaved_discards += 1

    def next(self, *, held: Collection[str] = ()) -> Item | None:
        """The oldest message that is not in flight, of any topic but those that are held back."""
        row = self._next_row(frozenset(held)) if self._db is not None and self._rows > len(self._done_rows) else None
        with self._lock:
            # Every message in the file is older than those in memory only.
            for item in self._memory.values() if row is None else (row,):
                if item.number not in self.in_flight and item.topic not in held:
                    self.in_flight[item.number] = item
                    return item
        return None

    def done(self, number: int) -> None:
        """Remove a message in flight: the broker has acknowledged it."""
        with self._lock:
            if self.in_flight.pop(number, None) is not None and self._memory.pop(number, None) is None:
                self._done_rows.add(number)

    def discard(self, number: int) -> None:
        """Remove a message in flight that can never be delivered, and count it as lost."""
        self.done(number)
        with self._lock:
            self._discarded += 1
            self._unsaved_discards += 1

    def requeue(self, number: int) -> None:
        """Queue a message in flight again, in its former place."""
        with self._lock:
            if self.in_flight.pop(number, None) is None:
                return
            if number in self._memory:
                self._memory[number] = self._memory[number]._replace(connection=0)
            self._cursors = {held: min(cursor, number - 1) for held, cursor in self._cursors.items()}

    def save_in(self) -> float:
        """Seconds until `save` is due; infinite if there is nothing to write."""
        if self._path is None:
            return math.inf
        with self._lock:
            oldest = next(iter(self._memory.values()), None)
            written = math.inf if oldest is None else oldest.queued + LATE
            deleted = self._save_after if self._done_rows else math.inf
            synced = self._synced + SYNC if self._unsynced else math.inf
            return max(max(min(written, deleted, synced), self._save_after) - self._monotonic(), 0.0)

    def save(self, *, last: bool = False) -> None:
        """Write the messages in memory to the file and delete those that are done, in one transaction.

        With `last` the file is synced, however short ago that was done.
        """
        if self._path is None:
            return
        self._save_after = self._monotonic() + LATE
        with self._guarded():
            self._write(self._db or self._open(self._path), sync=last or self._monotonic() - self._synced >= SYNC)

    def close(self) -> None:
        """Write what is left and close the file; may be called twice."""
        if self._db is not None or self._memory:
            self.save(last=True)
        self._close_file()

    def _next_row(self, held: frozenset[str]) -> Item | None:
        with self._guarded():
            try:
                return self._read(held)
            except sqlite3.OperationalError:
                self._close_file()
                raise
        return None

    def _read(self, held: frozenset[str]) -> Item | None:
        assert self._db is not None  # noqa: S101
        assert self._offset is not None  # noqa: S101
        # Up to the cursor nothing is left but what is in flight or done.
        cursor, wanted = self._cursors.get(held, _BEFORE_ALL), ", ".join("?" * len(held))
        query = f"SELECT number, topic, payload FROM queue WHERE number > ? AND topic NOT IN ({wanted}) ORDER BY number"  # noqa: S608
        self._cursors[held] = self._last_row
        for row, topic, payload in self._db.execute(query, (cursor + self._offset, *held)):
            number = row - self._offset
            if number in self.in_flight or number in self._done_rows:
                continue
            if not isinstance(topic, str) or not isinstance(payload, bytes):
                raise DamagedDatabaseError(f"{self._path}: row {row} is damaged")
            self._cursors[held] = number
            return Item(number, topic, payload)
        return None

    def _write(self, db: sqlite3.Connection, *, sync: bool) -> None:
        assert self._offset is not None  # noqa: S101
        offset = self._offset
        with self._lock:
            items, done, discards = list(self._memory.values()), set(self._done_rows), self._unsaved_discards
        with db:
            db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            rows = ((item.number + offset, item.topic, item.payload) for item in items)
            db.executemany("INSERT OR REPLACE INTO queue VALUES (?, ?, ?)", rows)
            db.executemany("DELETE FROM queue WHERE number = ?", ((number + offset,) for number in done))
            excess = max(int(_one(db, "SELECT count(*) FROM queue")) - self._bound, 0)
            query = "SELECT number FROM queue ORDER BY number LIMIT ?"
            oldest = [row - offset for (row,) in db.execute(query, (excess + len(self.in_flight),))]
            dropped = [number for number in oldest if number not in self.in_flight][:excess]
            db.executemany("DELETE FROM queue WHERE number = ?", ((number + offset,) for number in dropped))
            if dropped or discards or sync:
                # SQLite syncs only a transaction that changes something.
                db.execute("UPDATE lost SET discarded = discarded + ?", (len(dropped) + discards,))
        with self._lock:
            self._unsynced = 0 if sync else self._unsynced + len(items)
            self._synced = self._monotonic() if sync else self._synced
            self._unsaved_discards -= discards
            self._done_rows -= done
            # A message that was discarded while it was written is in the file all the same.
            self._done_rows |= {item.number for item in items if self._memory.pop(item.number, None) is None}
            self._rows += len(items) - len(done) - len(dropped)
            self._discarded += len(dropped)
            self._last_row = items[-1].number if items else self._last_row

    def _open(self, path: Path) -> sqlite3.Connection:
        db = open_database(path, _prepare, timeout=0.5, one_thread=False)
        try:
            rows, last = db.execute("SELECT count(*), coalesce(max(number), 0) FROM queue").fetchone()
            discarded = int(_one(db, "SELECT discarded FROM lost"))
        except BaseException:
            db.close()
            raise
        with self._lock:
            self._offset = max(last, 0) if self._offset is None else self._offset
            self._db, self._rows, self._last_row = db, rows, last - self._offset
            self._discarded = discarded + self._unsaved_discards
            self._cursors.clear()
        return db

    def _close_file(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error as error:
                self._warnings.warn(str(error), f"{self._path}: {error}")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Replaces a damaged file; after any other error of the file, memory holds the queue for a while."""
        assert self._path is not None  # noqa: S101
        try:
            with database_errors(self._path, damage=_DAMAGE):
                yield
        except DamagedDatabaseError as error:
            self._replace_file(self._path, error)
        except DatabaseError as error:
            self._suspend(error)
        except (TypeError, ValueError) as error:
            # A value of a type that its column never had.
            self._replace_file(self._path, DamagedDatabaseError(f"{self._path}: {error}"))

    def _replace_file(self, path: Path, error: DatabaseError) -> None:
        self._close_file()
        with self._lock:
            self._memory = dict(sorted({**self.in_flight, **self._memory}.items()))
            self._done_rows.clear()
            self._rows = self._unsynced = 0
            self._synced = -math.inf
        try:
            moved = move_aside(path)
        except DatabaseError as worse:
            self._suspend(worse)
            return
        self._warnings.warn("damage", f"{error}: the file was renamed to {moved.name}, and a new queue is started")
        self._save_after = self._monotonic()

    def _suspend(self, error: DatabaseError) -> None:
        # The file stays open: a full disk cannot be written, but what is on it can be sent.
        self._save_after = self._monotonic() + _RETRY
        self._warnings.warn(str(error), f"{error} (messages for MQTT are held in memory, and the disk is tried again)")


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    use_wal(db, cache=256)
    version = _one(db, "PRAGMA user_version")
    if version == 0 and not _one(db, "SELECT count(*) FROM sqlite_master"):
        db.executescript(_TABLES)
    elif version != _VERSION:
        raise DamagedDatabaseError(f"{path}: has version {version}, this headnod writes {_VERSION}")
    check_pages(db, path)
    # Takes the lock now, and not at the first write.
    db.execute("BEGIN IMMEDIATE").execute("COMMIT")


def _one(db: sqlite3.Connection, query: str) -> int | str:
    return db.execute(query).fetchone()[0]
