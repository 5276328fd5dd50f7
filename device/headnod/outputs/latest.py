"""The latest estimate or status in a file of the runtime folder, for `headnod why`.

The runtime folder is in memory (tmpfs), so nothing is written to a card, and the
file ends with the listener. Where several listeners share the folder, the first one
writes; another takes over when it ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from typing import IO

import msgspec

from headnod.errors import AudioError
from headnod.pipeline.estimate import Estimate, StatusEvent

_log = logging.getLogger(__name__)

FILE = "headnod-latest.json"
_LARGEST = 64 << 10


class Latest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds: an estimate, or the status that came after it."""

    estimate: Estimate | None = None
    """The latest estimate, if there was one."""

    status: StatusEvent | None = None
    """Why there is none now, if there is none."""


def read_latest(path: Path) -> Latest:
    """What a listener wrote last.

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
        message = f"{path}: no listener runs here (start 'headnod listen', or name a file with --audio)"
        raise AudioError(message) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"{path}: cannot be read: {error} (is the listener of another version? restart it)"
        raise AudioError(message) from error


class LatestFile:
    """The file as a sink."""

    def __init__(self, path: Path) -> None:
        """Write to a file in a folder that is there."""
        self._path, self._new = path, path.with_name(f".{path.name}.{os.getpid()}")
        self._latest, self._writable = Latest(), True
        self._lock: IO[str] | None = None

    def show(self, estimate: Estimate) -> None:
        """Replace what is there."""
        self._write(Latest(estimate=estimate))

    def show_status(self, status: StatusEvent) -> None:
        """Keep the estimate, and say why there is none now."""
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
            lock = self._path.with_suffix(".lock").open("a")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return False
            except BaseException:
                lock.close()
                raise
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
