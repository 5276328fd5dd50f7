"""The history file: its tables, how it is opened, and what its faults are called.

Alone because the listener writes and `headnod history` reads the same file, often
at the same time. It is SQLite in WAL mode; times are Unix milliseconds, and the
scores of an estimate are a JSON array of thousandths in the order of its model's
labels, so any SQLite tool can read them:

    SELECT datetime(time / 1000, 'unixepoch'), genre FROM estimates;
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headnod import quarantine
from headnod.errors import AccessError, HeadnodError

VERSION = 1
"""Number of this file format, kept as SQLite's `user_version`."""

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
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PATIENCE = 1.0


class HistoryError(HeadnodError, OSError):
    """History cannot be read or written just now."""


class HistoryAccessError(HistoryError, AccessError):
    """This user may not read or write the history."""


class DamagedHistoryError(HistoryError):
    """The history file is broken and stays so."""


class ForeignHistoryError(HistoryError):
    """The file belongs to another program or to a newer headnod."""


class HistoryFile:
    """A history file, open for writing.

    Every method may raise DamagedHistoryError (move it aside and begin anew) or
    HistoryError (the disk is full, read-only, failing or absent).
    """

    def __init__(self, path: Path, *, check: bool = True) -> None:
        """Open a history file, or begin one that only its owner may read.

        Args:
            path: Where it is.
            check: Look at every page for damage. It reads the whole file, some
                seconds for 100 MiB on a slow card, so once a start is enough.

        Raises:
            ForeignHistoryError: The file is not ours to write, and was left alone.
        """
        self._path = path
        with _named(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite would make the file readable by everyone; its log takes this file's mode.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
            # Open for as long as the connection is: to close it would drop SQLite's own locks with it.
            self._lock: int | None = file
            self._stat = os.fstat(file)
            try:
                self._own(file)
                self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
                try:
                    _prepare(self._connection, path)
                    if check:
                        _check(self._connection, path)
                except BaseException:
                    self._connection.close()
                    raise
            except BaseException:
                self._unlock()
                raise

    def _own(self, file: int) -> None:
        _check_kind(self._path, file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = (
                f"{self._path}: another headnod listener writes this history, and two would mix what they hear "
                "(set another history.path for one of them)"
            )
            raise HistoryError(message) from None

    def _unlock(self) -> None:
        file, self._lock = self._lock, None
        if file is not None:
            os.close(file)

    @property
    def in_place(self) -> bool:
        """The file that is open is still the one at its path."""
        try:
            return os.path.samestat(self._stat, self._path.stat())
        except OSError:
            return False

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is written inside is on the card at the end, or none of it is."""
        with _named(self._path), self._connection as db:
            db.execute("BEGIN IMMEDIATE")
            yield db

    def close(self) -> None:
        """Close the file; may be called twice."""
        with _named(self._path):
            try:
                self._connection.close()
            finally:
                self._unlock()


def check_kind(path: Path) -> None:
    """Refuse a file that is not a history, without writing to it; an absent or damaged one is not refused.

    Raises:
        ForeignHistoryError: It is another kind of file, another program's database, or a newer headnod's.
        HistoryAccessError: This user may not read it.
    """
    with _named(path):
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
    except (ForeignHistoryError, HistoryAccessError):
        raise
    except HistoryError:
        # Empty, damaged or locked: the listener deals with it.
        return


def _check_kind(path: Path, file: int) -> None:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        message = f"{path}: is not a regular file (set another history.path)"
        raise ForeignHistoryError(message)
    start = os.pread(file, len(_MAGIC), 0)
    # A history with a damaged start still has whole pages; anything else must not be moved aside as damaged.
    if start != _MAGIC[: len(start)] and status.st_size % PAGE:
        message = f"{path}: is not an SQLite database (set another history.path)"
        raise ForeignHistoryError(message)


def require(path: Path) -> None:
    """Refuse a file that is not there or that this user may not read; SQLite would not say why it cannot be opened.

    Raises:
        HistoryError: It is so.
    """
    with _named(path):
        try:
            path.open("rb").close()
        except FileNotFoundError:
            message = f"{path}: there is no history (headnod listen writes it once history.path is set)"
            raise HistoryError(message) from None


@contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, beside a listener that may be writing.

    Raises:
        HistoryError: There is no such file, or it cannot be read.
    """
    with _named(path):
        # On a read-only card nobody writes, and SQLite cannot make its lock file.
        frozen = "&immutable=1" if os.statvfs(path).f_flag & os.ST_RDONLY else ""
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{frozen}", uri=True, isolation_level=None)
        try:
            if not _version(db, path):
                message = f"{path}: nothing was written to it yet"
                raise HistoryError(message)
            yield db
        finally:
            db.close()


def move_aside(path: Path) -> Path:
    """Rename a damaged file so that it ends in `.bad`, in place of an older such file."""
    with _named(path):
        return quarantine.move_aside(path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what SQLite and the system say into errors that name the file."""
    try:
        yield
    except HistoryError:
        raise
    except sqlite3.OperationalError as error:
        message = f"{path}: {error}"
        raise HistoryError(message) from error
    except UnicodeDecodeError as error:
        # SQLite quotes a broken name, and Python cannot read the quotation.
        message = f"{path}: a name in it is damaged"
        raise DamagedHistoryError(message) from error
    except sqlite3.DatabaseError as error:
        # Python has no class for damage, and the others of this one are bugs.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
            raise
        message = f"{path}: {error}"
        raise DamagedHistoryError(message) from error
    except PermissionError as error:
        message = f"{path}: permission denied"
        raise HistoryAccessError(message) from error
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise HistoryError(message) from error


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    new = _version(db, path) == 0
    if new:
        db.execute(f"PRAGMA page_size = {PAGE}")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    # NORMAL would lose everything since the last checkpoint at a power cut.
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 256")
    db.execute("PRAGMA cache_size = -512")
    if new:
        with db:
            db.execute("BEGIN IMMEDIATE")
            for table in _TABLES.values():
                db.execute(table)
            db.execute(f"PRAGMA user_version = {VERSION}")


def _check(db: sqlite3.Connection, path: Path) -> None:
    found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        message = f"{path}: {' '.join(found.split())}"
        raise DamagedHistoryError(message)


def _version(db: sqlite3.Connection, path: Path) -> int:
    db.text_factory = _forgiving
    try:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        tables = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    except sqlite3.OperationalError as error:
        # Two queries that cannot be wrong, unless the file is not what its head says.
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        message = f"{path}: {error}"
        raise DamagedHistoryError(message) from error
    if version not in {0, VERSION}:
        message = (
            f"{path}: is of version {version}, this headnod knows {VERSION} (upgrade headnod or move the file away)"
        )
        raise ForeignHistoryError(message)
    if version == 0 and tables:
        message = f"{path}: is another program's database (set another history.path)"
        raise ForeignHistoryError(message)
    if version == VERSION and not _TABLES.items() <= tables.items():
        message = f"{path}: its tables are damaged"
        raise DamagedHistoryError(message)
    return version


def _forgiving(text: bytes) -> str:
    return text.decode(errors="replace")
