"""What waits to be published: in memory while the broker answers, on the card when it does not.

It decides what is kept and in which order it goes out. What the broker has not
acknowledged within seconds is written to disk, all that waits in one transaction, so
a broker that is well costs the card nothing; the card is synced once a minute. While the disk is
full, read-only or gone, memory holds the last hours and the disk is tried again.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from headnod.errors import HeadnodError
from headnod.mqtt.queue_file import DamagedQueueError, Item, QueueFile, begin_anew
from headnod.mqtt.queue_order import Lanes
from headnod.retry import RateLimitedLogger

_log = logging.getLogger(__name__)

HELD = 4800
"""Items that memory holds at most, four hours at one each three seconds: then the oldest go."""

LATE = 5.0
"""Seconds after which what is not acknowledged goes to disk."""

SYNC = 60.0
"""Seconds between two syncs of the card: what a power cut may take of a broker's absence."""

_AGAIN = 60.0
"""Seconds between attempts to use a disk that fails."""

_PAGE = 50
"""Items read from disk at once."""


class Counts(NamedTuple):
    """How much waits."""

    queued: int
    """Items that the broker has not acknowledged."""

    on_disk: int
    """Those of them that a power cut cannot take."""

    discarded: int
    """Items that were lost because the queue was full, since its file was made."""


class MessageQueue:
    """A bounded queue of messages, each topic in order.

    `put` and `settle` never wait for the disk, and any thread may call them; `take`,
    `save` and `close` are called by one thread at a time, and `take` waits for the
    disk only where `needs_disk`.
    """

    def __init__(self, path: Path | None, *, bound: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Go on with the queue in a file, or begin one; a disk that fails is tried again.

        Args:
            path: The file; None keeps everything in memory.
            bound: Items that wait at most: over it the oldest go, and are counted.
            monotonic: A clock in seconds that is never set.
        """
        self._path, self._bound, self._monotonic = path, bound, monotonic
        self._complaints = RateLimitedLogger(_log, monotonic=monotonic)
        self._lock = threading.Lock()
        self._lanes = Lanes()
        self._unsaved: dict[int, tuple[Item, float]] = {}
        self._flying: dict[int, Item] = {}
        self._done: set[int] = set()
        self._stored = self._discarded = self._untold = 0
        self._unsynced, self._synced = 0, -math.inf
        self._file: QueueFile | None = None
        # Independent of the file and of the wall clock: the file may be read much later, and adds its own offset.
        self._next = 1
        self._offset: int | None = None
        self._after = monotonic()
        self._reopen()

    @property
    def counts(self) -> Counts:
        """How much waits just now."""
        with self._lock:
            on_disk = self._stored - len(self._done)
            return Counts(len(self._unsaved) + on_disk, max(on_disk - self._unsynced, 0), self._discarded)

    @property
    def flying(self) -> int:
        """Items that were taken and not settled."""
        return len(self._flying)

    def put(self, topic: str, payload: bytes, *, connection: int = 0) -> None:
        """Queue a message that was made under this connection, or under none."""
        with self._lock:
            item = Item(self._next, topic, payload, connection)
            self._next += 1
            self._unsaved[item.number] = item, self._monotonic()
            self._lanes.add(item)
            while len(self._unsaved) > min(HELD, self._bound):
                self._forget_oldest()

    def settle(self, number: int, *, delivered: bool) -> None:
        """What was taken has arrived, or must be sent again."""
        with self._lock:
            item = self._flying.pop(number, None)
            if item is None:
                return
            if not delivered:
                self._lanes.give_back(item._replace(connection=0))
            elif self._unsaved.pop(number, None) is None:
                self._done.add(number)

    def discard(self, number: int) -> None:
        """What was taken can never be delivered: it is counted as lost."""
        self.settle(number, delivered=True)
        with self._lock:
            self._discarded += 1
            self._untold += 1

    def take(self, *, held: Collection[str] = ()) -> Item | None:
        """The oldest item that is not on its way, of any topic but those that are held back."""
        while self._file is not None and (behind := self._behind(held)) is not None:
            self._read_ahead(self._file, *behind)
        with self._lock:
            item = self._lanes.take(held)
            if item is not None:
                self._flying[item.number] = item
            return item

    def save_in(self) -> float | None:
        """Seconds until `save` is due; None if there is nothing to write."""
        with self._lock:
            oldest = next(iter(self._unsaved.values()), None)
            if self._path is None or (oldest is None and not self._done and not self._unsynced):
                return None
            dates = [oldest[1] + LATE] if oldest is not None else []
            dates += [self._after] if self._done else []
            dates += [self._synced + SYNC] if self._unsynced else []
            return max(min(dates) - self._monotonic(), self._after - self._monotonic(), 0.0)

    @property
    def needs_disk(self) -> bool:
        """`save` is due, or `take` reads from disk."""
        with self._lock:
            reads = self._lanes.stored
        return reads or self.save_in() == 0.0

    def save(self, *, last: bool = False) -> None:
        """Write what waits to disk, and delete there what has arrived, in one transaction.

        Args:
            last: Sync the card even if that was done a moment ago.
        """
        if self._path is None:
            return
        self._after = self._monotonic() + LATE
        try:
            if self._file is None:
                self._reopen()
            if self._file is not None:
                self._write(self._file, sync=last or self._monotonic() - self._synced >= SYNC)
        except DamagedQueueError as error:
            self._begin_anew(error)
        except HeadnodError as error:
            self._fail(error)

    def close(self) -> None:
        """Write what is left and let go of the file; may be called twice."""
        if self._file is not None or self._unsaved:
            self.save(last=True)
        self._release()

    def _write(self, file: QueueFile, *, sync: bool) -> None:
        with self._lock:
            items = [item for item, _ in self._unsaved.values()]
            done, flying, untold = set(self._done), set(self._flying), self._untold
        gone = file.write(items, delete=done, bound=self._bound, spare=flying, discarded=untold, sync=sync)
        with self._lock:
            self._unsynced = 0 if sync else self._unsynced + len(items)
            self._synced = self._monotonic() if sync else self._synced
            self._untold -= untold
            self._done -= done
            # What was settled while it was written is on disk all the same.
            self._done |= {item.number for item in items if self._unsaved.pop(item.number, None) is None}
            self._stored += len(items) - len(done) - len(gone)
            self._discarded += len(gone)
            self._lanes.saved(items, gone)

    def _behind(self, held: Collection[str]) -> tuple[str, int] | None:
        with self._lock:
            return self._lanes.unread(held)

    def _read_ahead(self, file: QueueFile, topic: str, number: int) -> None:
        try:
            rows = file.after(number, topic, _PAGE)
        except DamagedQueueError as error:
            self._begin_anew(error)
            return
        except HeadnodError as error:
            self._release()
            self._fail(error)
            return
        with self._lock:
            known = self._flying.keys() | self._unsaved.keys() | self._done
            self._lanes.read(topic, rows, known=known, more=len(rows) == _PAGE)

    def _reopen(self) -> None:
        if self._path is None:
            return
        try:
            file = QueueFile(self._path, self._offset)
        except DamagedQueueError as error:
            self._begin_anew(error)
            return
        except HeadnodError as error:
            self._fail(error)
            return
        with self._lock:
            self._file, self._stored = file, file.count
            self._discarded = file.discarded + self._untold
            self._offset = file.offset
            self._lanes.found(file.topics)

    def _begin_anew(self, error: HeadnodError) -> None:
        assert self._path is not None  # noqa: S101
        self._release()
        with self._lock:
            known = [*self._flying.values(), *self._lanes.ahead]
            unsaved = {item.number: self._unsaved.get(item.number, (item, self._monotonic())) for item in known}
            self._unsaved = dict(sorted({**self._unsaved, **unsaved}.items()))
            self._done.clear()
            self._stored = self._unsynced = 0
            self._synced = -math.inf
            self._lanes.cut_off()
        try:
            kept = begin_anew(self._path)
        except HeadnodError as worse:
            self._fail(worse)
            return
        self._complaints.warn("damage", f"{error}: it is {kept.name} now, and the queue begins anew")
        self._after = self._monotonic()

    def _fail(self, error: HeadnodError) -> None:
        # The file stays open: a full disk cannot be written, but what is on it can be sent.
        self._after = self._monotonic() + _AGAIN
        self._complaints.warn(str(error), f"{error} (what MQTT queues is held in memory, and the disk is tried again)")

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except HeadnodError as error:
            self._complaints.warn(str(error), str(error))

    def _forget_oldest(self) -> None:
        number = next(number for number in self._unsaved if number not in self._flying)
        item, _ = self._unsaved.pop(number)
        self._lanes.forget(item)
        self._discarded += 1
        self._untold += 1
