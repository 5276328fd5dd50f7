"""The history as a sink: rows are collected in memory and written once a minute, to spare the card.

A power cut loses at most the last minute. While the disk is full, read-only or
absent, the last hours are kept in memory and the disk is tried again every minute.
"""

from __future__ import annotations

import logging
from collections import deque
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from headnod.clock import ClockStepDetector
from headnod.outputs.history import HistoryFile, records, redate
from headnod.pipeline.estimate import Estimate, Song, SongSegmenter, StatusEvent
from headnod.retry import RateLimitedLogger
from headnod.sqlite import DamagedDatabaseError, DatabaseError, ForeignDatabaseError, move_aside

if TYPE_CHECKING:
    from headnod.clock import Clock
    from headnod.config.sections import HistorySection

_log = logging.getLogger(__name__)

HELD = 4800
"""Limit of estimates in memory, four hours at one in three seconds: beyond it the oldest are dropped."""

_INTERVAL = 60.0
_BATCH = 1000


class HistoryRecorder:
    """Writes estimates and songs to a history file, about once a minute."""

    def __init__(self, path: Path, songs: SongSegmenter, section: HistorySection, clock: Clock) -> None:
        """Open or create the file; if that fails now, it is tried again.

        `days` and `megabytes` of the section are used. `songs` joins estimates into songs.

        Raises:
            ForeignDatabaseError: The file is not a history of this version.
        """
        self._path, self._songs, self._section = path, songs, section
        self._clock = clock
        self._step_detector = ClockStepDetector(lambda: self._clock.now().timestamp(), self._clock.monotonic)
        self._synchronised = self._clock.synchronised()
        self._redate_after: int | None = -1
        self._estimates: deque[Estimate] = deque()
        self._ended: deque[Song] = deque(maxlen=HELD)
        self._lost = 0
        self._file: HistoryFile | None = None
        self._tried = self._clock.monotonic()
        self._warnings = RateLimitedLogger(_log, monotonic=self._clock.monotonic)
        self._checked, self._failing, self._closed = False, False, False
        try:
            self._write_all()
        except ForeignDatabaseError:
            raise
        except DatabaseError as error:
            self._fail(error)

    def show(self, estimate: Estimate) -> None:
        """Record an estimate, and the song that it ends."""
        self._add(self._songs.update(estimate))
        self._estimates.append(estimate)
        self._write_when_due()

    def show_status(self, status: StatusEvent) -> None:
        """Record the song that a status ends."""
        self._add(self._songs.interrupt(status))
        self._write_when_due()

    def close(self) -> None:
        """Write what is left; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._add(self._songs.finish())
        try:
            self._clock_was_set()
            self._write_all()
        except DatabaseError as error:
            lost = self._lost + len(self._estimates)
            if lost or self._ended:
                _log.warning("%s: %d estimates and %d songs are lost", error, lost, len(self._ended))
        self._release()

    def _add(self, song: Song | None) -> None:
        if song is not None:
            self._ended.append(song)

    def _clock_was_set(self) -> bool:
        """Whether the wall clock was set or synchronised since the last call; then rows of this boot are redated."""
        before, self._synchronised = self._synchronised, self._clock.synchronised()
        if self._step_detector.step() or before is not self._synchronised:
            self._redate_after = -1
            return True
        return False

    def _write_when_due(self) -> None:
        while len(self._estimates) > HELD:
            self._estimates.popleft()
            self._lost += 1
        now, was_set = self._clock.monotonic(), self._clock_was_set()
        soon = now - self._tried < _INTERVAL and not was_set
        many = len(self._estimates) >= _BATCH and not self._failing
        if soon and not many:
            return
        self._tried = now
        try:
            self._write_all()
        except DatabaseError as error:
            self._fail(error)

    def _write_all(self) -> None:
        try:
            self._write_batches()
        except DamagedDatabaseError as error:
            self._release()
            bad = move_aside(self._path)
            self._warnings.warn("damage", f"{error}: the file was renamed to {bad.name}, and a new one is started")
            self._write_batches()
        if self._failing:
            _log.info("%s: history is written again, %d estimates were lost", self._path, self._lost)
        self._failing, self._lost = False, 0

    def _write_batches(self) -> None:
        if self._file is not None and not self._file.in_place:
            self._release()
        if self._file is None:
            self._file = HistoryFile(self._path, check=not self._checked)
            self._checked = True
        if self._redate_after is not None:
            with self._file.transaction() as db:
                self._redate_after = redate(db, self._clock, self._redate_after)
        while self._estimates or self._ended:
            estimates, songs = list(islice(self._estimates, _BATCH)), list(islice(self._ended, _BATCH))
            with self._file.transaction() as db:
                records.write(db, estimates, songs, self._clock)
                oldest = self._clock.now() - timedelta(days=self._section.days)
                before = oldest if self._clock.synchronised() else None
                records.prune(db, before=before, size=self._section.megabytes << 20, step=2 * len(estimates))
            for queue, written in ((self._estimates, estimates), (self._ended, songs)):
                for _ in written:
                    queue.popleft()

    def _fail(self, error: DatabaseError) -> None:
        self._release()
        self._failing = True
        held = f"history waits in memory and is tried again every minute, {self._lost} estimates were lost so far"
        self._warnings.warn(str(error), f"{error} ({held})")

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
