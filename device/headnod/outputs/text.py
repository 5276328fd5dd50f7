"""Estimates as lines of text: plain lines, JSON lines, and the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TextIO

import msgspec

from headnod.escaping import padded, printable
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.pipeline.level_meter import QuietMusic

_log = logging.getLogger(__name__)

REPEAT_QUIET_SECONDS = 3_600.0
"""Seconds after which music that is too quiet is logged again."""

REPEAT_STATE_SECONDS = 300.0
"""Seconds after which the same state is logged again."""

_SMALLEST_SCORE = 0.01
_MICROPHONE_FAULTS = {
    State.DEAF: "the microphone sends nothing but zeros (is it muted, or its switch off?)",
    State.CLIPPING: "the microphone is overdriven (lower its gain with alsamixer)",
}


class PlainLines:
    """One readable line per estimate."""

    def __init__(self, out: TextIO) -> None:
        """Write to a text stream."""
        self._out = out

    def show(self, estimate: Estimate) -> None:
        """Position, genre, probability, level, the two next genres, and why no genre is named."""
        minutes, seconds = divmod(int(estimate.seconds), 60)
        ranked = ((label, score) for label, score in estimate.ranked() if label != estimate.genre)
        others = [f"{label} {score:.2f}" for label, score in ranked if score >= _SMALLEST_SCORE]
        reason = f"({estimate.held_by.reason})" if estimate.held_by.reason else ""
        rest = " ".join(filter(None, (", ".join(others[:2]), reason)))
        confidence = f"{estimate.confidence:.2f}" if estimate.confidence else "    "
        genre = padded(estimate.genre, 10)
        line = f"{minutes:3d}:{seconds:02d}  {genre} {confidence}  {estimate.level:6.1f} dBFS  {rest}"
        self._write(line.rstrip())

    def show_status(self, status: StatusEvent) -> None:
        """The state and its reason."""
        self._write(f"        {status.state}: {status.message}")

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, line: str) -> None:
        self._out.write(printable(line) + "\n")
        self._out.flush()


class JsonLines:
    """One JSON object per estimate or status, each on a line."""

    def __init__(self, out: TextIO) -> None:
        """Write to a text stream."""
        self._out = out

    def show(self, estimate: Estimate) -> None:
        """Every field of the estimate."""
        self._write(estimate)

    def show_status(self, status: StatusEvent) -> None:
        """The status: it has a `message` and no `genre`."""
        self._write(status)

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, event: Estimate | StatusEvent) -> None:
        self._out.write(msgspec.json.encode(event).decode() + "\n")
        self._out.flush()


class Journal:
    """The log: one line when the genre changes and one when something is wrong, not one per estimate."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start without a genre; `monotonic` is a clock in seconds."""
        self._monotonic = monotonic
        self._genre = ""
        self._faulty = False
        self._logged: dict[State, float] = {}
        self._quiet = QuietMusic()
        self._quiet_logged: float | None = None

    def show(self, estimate: Estimate) -> None:
        """Log a new genre, and a microphone that is muted, overdriven or too quiet."""
        if fault := _MICROPHONE_FAULTS.get(estimate.state, ""):
            self._warn(estimate.state, fault)
        elif self._faulty:
            _log.info("the microphone works again")
            self._faulty = False
        if (missing := self._quiet.update(estimate)) is not None:
            self._warn_quiet(estimate, missing)
        if estimate.genre != self._genre:
            self._genre = estimate.genre
            _log.info("%s (%.2f) at %.0f dBFS", estimate.genre, estimate.confidence, estimate.level)

    def show_status(self, status: StatusEvent) -> None:
        """Log why there are no estimates."""
        self._warn(status.state, status.message)

    def close(self) -> None:
        """Nothing is open."""

    def _warn(self, state: State, message: str) -> None:
        # Limited by state and not by message, which may hold numbers: a loose plug must not fill the journal.
        now, last = self._monotonic(), self._logged.get(state)
        if last is None or now - last >= REPEAT_STATE_SECONDS:
            _log.warning("%s: %s", state.replace("_", " "), message)
            self._logged[state], self._faulty, self._genre = now, True, ""

    def _warn_quiet(self, estimate: Estimate, missing: float) -> None:
        now = self._monotonic()
        if self._quiet_logged is None or now - self._quiet_logged >= REPEAT_QUIET_SECONDS:
            _log.warning(
                "too quiet: music is recorded at %.0f dBFS (raise the microphone's gain by about %.0f dB "
                "with alsamixer; 'headnod calibrate' measures it)",
                estimate.level,
                missing,
            )
            self._quiet_logged = now
