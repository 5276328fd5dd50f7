"""SQLite files that withstand power cuts, full disks and damage: the history and the MQTT queue.

Separate from `files`, because importing sqlite3 takes time that most commands do not need.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from headnod.errors import AccessError, HeadnodError
from headnod.files import not_a_folder

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class DatabaseError(HeadnodError, OSError):
    """A database cannot be read or written at present."""


class DatabaseAccessError(DatabaseError, AccessError):
    """This user may not read or write a database."""


class DamagedDatabaseError(DatabaseError):
    """A database is damaged; see `move_aside`."""


class ForeignDatabaseError(DatabaseError):
    """A file belongs to another program or to a newer headnod."""


@contextmanager
def database_errors(path: Path, *, damage: Container[int] = ()) -> Iterator[None]:
    """Raises errors of SQLite and of the system as errors that name the file.

    `damage` has result codes of SQLite that mean damage, beside CORRUPT and NOTADB.
    """
    try:
        yield
    except HeadnodError:
        raise
    except UnicodeDecodeError as error:
        # SQLite quotes a damaged name, which Python cannot decode.
        raise DamagedDatabaseError(f"{path}: a name in it is damaged") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        message = f"{path}: {error}"
        if code in _DAMAGE or code in damage:
            raise DamagedDatabaseError(message) from error
        if isinstance(error, sqlite3.OperationalError):
            raise DatabaseError(message) from error
        # The other classes are bugs of the caller.
        raise
    except PermissionError as error:
        raise DatabaseAccessError(f"{path}: permission denied") from error
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror or error}") from error


def open_private(path: Path) -> int:
    """The descriptor of a file that only its owner may read; the file and its folder are created if absent.

    SQLite would create a file that everyone may read. Its log gets the mode of this file.
    """
    with not_a_folder(path.parent):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)


def open_database(
    path: Path, prepare: Callable[[sqlite3.Connection, Path], None], *, timeout: float, one_thread: bool = True
) -> sqlite3.Connection:
    """A connection in autocommit mode to a file that only its owner may read; it is closed if `prepare` raises.

    With `one_thread` no other thread may use it. Another process that writes is waited for, at most `timeout` seconds.
    """
    os.close(open_private(path))
    db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=one_thread)
    try:
        prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def use_wal(db: sqlite3.Connection, *, cache: int) -> None:
    """Switch to the write-ahead log, synced at every commit, with a page cache of `cache` KiB."""
    db.execute("PRAGMA journal_mode = WAL")
    # With NORMAL a power cut takes everything since the last checkpoint.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 256")
    db.execute(f"PRAGMA cache_size = -{cache}")


def check_pages(db: sqlite3.Connection, path: Path) -> None:
    """Read the whole file and check its structure; some seconds for 100 MiB on a slow card.

    Raises:
        DamagedDatabaseError: A page is damaged.
    """
    found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        raise DamagedDatabaseError(f"{path}: {' '.join(found.split())}")


def move_aside(path: Path) -> Path:
    """Rename a damaged file so that it ends in `.bad`, in place of an older such file.

    Raises:
        DatabaseError: It cannot be renamed.
    """
    bad = path.with_name(f"{path.name}.bad")
    with database_errors(path):
        # The log first: it would be applied to the next file of this name.
        for end in ("-shm", "-wal", ""):
            part, kept = path.with_name(path.name + end), bad.with_name(bad.name + end)
            kept.unlink(missing_ok=True)
            if part.exists():
                part.rename(kept)
    return bad
