"""A log-mel archive: the features of a music collection, ready to train on.

One npz file holds every track as 8-bit decibels on the front end's own frames,
so a collection is read from disk in a second and no audio is needed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.frontend import Features, FrontEnd, LogMel

SECONDS_APART = 3.0
"""Seconds from one evaluated window of a track to the next."""


class ArchiveError(HeadnodError, ValueError):
    """A log-mel archive cannot be used."""


@dataclass(frozen=True)
class Archive:
    """Tracks as log-mel, with what is known of each."""

    levels: NDArray[np.uint8]
    """Decibels in 256 steps, shape (tracks, frames, mels)."""

    floor_db: NDArray[np.float32]
    """Decibels of level 0 of each track, shape (tracks,)."""

    range_db: NDArray[np.float32]
    """Decibels that the 256 levels of each track span, shape (tracks,)."""

    tracks: NDArray[np.str_]
    """Name of each track."""

    genres: NDArray[np.str_]
    """Genre of each track."""

    splits: NDArray[np.str_]
    """Side of each track: train, valid or another."""

    artists: NDArray[np.int32]
    """Number of each track's artist, -1 where nobody knows."""

    def __len__(self) -> int:
        """Tracks."""
        return len(self.tracks)

    @property
    def labels(self) -> tuple[str, ...]:
        """Genres in alphabetical order."""
        return tuple(sorted({str(genre) for genre in self.genres}))

    def targets(self, labels: tuple[str, ...]) -> NDArray[np.intp]:
        """Each track's place in labels, shape (tracks,).

        Raises:
            ArchiveError: A track has a genre that is not among them.
        """
        places = {label: place for place, label in enumerate(labels)}
        strangers = sorted({str(genre) for genre in self.genres} - places.keys())
        if strangers:
            message = f"genre '{strangers[0]}' of the archive is not one of {', '.join(labels)}"
            raise ArchiveError(message)
        return np.array([places[str(genre)] for genre in self.genres], np.intp)

    def log_mel(self, track: int) -> LogMel:
        """Decibels of one track, shape (frames, mels)."""
        step = self.range_db[track] / np.float32(256.0)
        return self.floor_db[track] + (self.levels[track] + np.float32(0.5)) * step

    def subset(self, split: str) -> Archive:
        """The tracks of one side.

        Raises:
            ArchiveError: There are none.
        """
        chosen = self.splits == split
        if not chosen.any():
            known = ", ".join(sorted({str(name) for name in self.splits}))
            message = f"no track of the archive is in split '{split}' (it has {known})"
            raise ArchiveError(message)
        return Archive(
            self.levels[chosen],
            self.floor_db[chosen],
            self.range_db[chosen],
            self.tracks[chosen],
            self.genres[chosen],
            self.splits[chosen],
            self.artists[chosen],
        )

    def windows(self, track: int, front_end: FrontEnd) -> LogMel:
        """The windows that a listener hears of a track, one every 3 s.

        Returns:
            Decibels, shape (windows, front_end.frames, mels).
        """
        log_mel = self.log_mel(track)
        starts = window_starts(len(log_mel), front_end)
        return np.stack([log_mel[start : start + front_end.frames] for start in starts])


def window_starts(frames: int, front_end: FrontEnd) -> list[int]:
    """First frames of the windows that start every 3 s in a track of so many frames."""
    apart = SECONDS_APART * front_end.sample_rate / front_end.hop
    last = frames - front_end.frames
    starts = (round(place * apart) for place in range(1 + int(last / apart + 0.5)))
    return [start for start in starts if start <= last]


def heard_windows(archive: Archive, front_end: FrontEnd) -> tuple[Features, NDArray[np.intp]]:
    """Every window that a listener hears of every track, unbent.

    Returns:
        MFCCs, shape (windows, frames, n_mfcc), and the track of each window.
    """
    features, tracks = [], []
    for track in range(len(archive)):
        windows = archive.windows(track, front_end)
        features.append(front_end.cepstra(windows))
        tracks.extend([track] * len(windows))
    return np.concatenate(features), np.array(tracks, np.intp)


def read_archive(path: Path, front_end: FrontEnd) -> Archive:
    """Read a log-mel archive.

    Raises:
        ArchiveError: It is absent, malformed, or not of this front end.
    """
    kinds = {
        "levels": np.uint8, "floor_db": np.float32, "range_db": np.float32,
        "track": np.str_, "genre": np.str_, "split": np.str_, "artist": np.int32, "first_sample": np.int32,
    }  # fmt: skip
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            read = {name: np.asarray(arrays[name]).astype(kind, casting="same_kind") for name, kind in kinds.items()}
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise ArchiveError(message) from error
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for a damaged file
        message = f"{path}: is no log-mel archive, or damaged: {error}"
        raise ArchiveError(message) from error
    _fits(path, read, front_end)
    first_sample = read.pop("first_sample")
    hop = float(np.diff(first_sample[:, [0, -1]]).mean()) / (first_sample.shape[1] - 1)
    if abs(hop - front_end.hop) > front_end.hop / 100:
        message = f"{path}: its frames are {hop:.0f} samples apart, the front end's {front_end.hop}"
        raise ArchiveError(message)
    return Archive(*read.values())


def _fits(path: Path, read: dict[str, np.ndarray], front_end: FrontEnd) -> None:
    levels = read["levels"]
    if levels.ndim != 3 or not len(levels):  # noqa: PLR2004
        message = f"{path}: levels has shape {levels.shape}, it must be (tracks, frames, mels)"
        raise ArchiveError(message)
    for name, array in read.items():
        wanted = levels.shape[: {"levels": 3, "first_sample": 2}.get(name, 1)]
        if array.shape != wanted:
            message = f"{path}: {name} has shape {array.shape}, the levels make it {wanted}"
            raise ArchiveError(message)
    if not (
        np.isfinite(read["floor_db"]).all() and np.isfinite(read["range_db"]).all() and (read["range_db"] > 0).all()
    ):
        message = f"{path}: floor_db or range_db holds a number that is no level"
        raise ArchiveError(message)
    frames, mels = levels.shape[1:]
    if mels != front_end.n_mels:
        message = f"{path}: has {mels} mel bands, the front end makes {front_end.n_mels}"
        raise ArchiveError(message)
    if frames < front_end.frames:
        message = f"{path}: tracks of {frames} frames do not fill a window of {front_end.frames}"
        raise ArchiveError(message)
