"""Estimates as lines of text: for pipes, logs and dumb terminals, or as JSON."""

from __future__ import annotations

from typing import TextIO

import msgspec

from headnod.escaping import padded, printable
from headnod.pipeline.estimate import Estimate, StatusEvent

_LEAST = 0.01
"""Least probability that is printed: two decimals."""


class PlainLines:
    """One line per estimate that a person can read."""

    def __init__(self, out: TextIO) -> None:
        """Write to a text stream."""
        self._out = out

    def show(self, estimate: Estimate) -> None:
        """Position, genre, probability, level, the two next genres, and what holds a genre back."""
        minutes, seconds = divmod(int(estimate.seconds), 60)
        others = [(label, score) for label, score in estimate.ranked() if label != estimate.genre and score >= _LEAST]
        next_two = ", ".join(f"{label} {score:.2f}" for label, score in others[:2])
        reason = f"({estimate.held_by.reason})" if estimate.held_by.reason else ""
        rest = " ".join(filter(None, (next_two, reason)))
        sure = f"{estimate.confidence:.2f}" if estimate.confidence else "    "
        genre = padded(estimate.genre, 10)
        line = f"{minutes:3d}:{seconds:02d}  {genre} {sure}  {estimate.level:6.1f} dBFS  {rest}"
        self._write(line.rstrip())

    def show_status(self, condition: StatusEvent) -> None:
        """One line: the state and its reason."""
        self._write(f"        {condition.state}: {condition.message}")

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, line: str) -> None:
        self._out.write(printable(line) + "\n")
        self._out.flush()


class JsonLines:
    """A JSON object an estimate, on a line of its own, and so for conditions."""

    def __init__(self, out: TextIO) -> None:
        """Write to a text stream."""
        self._out = out

    def show(self, estimate: Estimate) -> None:
        """The estimate, every field under its own name."""
        self._write(estimate)

    def show_status(self, condition: StatusEvent) -> None:
        """The condition: it has a `message` and no `genre`."""
        self._write(condition)

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, said: Estimate | StatusEvent) -> None:
        self._out.write(msgspec.json.encode(said).decode() + "\n")
        self._out.flush()
