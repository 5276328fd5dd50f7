"""Rows of an unfinished import, one small file per track, so that an interrupted import continues.

The folder lies beside the archive and may be deleted at any time. A file's name is a hash of everything
that its content depends on: the track's path, size and time, and the front end.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from headnod.features.frontend import FrontEnd
from headnod_train.dataset.extraction import TrackFeatures
from headnod_train.dataset.tracks import CollectionError, Track, path_text
from headnod_train.storage import StorageError, open_npz, write_npz

_FORMAT = 1
_AFTER_LOG_MEL = {"n_mfcc", "range_db", "compression", "level", "level_db"}
"""Fields of a front end that do not change log-mel."""


@dataclass(frozen=True)
class WorkFolder:
    """Rows on disk."""

    folder: Path
    front_end: FrontEnd

    seconds: float
    """Length of the excerpt of each track."""

    def file(self, track: Track) -> Path:
        """File of a track's row, which may not exist yet.

        Raises:
            OSError: The track's own file does not exist.
        """
        stat = track.path.stat()
        front_end = {name: value for name, value in asdict(self.front_end).items() if name not in _AFTER_LOG_MEL}
        for name in ("mel_scale", "mel_norm"):
            # Rows of versions that had no such choice keep their names.
            if front_end[name] == getattr(FrontEnd, name):
                del front_end[name]
        path = path_text(track.path.resolve())
        key = [_FORMAT, path, track.row, stat.st_size, stat.st_mtime_ns, self.seconds, front_end]
        return self.folder / f"{hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:32]}.npz"

    def save(self, file: Path, row: TrackFeatures) -> None:
        """Write a row atomically.

        Raises:
            StorageError: The disk is full or read-only.
        """
        write_npz(file, vars(row), f"rows extracted so far are kept in {self.folder}; make room and start again")

    def load(self, file: Path) -> TrackFeatures:
        """Read a row; a damaged one is deleted.

        Raises:
            StorageError: The row is absent or damaged.
        """
        try:
            with open_npz(file, "a row", CollectionError) as row:
                return TrackFeatures(
                    row["levels"], float(row["floor_db"]), float(row["range_db"]), row["first_samples"]
                )
        except CollectionError as error:
            file.unlink(missing_ok=True)
            message = f"{file}: is missing or damaged (start again: only missing rows are extracted)"
            raise StorageError(message) from error
