"""Corrections: labels for windows of the last hours, with the network's embeddings of them, in one SQLite file.

No audio is stored, and none can be made from an embedding. The embeddings of the last
hours' windows are in memory only: what a correction can refer to. The file is bounded:
beyond the limit the oldest labels of media players are deleted, then the oldest of people.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.escaping import label_fault
from headnod.files import inherit_owner
from headnod.pipeline.estimate import Estimate
from headnod.sqlite import (
    DamagedDatabaseError,
    ForeignDatabaseError,
    check_pages,
    database_errors,
    move_aside,
    open_database,
)

if TYPE_CHECKING:
    from headnod.clock import Clock
    from headnod.inference.manifest import Manifest, Prediction

_log = logging.getLogger(__name__)

RECENT_CAPACITY = 4_800
"""Windows that are kept in memory: four hours at one in three seconds, 2 MB for an embedding of 200 numbers."""

FILE = "corrections.sqlite"
"""Name of the file in the state folder."""

NOT_MUSIC = "not music"
"""Label of a correction for sound that is not music."""

CAPACITY = 40_000
"""Windows in the file: 33 hours of music, 17 MB for an embedding of 200 numbers."""

LONGEST = 1_200
"""Windows of one correction: an hour at one in three seconds."""

WEIGHTS = {"person": 1.0, "player": 0.25}
"""Weight of a correction by its source: a media player's genre is that of an album, and its volume may be zero."""

_VERSION = 1
_TABLE = """CREATE TABLE corrections (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- a number that was deleted must not come back for another correction
    made INTEGER NOT NULL, -- Unix milliseconds, like every time here
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    label TEXT NOT NULL,
    source TEXT NOT NULL,
    model TEXT NOT NULL,
    body TEXT NOT NULL,
    windows INTEGER NOT NULL,
    times BLOB NOT NULL, -- int64
    embeddings BLOB NOT NULL, -- float16, (windows, size)
    context_times BLOB NOT NULL, -- of windows before it without a correction
    context_embeddings BLOB NOT NULL
)"""
_TIME_BYTES = 8
_COLUMNS = "id, made, started, ended, label, source, model, body, windows"


class EmbeddedWindows(NamedTuple):
    """Windows of one network body, the oldest first."""

    model: str
    """Name and version of the model that listened."""

    body: str
    """`Manifest.body` of its network."""

    answers: tuple[str, ...]
    """Meaning of each score."""

    times: NDArray[np.float64]
    """Time of each window's estimate, seconds since 1970, (windows,)."""

    embeddings: NDArray[np.float16]
    """(windows, size)."""

    scores: NDArray[np.float16]
    """Probabilities of the window alone, (windows, answers)."""

    def between(self, start: float, end: float) -> NDArray[np.bool_]:
        """Whether each window is from `start` to `end`, both included, in seconds since 1970, (windows,)."""
        return (self.times >= start) & (self.times <= end)

    def rows(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> EmbeddedWindows:
        """Some of the windows."""
        return self._replace(times=self.times[rows], embeddings=self.embeddings[rows], scores=self.scores[rows])


def spread(count: int, most: int) -> NDArray[np.intp]:
    """At most `most` of `count` places, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


class RecentWindows:
    """A bounded buffer of windows; thread-safe.

    Times are kept by the monotonic clock, so a wall clock that is set later gives the right dates.
    """

    def __init__(self, clock: Clock, *, capacity: int = RECENT_CAPACITY) -> None:
        """Start empty."""
        self._clock, self._capacity = clock, capacity
        self._lock = threading.Lock()
        self._model, self._body = "", ""
        self._answers: tuple[str, ...] = ()
        self._count = 0
        self._times = np.empty(0)
        self._embeddings = self._scores = np.empty((0, 0), np.float16)

    def add(self, estimate: Estimate, prediction: Prediction, manifest: Manifest, answers: tuple[str, ...]) -> None:
        """Add a window; one without an embedding is left out, and another body starts anew."""
        if prediction.embedding is None:
            return
        with self._lock:
            if (manifest.id, answers) != (self._model, self._answers):
                self._start(manifest, answers, prediction.embedding.size)
            place = self._count % self._capacity
            self._times[place] = estimate.monotonic
            self._embeddings[place], self._scores[place] = prediction.embedding, prediction.scores
            self._count += 1

    def _start(self, manifest: Manifest, answers: tuple[str, ...], size: int) -> None:
        before, former = self._scores, self._answers
        # The system gives the pages of `empty` when they are first written to.
        self._scores = np.empty((self._capacity, len(answers)), np.float16)
        if manifest.body == self._body and size == self._embeddings.shape[1]:
            # A model that was taught here has the same embeddings, and other answers.
            for place, answer in enumerate(answers):
                self._scores[:, place] = before[:, former.index(answer)] if answer in former else 0.0
        else:
            self._count = 0
            self._times = np.empty(self._capacity)
            self._embeddings = np.empty((self._capacity, size), np.float16)
        self._model, self._body, self._answers = manifest.id, manifest.body, answers

    def all(self) -> EmbeddedWindows:
        """All windows."""
        with self._lock:
            kept = min(self._count, self._capacity)
            order = np.arange(self._count - kept, self._count) % self._capacity
            offset = self._clock.now().timestamp() - self._clock.monotonic()
            return EmbeddedWindows(
                self._model,
                self._body,
                self._answers,
                np.round(self._times[order] + offset, 3),
                self._embeddings[order],
                self._scores[order],
            )


class CorrectionError(HeadnodError, ValueError):
    """A correction cannot be made."""


class Correction(msgspec.Struct, frozen=True):
    """One correction, without its embeddings."""

    id: int
    """Number in the file."""

    made: float
    """When it was made, seconds since 1970."""

    start: float
    """Begin of its time range, seconds since 1970."""

    end: float
    """End of its time range, seconds since 1970."""

    label: str
    """A genre, a new label, or `not music`."""

    source: Literal["person", "player"]
    """Whether a person or a media player gave the label."""

    model: str
    """Name and version of the model that listened."""

    body: str
    """`Manifest.body` of its network."""

    windows: int
    """Number of windows."""


class CorrectionPart(Correction, frozen=True):
    """A part of a correction for another machine: its description, and some bytes of its windows."""

    context_windows: int
    """Number of windows of context."""

    size: int
    """Bytes of all parts: times (int64, Unix milliseconds), embeddings (float16), and both of the context."""

    content: bytes
    """The bytes from the offset on."""


class LabelledEmbeddings(msgspec.Struct, frozen=True):
    """Embeddings of one network body with their labels, each window once."""

    model: str
    """Name and version of the model that listened last."""

    body: str
    """`Manifest.body` of its network."""

    times: NDArray[np.float64]
    """Seconds since 1970, (windows,)."""

    embeddings: NDArray[np.float32]
    """(windows, size)."""

    labels: tuple[str, ...]
    """Label of each window."""

    weights: NDArray[np.float32]
    """1 for a person's label, less for a media player's, (windows,)."""

    groups: NDArray[np.int64]
    """Number of the correction of each window, (windows,)."""

    context_times: NDArray[np.float64]
    """The same for windows without a correction, (context windows,)."""

    context_embeddings: NDArray[np.float32]
    """(context windows, size)."""


class CorrectionStore:
    """The file; opened for each call, because corrections are rare.

    Every method raises a DatabaseError if the file cannot be read or written.
    """

    def __init__(self, state_folder: Path, *, capacity: int = CAPACITY) -> None:
        """Use the file of a state folder; it is created with the first correction."""
        self.path, self._capacity = state_folder / FILE, capacity

    def add(
        self,
        windows: EmbeddedWindows,
        label: str,
        *,
        start: float,
        end: float,
        made: float,
        source: str,
        context: EmbeddedWindows,
    ) -> Correction:
        """Store a correction.

        The windows are those of the time range, with times in seconds since 1970; `context` has windows without a
        correction. The label is a genre, a new label, or `not music`; the source is a key of `WEIGHTS`.

        Raises:
            CorrectionError: There are no windows or too many, or the label cannot be one.
        """
        check_label(label)
        if not 0 < len(windows.times) <= LONGEST:
            held = f"{len(windows.times)} windows, at most {LONGEST} can be corrected at once"
            raise CorrectionError(
                f"the time range has {held}" if len(windows.times) else "there is no window of music in that time"
            )
        row = (
            *(round(1000 * moment) for moment in (made, start, end)),
            *(label, source, windows.model, windows.body, len(windows.times)),
            *(*_blobs(windows), *_blobs(context)),
        )
        with self._writing() as db:
            number = db.execute(
                "INSERT INTO corrections VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
            ).lastrowid
            self._prune(db)
        return _correction((number, *row[:8]))

    def all(self) -> list[Correction]:
        """All corrections, the oldest first."""
        with self._reading() as db:
            rows = [] if db is None else db.execute(f"SELECT {_COLUMNS} FROM corrections ORDER BY id").fetchall()  # noqa: S608 - our own words
        return [_correction(row) for row in rows]

    def part(self, after: int, offset: int, most: int) -> CorrectionPart | None:
        """A part of the first correction with a greater number; None if there is none.

        `after` is the number of a correction; 0 begins with the oldest. The part begins at byte `offset` and has `most`
        bytes at most.
        """
        blobs = "times, embeddings, context_times, context_embeddings"
        query = f"SELECT {_COLUMNS}, {blobs} FROM corrections WHERE id > ? ORDER BY id LIMIT 1"  # noqa: S608 - our own words
        with self._reading() as db:
            row = None if db is None else db.execute(query, (after,)).fetchone()
        if row is None:
            return None
        content, context = b"".join(row[-4:]), len(row[-2]) // _TIME_BYTES
        described = msgspec.structs.asdict(_correction(row[:-4]))
        return CorrectionPart(
            **described, context_windows=context, size=len(content), content=content[offset : offset + most]
        )

    def delete(self, numbers: Iterable[int] | None = None) -> int:
        """Delete corrections, or all of them, also from the free pages of the file; gives how many there were."""
        if not self.path.exists():
            return 0
        with self._writing() as db:
            if numbers is None:
                return db.execute("DELETE FROM corrections").rowcount
            return sum(db.execute("DELETE FROM corrections WHERE id = ?", (number,)).rowcount for number in numbers)

    def labelled(self, body: str) -> LabelledEmbeddings | None:
        """All windows of one body; None if there are none.

        A window with several labels has that of the newest correction, and a person's goes before a media player's.
        """
        query = (
            "SELECT id, label, source, model, times, embeddings, context_times, context_embeddings FROM corrections "
            "WHERE body = ? ORDER BY source = 'person' DESC, id DESC"
        )
        with self._reading() as db:
            rows = [] if db is None else db.execute(query, (body,)).fetchall()
        # By the time of a window: its embedding, label, weight and correction. The first correction has precedence.
        windows: dict[int, tuple[NDArray[np.float16], str, float, int]] = {}
        context: dict[int, NDArray[np.float16]] = {}
        for number, label, source, _, *blobs in rows:
            for time, embedding in _unpacked(*blobs[:2]):
                windows.setdefault(time, (embedding, label, WEIGHTS[source], number))
        for row in sorted(rows):
            context.update(_unpacked(*row[-2:]))
        if not windows:
            return None
        times, around = sorted(windows), sorted(context.keys() - windows.keys())
        embeddings, labels, weights, groups = zip(*(windows[time] for time in times), strict=True)
        context_embeddings = np.array([context[time] for time in around], np.float32)
        return LabelledEmbeddings(
            model=max(rows)[3],
            body=body,
            times=np.array(times, np.int64) / 1e3,
            embeddings=np.array(embeddings, np.float32),
            labels=labels,
            weights=np.array(weights, np.float32),
            groups=np.array(groups, np.int64),
            context_times=np.array(around, np.int64) / 1e3,
            context_embeddings=context_embeddings.reshape(-1, len(embeddings[0])),
        )

    def _prune(self, db: sqlite3.Connection) -> None:
        """Delete the oldest corrections beyond the capacity, those of media players first."""
        (total,) = db.execute("SELECT total(windows) FROM corrections").fetchone()
        oldest = db.execute("SELECT id, windows FROM corrections ORDER BY source = 'person', id").fetchall()
        for number, windows in oldest:
            if total <= self._capacity:
                return
            db.execute("DELETE FROM corrections WHERE id = ?", (number,))
            total -= windows

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._opened()
        except DamagedDatabaseError as error:
            _log.warning("%s: the file was renamed to %s, and a new one is started", error, move_aside(self.path).name)
            db = self._opened()
        with database_errors(self.path), closing(db), db:
            db.execute("BEGIN IMMEDIATE")
            yield db

    def _opened(self) -> sqlite3.Connection:
        with database_errors(self.path):
            return open_database(self.path, _prepare, timeout=2.0)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        with database_errors(self.path):
            try:
                self.path.open("rb").close()
            except FileNotFoundError:
                yield None
                return
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=2.0, isolation_level=None)) as db:
                yield db if _version(db, self.path) else None


def check_label(label: str) -> None:
    """Refuse a text that cannot be the label of a correction.

    Raises:
        CorrectionError: It cannot.
    """
    fault = label_fault(label)
    if fault is not None:
        raise CorrectionError(f"label: {label[:40]!a} {fault} (write a genre, or '{NOT_MUSIC}')")


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    inherit_owner(path)
    if _version(db, path) == 0:
        db.execute("PRAGMA auto_vacuum = FULL")
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute(_TABLE)
            db.execute(f"PRAGMA user_version = {_VERSION}")
    check_pages(db, path)
    # What a person deletes must not stay in free pages.
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA synchronous = FULL")
    former = "SELECT name FROM sqlite_master WHERE name = 'corrections' AND sql NOT LIKE '%AUTOINCREMENT%'"
    if db.execute(former).fetchone():
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ALTER TABLE corrections RENAME TO former")
            db.execute(_TABLE)
            db.execute("INSERT INTO corrections SELECT * FROM former")
            db.execute("DROP TABLE former")


def _version(db: sqlite3.Connection, path: Path) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version not in {0, _VERSION} or (version == 0 and tables):
        raise ForeignDatabaseError(
            f"{path}: is of version {version}, this headnod supports {_VERSION} (upgrade headnod, or move it away)"
        )
    return version


def _blobs(windows: EmbeddedWindows) -> tuple[bytes, bytes]:
    times = np.rint(windows.times * 1e3).astype("<i8")
    return times.tobytes(), windows.embeddings.astype("<f2").tobytes()


def _unpacked(times: bytes, embeddings: bytes) -> list[tuple[int, NDArray[np.float16]]]:
    """Time and embedding of each window of a row."""
    moments = np.frombuffer(times, "<i8")
    values = np.frombuffer(embeddings, "<f2")
    if (values.size % len(moments) if len(moments) else values.size) or not np.isfinite(values).all():
        raise DamagedDatabaseError(
            f"{FILE}: a row in it is damaged (delete it with 'headnod corrections delete', or delete the file)"
        )
    return list(zip(moments.tolist(), values.reshape(len(moments), -1) if len(moments) else (), strict=True))


def _correction(row: Sequence[Any]) -> Correction:
    """A correction from its columns but the embeddings."""
    number, made, started, ended, *rest = row
    return Correction(number, made / 1e3, started / 1e3, ended / 1e3, *rest)
