"""History as a sink: remembers what was heard, and spares the card.

Alone because it decides when to write and what to do when it cannot: rows wait
in memory and go to the file once a minute, so a power cut loses at most the last
minute. While the disk is full, read-only or gone, the last hours are held and the
listener goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

from headnod.clock import Clock, ClockStepDetector
from headnod.outputs.history import records, redating
from headnod.outputs.history.database import (
    DamagedHistoryError,
    ForeignHistoryError,
    HistoryError,
    HistoryFile,
    move_aside,
)
from headnod.pipeline.estimate import Estimate, Now, StatusEvent
from headnod.pipeline.songs import Song, SongSegmenter

_log = logging.getLogger(__name__)

HELD = 4800
"""Estimates that wait in memory at most, four hours at one each three seconds: then the oldest go."""

_EVERY = 60.0
_QUIET = 300.0
_BATCH = 1000


@dataclass(frozen=True)
class HistorySettings:
    """How much to remember."""

    days: float = 30.0
    """Older rows are forgotten, once the clock is synchronised."""

    size: int = 100
    """MiB that the file may have: over it the oldest rows are forgotten."""


class HistoryRecorder:
    """Writes estimates and songs to a history file, about once a minute."""

    def __init__(
        self, path: Path, songs: SongSegmenter, settings: HistorySettings, *, now: Now, clock: Clock | None = None
    ) -> None:
        """Open the file, or begin one; if the disk does not let us, go on without and try again.

        Args:
            path: The file.
            songs: Cuts estimates into songs.
            settings: How much to remember.
            now: The wall clock.
            clock: The same and the monotonic clock beside it, which decides when to write.

        Raises:
            ForeignHistoryError: The file belongs to another program or to a newer headnod.
        """
        self._path, self._songs, self._settings = path, songs, settings
        self._clock = clock or Clock(now=now)
        self._stepped = ClockStepDetector(lambda: self._clock.now().timestamp(), self._clock.monotonic)
        self._believed = self._clock.synchronised()
        self._redated: int | None = -1
        self._estimates: deque[Estimate] = deque()
        self._ended: deque[Song] = deque(maxlen=HELD)
        self._lost = 0
        self._file: HistoryFile | None = None
        self._tried = self._clock.monotonic()
        self._warned: dict[str, float] = {}
        self._checked, self._failing, self._closed = False, False, False
        try:
            self._write_all()
        except ForeignHistoryError:
            raise
        except HistoryError as error:
            self._fail(error)

    def show(self, estimate: Estimate) -> None:
        """Remember what was heard."""
        self._remember(self._songs.update(estimate))
        self._estimates.append(estimate)
        self._write_when_due()

    def show_status(self, condition: StatusEvent) -> None:
        """Remember the song that ended because nothing is heard."""
        self._remember(self._songs.interrupt(condition))
        self._write_when_due()

    def close(self) -> None:
        """Write what is left; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._remember(self._songs.finish())
        try:
            self._clock_was_set()
            self._write_all()
        except HistoryError as error:
            lost = self._lost + len(self._estimates)
            _log.warning("%s: %d estimates and %d songs are lost", error, lost, len(self._ended))
        self._release()

    def _remember(self, song: Song | None) -> None:
        if song is not None:
            self._ended.append(song)

    def _clock_was_set(self) -> bool:
        """The wall clock was set or synchronised since the last call; then rows of this boot are dated anew."""
        before, self._believed = self._believed, self._clock.synchronised()
        if self._stepped.by() or before is not self._believed:
            self._redated = -1
            return True
        return False

    def _write_when_due(self) -> None:
        while len(self._estimates) > HELD:
            self._estimates.popleft()
            self._lost += 1
        now, was_set = self._clock.monotonic(), self._clock_was_set()
        soon = now - self._tried < _EVERY and not was_set
        many = len(self._estimates) >= _BATCH and not self._failing
        if soon and not many:
            return
        self._tried = now
        try:
            self._write_all()
        except HistoryError as error:
            self._fail(error)

    def _write_all(self) -> None:
        try:
            self._drain()
        except DamagedHistoryError as error:
            self._release()
            bad = move_aside(self._path)
            self._warn("damage", f"{error}: it is {bad.name} now, and history begins anew")
            self._drain()
        if self._failing:
            _log.info("%s: history is written again, %d estimates were lost", self._path, self._lost)
        self._failing, self._lost = False, 0

    def _drain(self) -> None:
        if self._file is not None and not self._file.in_place:
            self._release()
        if self._file is None:
            self._file = HistoryFile(self._path, check=not self._checked)
            self._checked = True
        if self._redated is not None:
            with self._file.transaction() as db:
                self._redated = redating.redate(db, self._clock, self._redated)
        while self._estimates or self._ended:
            estimates, songs = list(islice(self._estimates, _BATCH)), list(islice(self._ended, _BATCH))
            with self._file.transaction() as db:
                records.write(db, estimates, songs, self._clock)
                believed = self._clock.synchronised()
                before = self._clock.now() - timedelta(days=self._settings.days) if believed else None
                records.forget(db, before=before, size=self._settings.size << 20, step=2 * len(estimates))
            for queue, written in ((self._estimates, estimates), (self._ended, songs)):
                for _ in written:
                    queue.popleft()

    def _fail(self, error: HistoryError) -> None:
        self._release()
        self._failing = True
        held = f"history waits in memory and is tried again every minute, {self._lost} estimates were lost so far"
        self._warn(str(error), f"{error} ({held})")

    def _warn(self, cause: str, message: str) -> None:
        now, last = self._clock.monotonic(), self._warned.get(cause)
        if last is None or now - last >= _QUIET:
            self._warned[cause] = now
            _log.warning("%s", message)

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
