"""What waits for the broker, on the card.

It knows SQL and what can happen to a card; what is kept, when it is written and when
the card is synced, `outbox` decides. A power cut takes what was written since the
last sync, the end of the process takes nothing that was written. The file is locked for as long as it is
open: two listeners with one queue would send each other's estimates.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from headnod.errors import HeadnodError
from headnod.sqlite import DatabaseError, move_aside

_VERSION = 1
_TABLES = """
BEGIN;
CREATE TABLE queue (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE lost (discarded INTEGER NOT NULL);
INSERT INTO lost VALUES (0);
PRAGMA user_version = 1;
COMMIT;
"""
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}


class Item(NamedTuple):
    """What shall be published."""

    number: int
    """Its place in the queue: 1 is the first item of this process, earlier ones have 0 and less."""

    topic: str
    """Where."""

    payload: bytes
    """What."""

    connection: int = 0
    """The connection that was there when it was made; 0 if there was none."""


class QueueError(HeadnodError, OSError):
    """The queue cannot be read or written just now."""


class DamagedQueueError(QueueError):
    """The queue's file is broken and stays so."""


class QueueFile:
    """The queue's file, open and ours.

    Every method may raise DamagedQueueError (`begin_anew` helps) or QueueError (the disk
    is full, read-only, failing or absent, or another listener has the file).
    """

    def __init__(self, path: Path, offset: int | None = None) -> None:
        """Open the file, or begin one that only its owner may read.

        Args:
            path: The file.
            offset: Added to the number of an item to get the number of its row; None counts on from the last row.
        """
        self._path = path
        with _named(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
                last = int(self._one("SELECT coalesce(max(number), 0) FROM queue"))
                self.offset = max(last, 0) if offset is None else offset
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA cache_size = -256")
        self._db.execute("PRAGMA wal_autocheckpoint = 256")
        version = self._one("PRAGMA user_version")
        if version == 0 and not self._one("SELECT count(*) FROM sqlite_master"):
            self._db.executescript(_TABLES)
        elif version != _VERSION:
            message = f"{self._path}: is of version {version}, this headnod writes {_VERSION}"
            raise DamagedQueueError(message)
        if (found := self._one("PRAGMA quick_check(1)")) != "ok":
            message = f"{self._path}: {' '.join(str(found).split())}"
            raise DamagedQueueError(message)
        # Takes the lock now, and not when it is too late to say so.
        self._db.execute("BEGIN IMMEDIATE").execute("COMMIT")

    @property
    def count(self) -> int:
        """Rows in the file."""
        with _named(self._path):
            return int(self._one("SELECT count(*) FROM queue"))

    @property
    def topics(self) -> list[str]:
        """Topics that something waits for."""
        with _named(self._path):
            return [topic for (topic,) in self._db.execute("SELECT DISTINCT topic FROM queue")]

    @property
    def discarded(self) -> int:
        """Rows that were lost because the queue was full, since the file was made."""
        with _named(self._path):
            return int(self._one("SELECT discarded FROM lost"))

    def after(self, number: int, topic: str, limit: int) -> list[Item]:
        """The next rows of a topic."""
        query = "SELECT number, topic, payload FROM queue WHERE number > ? AND topic = ? ORDER BY number LIMIT ?"
        with _named(self._path):
            rows = self._db.execute(query, (number + self.offset, topic, limit)).fetchall()
            return [Item(row - self.offset, topic, payload) for row, topic, payload in rows]

    def write(
        self,
        items: Sequence[Item],
        *,
        delete: Collection[int],
        bound: int,
        spare: Collection[int],
        discarded: int,
        sync: bool,
    ) -> list[int]:
        """Add and delete rows, all of it or nothing.

        Args:
            items: New rows.
            delete: Numbers of rows that are done with.
            bound: Rows that may stay; of more, the oldest go.
            spare: Numbers that do not go.
            discarded: Rows that were lost before they came here.
            sync: Wait until the card has this and all that was written before.

        Returns:
            Numbers that went.
        """
        with _named(self._path), self._db as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            new = ((item.number + self.offset, item.topic, item.payload) for item in items)
            db.executemany("INSERT OR REPLACE INTO queue VALUES (?, ?, ?)", new)
            db.executemany("DELETE FROM queue WHERE number = ?", ((number + self.offset,) for number in delete))
            excess = max(int(self._one("SELECT count(*) FROM queue")) - bound, 0)
            oldest = db.execute("SELECT number FROM queue ORDER BY number LIMIT ?", (excess + len(spare),)).fetchall()
            gone = [row - self.offset for (row,) in oldest if row - self.offset not in spare][:excess]
            db.executemany("DELETE FROM queue WHERE number = ?", ((number + self.offset,) for number in gone))
            lost = len(gone) + discarded
            if lost or sync:
                # SQLite syncs only what has changed something.
                db.execute("UPDATE lost SET discarded = discarded + ?", (lost,))
            return gone

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        with _named(self._path):
            self._db.close()

    def _one(self, query: str) -> int | str:
        row = self._db.execute(query).fetchone()
        return row[0]


def begin_anew(path: Path) -> Path:
    """Move a damaged file aside, so that the next is a new one; gives its new place."""
    try:
        return move_aside(path)
    except DatabaseError as error:
        raise QueueError(str(error)) from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what SQLite and the system say into errors that name the file."""
    try:
        yield
    except HeadnodError:
        raise
    except sqlite3.Error as error:
        message = f"{path}: {error}"
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        raise (DamagedQueueError if code in _DAMAGE else QueueError)(message) from error
    except (TypeError, ValueError) as error:
        # A value of a type that its column never had, or text that is none.
        message = f"{path}: a row is damaged ({error})"
        raise DamagedQueueError(message) from error
    except OSError as error:
        message = f"{path}: {(error.strerror or str(error)).lower()}"
        raise QueueError(message) from error
