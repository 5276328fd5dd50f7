"""Corrections while the listener runs: labels by people and media players, suggestions, and teaching on request."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from headnod.clock import Clock
from headnod.teaching.corrections import Correction, CorrectionError, CorrectionStore, check_label
from headnod.teaching.recent_windows import RecentWindows
from headnod.teaching.suggestions import Suggestion, suggest

_CONTEXT = 40
"""Windows of other music that are stored with a correction."""

_SETTLING = 5.0
"""Seconds at both ends of what a media player says that are left out: it reports early or late."""

_SHORTEST = 20.0
"""Seconds of a label by a media player that are stored."""

_LONGEST_LABEL = 1_800.0
"""Seconds after which a label by a media player ends by itself: players do not always say that they stopped."""

_TIMEOUT = 600.0

_log = logging.getLogger(__name__)


class TeachRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a process for the page does."""

    state: str
    """The state folder."""

    configured: str
    """The bundle of the configuration."""

    budget: float
    """Seconds that one window may take."""

    windows: int
    """Windows of a probation."""


class TeachResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    model: str = ""
    """Name and version of the new model; empty if none was installed."""

    summary: tuple[str, ...] = ()
    """What improves, one line each."""

    error: str = ""
    """Why nothing was installed; empty if the model was."""


class CorrectionCommands:
    """Corrections of one listener; thread-safe."""

    def __init__(
        self,
        windows: RecentWindows,
        state_folder: Path | None,
        clock: Clock,
        *,
        teaching: Callable[[Path], TeachRequest],
    ) -> None:
        """Use the windows of a listener.

        Args:
            windows: The last hours.
            state_folder: Where corrections are stored; without one nothing can be corrected.
            clock: The clocks.
            teaching: Gives the request of a teacher's process for a state folder.
        """
        self._windows, self._state_folder, self._clock, self._teaching = windows, state_folder, clock, teaching
        self._store = None if state_folder is None else CorrectionStore(state_folder)
        self._playing: tuple[str, float] | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._result: TeachResult | None = None

    @property
    def store(self) -> CorrectionStore:
        """The stored corrections.

        Raises:
            CorrectionError: There is no state folder.
        """
        if self._store is None:
            raise CorrectionError("there is no state folder for corrections (set history.path)")
        return self._store

    def correct(self, start: float, end: float, label: str, *, source: str = "person") -> Correction:
        """Label the windows of a time range.

        Args:
            start: Seconds since 1970.
            end: Seconds since 1970.
            label: A genre, a new label, or `not music`.
            source: `person` or `player`.

        Raises:
            CorrectionError: The label cannot be one, or there are no windows in that time.
        """
        check_label(label)
        store, windows = self.store, self._windows.all()
        there = windows.between(start, end)
        if not len(windows.times):
            message = "no window has an embedding (the model has none, or no music played yet)"
            raise CorrectionError(message)
        if not there.any():
            oldest = datetime.fromtimestamp(float(windows.times[0]), UTC)
            message = f"no window of music is known from that time; the oldest is of {oldest:%Y-%m-%d %H:%M:%S} UTC"
            raise CorrectionError(message)
        outside = ~there
        for each in store.all():
            outside &= ~windows.between(each.start, each.end)
        other = np.flatnonzero(outside)
        context = windows.rows(other[np.unique(np.linspace(0, len(other) - 1, min(len(other), _CONTEXT)).astype(int))])
        made = self._clock.now().timestamp()
        return store.add(windows.rows(there), label, start=start, end=end, made=made, source=source, context=context)

    def label(self, label: str) -> None:
        """What a media player plays from now on; an empty label ends it. What played before is stored.

        Raises:
            CorrectionError: The label cannot be one, or there is no state folder.
        """
        if label:
            check_label(label)
        _ = self.store
        now = self._clock.monotonic()
        with self._lock:
            before, self._playing = self._playing, (label, now) if label else None
        if before is not None:
            self._store_played(before[0], before[1], min(now, before[1] + _LONGEST_LABEL))

    def _store_played(self, label: str, began: float, ended: float) -> None:
        start, end = began + _SETTLING, ended - _SETTLING
        if end - start < _SHORTEST:
            return
        try:
            self.correct(self._clock.at(start).timestamp(), self._clock.at(end).timestamp(), label, source="player")
        except CorrectionError as error:
            # The volume was zero, or another source played.
            _log.info("what the media player played as %s is not kept: %s", label, error)

    def suggestions(self, count: int = 10) -> list[Suggestion]:
        """Moments whose label would teach most, the best first."""
        windows = self._windows.all()
        labelled = self._store.labelled(windows.body) if self._store is not None else None
        if labelled is None:
            return suggest(windows, windows.embeddings[:0], windows.times[:0], count=count)
        return suggest(windows, labelled.embeddings, labelled.times, count=count)

    def teach(self) -> None:
        """Start a process that teaches; returns at once. `teaching` gives what came of it.

        Raises:
            CorrectionError: One runs already, or there is no state folder.
        """
        _ = self.store
        assert self._state_folder is not None  # noqa: S101 - there is a store
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise CorrectionError("a model is being taught already (wait until it is done)")
            request, self._result = self._teaching(self._state_folder), None
            self._thread = threading.Thread(target=self._run, args=(request,), name="teach", daemon=True)
            self._thread.start()

    def teaching(self) -> dict[str, object]:
        """Whether a model is being taught, and the result of the last one."""
        with self._lock:
            running = self._thread is not None and self._thread.is_alive()
            return {"running": running, "result": self._result}

    def _run(self, request: TeachRequest) -> None:
        command = [sys.executable, "-P", "-m", "headnod.teaching.teacher"]
        try:
            given = msgspec.json.encode(request) + b"\n"
            ended = subprocess.run(command, input=given, stdout=subprocess.PIPE, timeout=_TIMEOUT, check=True)  # noqa: S603 - our own program
            result = msgspec.json.decode(ended.stdout, type=TeachResult)
        except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
            _log.warning("the process that teaches failed: %s", error)
            result = TeachResult(error="the process that teaches failed: see headnod's log")
        for line in (*result.summary, *([result.error] if result.error else [])):
            _log.info("teach: %s", line)
        self._result = result
