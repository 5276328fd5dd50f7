"""Log-mel that was computed before: an npz file a track, or whole archives.

Alone because nothing is heard here: what comes in must be of the front end's
own making, and is checked for it as far as numbers can tell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headnod.features.frontend import FrontEnd, LogMel
from headnod_train.dataset.archive import Archive, read_archive
from headnod_train.dataset.tracks import Collection, CollectionError, Track, unique


def read_track(path: Path, front_end: FrontEnd) -> LogMel:
    """Log-mel of one track: the array `log_mel` of an npz file, decibels, shape (frames, mels).

    Raises:
        CollectionError: It is absent, malformed, or not of this front end.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            log_mel = np.asarray(arrays["log_mel"]).astype(np.float32, casting="same_kind")
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise CollectionError(message) from error
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for a damaged file
        message = f"{path}: is no npz file with an array log_mel of decibels, or damaged: {error}"
        raise CollectionError(message) from error
    if log_mel.ndim != 2 or log_mel.shape[1] != front_end.n_mels or len(log_mel) < front_end.frames:  # noqa: PLR2004
        least = f"({front_end.frames} or more, {front_end.n_mels})"
        message = f"{path}: log_mel has shape {log_mel.shape}, it must be {least}"
        raise CollectionError(message)
    if not np.isfinite(log_mel).all():
        message = f"{path}: log_mel holds values that are no decibels"
        raise CollectionError(message)
    return log_mel


def joined(paths: list[Path], front_end: FrontEnd) -> Collection:
    """The rows of archives as tracks of one collection.

    Artists and albums are numbers of their own archive, so those of two
    archives are taken for different ones.

    Raises:
        ArchiveError: One cannot be used.
        CollectionError: One is leaky: its rows are no tracks.
    """
    tracks: list[Track] = []
    for place, path in enumerate(paths):
        archive = read_archive(path, front_end)
        if archive.leaky:
            message = f"{path}: holds segments of a leaky split, and no tracks (import what it was made of)"
            raise CollectionError(message)
        tracks += [_track(path, archive, row, place) for row in range(len(archive))]
    return unique(tracks)


def _track(path: Path, archive: Archive, row: int, place: int) -> Track:
    artist, album = (
        f"{place} {numbers[row]}" if numbers[row] >= 0 else "" for numbers in (archive.artists, archive.albums)
    )
    name, genre, split = str(archive.tracks[row]), str(archive.genres[row]), str(archive.splits[row])
    return Track(name, genre, path, artist, album, split, row=row)
