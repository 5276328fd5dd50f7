"""Estimates as text: plain lines, JSON lines, the log, and the latest one in a file for `headnod why`.

The file is in the runtime folder, which is in memory (tmpfs), so nothing is written to a card, and it ends with the
listener. Where several listeners share the folder, the first one writes; another takes over when it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TextIO

import msgspec

from headnod.errors import AudioError
from headnod.escaping import padded, printable
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.pipeline.level_meter import QuietMusic
from headnod.retry import RateLimitedLogger

_log = logging.getLogger(__name__)

REPEAT_QUIET_SECONDS = 3_600.0
"""Seconds after which music that is too quiet is logged again."""

_SMALLEST_SCORE = 0.01
_MICROPHONE_FAULTS = {
    State.DEAF: "the microphone sends nothing but zeros (is it muted, or its switch off?)",
    State.CLIPPING: "the microphone is overdriven (lower its gain with alsamixer)",
}


class _Lines:
    """Writes lines to a text stream."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


class PlainLines(_Lines):
    """One readable line per estimate."""

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
        self._write(printable(line.rstrip()))

    def show_status(self, status: StatusEvent) -> None:
        """The state and its reason."""
        self._write(printable(f"        {status.state}: {status.message}"))


class JsonLines(_Lines):
    """One JSON object per estimate or status, each on a line."""

    def show(self, estimate: Estimate) -> None:
        """Every field of the estimate."""
        self._write(msgspec.json.encode(estimate).decode())

    def show_status(self, status: StatusEvent) -> None:
        """The status: it has a `message` and no `genre`."""
        self._write(msgspec.json.encode(status).decode())


_RECOVERED = {State.PAUSED: "the pause has ended", State.WAITING: "sound arrives again"}
"""What the log says when a state ends: the source may be a stream or a pipe, too."""


class Journal:
    """The log: one line when the genre changes and one when something is wrong, not one per estimate."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start without a genre; `monotonic` is a clock in seconds."""
        self._genre = ""
        self._faulty: State | None = None
        self._warnings = RateLimitedLogger(_log, monotonic=monotonic)
        self._quiet = QuietMusic()
        self._quiet_warnings = RateLimitedLogger(_log, repeat=REPEAT_QUIET_SECONDS, monotonic=monotonic)

    def show(self, estimate: Estimate) -> None:
        """Log a new genre, and a microphone that is muted, overdriven or too quiet."""
        if fault := _MICROPHONE_FAULTS.get(estimate.state, ""):
            self._warn(estimate.state, fault)
        elif self._faulty is not None:
            _log.info(_RECOVERED.get(self._faulty, "the microphone works again"))
            self._faulty = None
        if (missing := self._quiet.update(estimate)) is not None:
            self._quiet_warnings.warn(
                "quiet",
                f"too quiet: music is recorded at {estimate.level:.0f} dBFS (raise the microphone's gain by about "
                f"{missing:.0f} dB with alsamixer; 'headnod calibrate' measures it)",
            )
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
        if self._warnings.warn(state, f"{state.replace('_', ' ')}: {message}"):
            self._faulty, self._genre = state, ""


FILE = "headnod-latest.json"
_LARGEST = 64 << 10


class Latest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of the file: the latest estimate, and the status that came after it."""

    estimate: Estimate | None = None
    """The latest estimate, if there was one."""

    status: StatusEvent | None = None
    """Why there are no estimates now; None while there are."""


def read_latest(path: Path) -> Latest:
    """The latest estimate and status of a running listener.

    Raises:
        PermissionError: This user may not read it.
        AudioError: No listener writes there, or the file is damaged.
    """
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LARGEST), type=Latest)
    except PermissionError:
        raise
    except OSError as error:
        raise AudioError(
            f"{path}: no listener runs here (start 'headnod listen', or name a file with --audio)"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AudioError(f"{path}: cannot be read: {error} (is the listener of another version? restart it)") from error


class LatestFile:
    """Writes the latest estimate and status to the file."""

    def __init__(self, path: Path) -> None:
        """Write to a file in a folder that is there."""
        self._path, self._new = path, path.with_name(f".{path.name}.{os.getpid()}")
        self._latest, self._writable = Latest(), True
        self._lock: IO[str] | None = None

    def show(self, estimate: Estimate) -> None:
        """Replace the content of the file."""
        self._write(Latest(estimate=estimate))

    def show_status(self, status: StatusEvent) -> None:
        """Keep the estimate, and add why there is none now."""
        self._write(Latest(estimate=self._latest.estimate, status=status))

    def close(self) -> None:
        """Delete the file, if it is this listener's."""
        if self._lock is not None:
            self._path.unlink(missing_ok=True)
            self._new.unlink(missing_ok=True)
            self._lock.close()
            self._lock = None

    def _locked(self) -> bool:
        """Whether this listener owns the file."""
        if self._lock is None:
            with contextlib.ExitStack() as opened:
                lock = opened.enter_context(self._path.with_suffix(".lock").open("a"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
                opened.pop_all()
            self._lock = lock
        return True

    def _write(self, latest: Latest) -> None:
        self._latest = latest
        try:
            if not self._locked():
                return
            self._new.write_bytes(msgspec.json.encode(latest))
            self._new.replace(self._path)
        except OSError as error:
            if self._writable:
                _log.warning("%s: %s; 'headnod why' reads nothing", self._path, (error.strerror or str(error)).lower())
            self._writable = False
        else:
            self._writable = True
