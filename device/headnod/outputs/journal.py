"""The log as a sink: what a person finds in the journal months later.

One line when the genre changes and one when something is wrong, not one every
three seconds; the same trouble is told again after five minutes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.pipeline.quiet import QuietMusic

_log = logging.getLogger(__name__)

AGAIN = 300.0
"""Seconds after which the same trouble is worth another line."""

QUIET_AGAIN = 3_600.0
"""Seconds after which quiet music is worth another line: it plays on, and its genre is named."""

_TROUBLES = {
    State.DEAF: "the microphone sends nothing but zeros (is it muted, or its switch off?)",
    State.CLIPPING: "the microphone is overdriven (lower its gain with alsamixer)",
}


class Journal:
    """The log as a sink."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing told; lines are counted by a clock in seconds that is never set."""
        self._monotonic = monotonic
        self._genre = ""
        self._warned = False
        self._told: dict[State, float] = {}
        self._quiet = QuietMusic()
        self._quiet_told: float | None = None

    def show(self, estimate: Estimate) -> None:
        """Tell of a new genre, and of a microphone that needs a hand."""
        if trouble := _TROUBLES.get(estimate.state, ""):
            self._warn(estimate.state, trouble)
        elif self._warned:
            _log.info("the microphone is heard again")
            self._warned = False
        if (missing := self._quiet.update(estimate)) is not None:
            self._warn_quiet(estimate, missing)
        if estimate.genre != self._genre:
            self._genre = estimate.genre
            _log.info("%s (%.2f) at %.0f dBFS", estimate.genre, estimate.confidence, estimate.level)

    def show_status(self, condition: StatusEvent) -> None:
        """Tell why nothing is heard."""
        self._warn(condition.state, condition.message)

    def close(self) -> None:
        """Nothing is open."""

    def _warn(self, state: State, message: str) -> None:
        # By state and not by message, which may hold figures: a loose plug must not fill the journal.
        now, told = self._monotonic(), self._told.get(state)
        if told is None or now - told >= AGAIN:
            _log.warning("%s: %s", state.replace("_", " "), message)
            self._told[state], self._warned, self._genre = now, True, ""

    def _warn_quiet(self, estimate: Estimate, missing: float) -> None:
        now = self._monotonic()
        if self._quiet_told is None or now - self._quiet_told >= QUIET_AGAIN:
            _log.warning(
                "too quiet: music is recorded at %.0f dBFS (raise the microphone's gain by about %.0f dB "
                "with alsamixer; 'headnod calibrate' measures it)",
                estimate.level,
                missing,
            )
            self._quiet_told = now
