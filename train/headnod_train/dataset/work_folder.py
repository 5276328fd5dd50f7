"""The work folder: what was heard already, so that an import that stopped goes on where it was.

Beside the archive that is being made, one small file a track, named by what it
depends on: the file's place, size and time, and the front end. It may be
deleted at any time; all that is lost is time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np

from headnod.errors import HeadnodError
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.extraction import TrackFeatures
from headnod_train.dataset.music_files import text_of
from headnod_train.dataset.tracks import Track

_FORMAT = 1


class DiskError(HeadnodError, OSError):
    """Something that was made cannot be written."""


@dataclass(frozen=True)
class WorkFolder:
    """Rows on disk."""

    folder: Path
    """Where they lie."""

    front_end: FrontEnd
    """What made them."""

    seconds: float
    """How much of each piece of music was heard."""

    def file(self, track: Track) -> Path:
        """Where the row of a track lies or would lie.

        Raises:
            OSError: The track's file is not there.
        """
        stat = track.path.stat()
        front_end = {name: value for name, value in asdict(self.front_end).items() if name not in _AFTER}
        for name in ("mel_scale", "mel_norm"):
            # As rows were named before there was a choice.
            if front_end[name] == getattr(FrontEnd, name):
                del front_end[name]
        what = [
            _FORMAT,
            text_of(track.path.resolve()),
            track.row,
            stat.st_size,
            stat.st_mtime_ns,
            self.seconds,
            front_end,
        ]
        return self.folder / f"{hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:32]}.npz"

    def save(self, file: Path, heard: TrackFeatures) -> None:
        """Keep a row; it is whole or not there.

        Raises:
            DiskError: The disk is full, or refuses.
        """
        unfinished = file.with_suffix(f".{os.getpid()}.part")
        with writing(unfinished, f"what was heard so far is kept in {self.folder}; make room and start again"):
            with unfinished.open("wb") as stream:
                np.savez(stream, **vars(heard))
            unfinished.replace(file)

    def load(self, file: Path) -> TrackFeatures | None:
        """A row, or None where it is not there or damaged and must be heard again."""
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
                return TrackFeatures(
                    kept["levels"], float(kept["floor_db"]), float(kept["range_db"]), kept["first_samples"]
                )
        except FileNotFoundError:
            return None
        except Exception:  # a damaged file: zipfile, zlib and numpy raise a dozen kinds
            file.unlink()
            return None


@contextlib.contextmanager
def writing(path: Path, kept: str) -> Iterator[None]:
    """Name a file that cannot be written, remove what there is of it, and say what was kept.

    Raises:
        DiskError: The body raised an OSError.
    """
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        message = f"{path}: {error.strerror or error} ({kept})"
        raise DiskError(message) from error
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


_AFTER = {"n_mfcc", "range_db", "compression", "level", "level_db"}
"""Fields of the front end that act on log-mel, and so not on what is kept."""
