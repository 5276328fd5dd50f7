"""A log-mel archive: the features of a music collection, ready to train on.

One npz file holds every track as 8-bit decibels on the front end's own frames,
so a collection is read from disk in a second and no audio is needed again.
docs/collections.md names its arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.features.frontend import Features, FrontEnd, LogMel

WINDOW_STEP_SECONDS = 3.0
"""Seconds from one evaluated window of a track to the next."""

BATCH_SIZE = 64
"""Windows in a training step."""

UNKNOWN_ARTIST = -1
"""The artist, album or duplicate group of a track of which nobody knows one, or that has none."""


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

    frames: NDArray[np.int32] = field(default_factory=lambda: _unsaid(1))
    """How many frames of each track are real, the rest of its row is padding; all of them unless said."""

    albums: NDArray[np.int32] = field(default_factory=lambda: _unsaid(1))
    """Number of each track's album, or of the track that it is a piece of; -1 unknown, as for all unless said."""

    groups: NDArray[np.int32] = field(default_factory=lambda: _unsaid(1))
    """Number that each track shares with its near-duplicates, -1 where it has none, as for all unless said."""

    first_samples: NDArray[np.int32] = field(default_factory=lambda: _unsaid(2))
    """Where in its audio each frame starts, shape (tracks, frames); (tracks, 0) where nobody knows."""

    leaky: bool = False
    """Rows are segments of 3 s, and those of one track stand on several sides: no figure of it means much."""

    front_end: FrontEnd | None = None
    """What made the decibels, where the file says so."""

    def __post_init__(self) -> None:
        """Say what was left unsaid."""
        tracks, frames = len(self.tracks), self.levels.shape[1]
        unsaid = {
            "frames": np.full(tracks, frames, np.int32),
            "albums": np.full(tracks, UNKNOWN_ARTIST, np.int32),
            "groups": np.full(tracks, UNKNOWN_ARTIST, np.int32),
            "first_samples": np.empty((tracks, 0), np.int32),
        }
        for name, array in unsaid.items():
            if len(getattr(self, name)) != tracks:
                object.__setattr__(self, name, array)

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
        """Decibels of the real frames of one track, shape (frames, mels)."""
        step = self.range_db[track] / np.float32(256.0)
        return self.floor_db[track] + (self.levels[track, : self.frames[track]] + np.float32(0.5)) * step

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
        return self.chosen(chosen)

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Archive:
        """Some of the rows, by a mask or by their places."""
        arrays = {each.name: getattr(self, each.name)[rows] for each in fields(self) if each.name not in _OF_ALL_ROWS}
        return replace(self, **arrays)

    def windows(self, track: int, front_end: FrontEnd) -> LogMel:
        """The windows that a listener hears of a track, one every 3 s.

        Returns:
            Decibels, shape (windows, front_end.frames, mels).

        Raises:
            ArchiveError: The track does not fill a window.
        """
        log_mel = self.log_mel(track)
        starts = window_starts(len(log_mel), front_end)
        if not starts:
            message = f"track {self.tracks[track]} has {len(log_mel)} frames, a window needs {front_end.frames}"
            raise ArchiveError(message)
        return np.stack([log_mel[start : start + front_end.frames] for start in starts])


def window_starts(frames: int, front_end: FrontEnd) -> list[int]:
    """First frames of the windows that start every 3 s in a track of so many frames."""
    apart = WINDOW_STEP_SECONDS * front_end.sample_rate / front_end.hop
    last = frames - front_end.frames
    starts = (round(place * apart) for place in range(1 + int(last / apart + 0.5)))
    return [start for start in starts if start <= last]


def count_windows(archive: Archive, front_end: FrontEnd) -> int:
    """How many windows a listener hears of all tracks."""
    return sum(len(window_starts(int(frames), front_end)) for frames in archive.frames)


def window_features(archive: Archive, front_end: FrontEnd) -> tuple[Features, NDArray[np.intp]]:
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


_ARRAYS = {
    "levels": ("levels", np.uint8), "floor_db": ("floor_db", np.float32), "range_db": ("range_db", np.float32),
    "track": ("tracks", np.str_), "genre": ("genres", np.str_), "split": ("splits", np.str_),
    "artist": ("artists", np.int32), "first_sample": ("first_samples", np.int32),
}  # fmt: skip
_MORE = {"frames": ("frames", np.int32), "album": ("albums", np.int32), "group": ("groups", np.int32)}
ARRAYS = {name: field for name, (field, _) in (_ARRAYS | _MORE).items()}
"""Names of the arrays in the file, and of the fields of an Archive that they become."""

_OF_ALL_ROWS = frozenset({"leaky", "front_end"})
_OF_MEL = ("sample_rate", "n_fft", "hop", "n_mels", "f_min", "f_max", "mel_scale", "mel_norm")
"""Fields of a front end that decibels depend on; what follows is done when features are made of them."""

LEAKY = "LEAKY: segments of one track stand on several sides, so no figure of this archive says how a model would do"
"""What every output says that comes of an archive whose one bool `leaky` is true."""


def read_archive(path: Path, front_end: FrontEnd) -> Archive:
    """Read a log-mel archive.

    Raises:
        ArchiveError: It is absent, malformed, or not of this front end.
    """
    try:
        # Opened here, because numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            kinds = _ARRAYS | {name: kind for name, kind in _MORE.items() if name in arrays}
            read = {
                name: np.asarray(arrays[name]).astype(kind, casting="same_kind") for name, (_, kind) in kinds.items()
            }
            leaky = "leaky" in arrays and bool(arrays["leaky"])
            made_by = msgspec.json.decode(str(arrays["front_end"]), type=FrontEnd) if "front_end" in arrays else None
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise ArchiveError(message) from error
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for a damaged file
        message = f"{path}: is no log-mel archive, or damaged: {error}"
        raise ArchiveError(message) from error
    if made_by is not None:
        _made_by(path, made_by, front_end)
    _fits(path, read, front_end)
    first_sample = read["first_sample"]
    hop = float(np.diff(first_sample[:, [0, -1]]).mean()) / max(first_sample.shape[1] - 1, 1)
    if abs(hop - front_end.hop) > front_end.hop / 100:
        message = f"{path}: its frames are {hop:.0f} samples apart, the front end's {front_end.hop}"
        raise ArchiveError(message)
    return Archive(**{ARRAYS[name]: array for name, array in read.items()}, leaky=leaky, front_end=made_by)


def _made_by(path: Path, made_by: FrontEnd, front_end: FrontEnd) -> None:
    for name in _OF_MEL:
        ours, theirs = getattr(front_end, name), getattr(made_by, name)
        if ours != theirs:
            message = (
                f"{path}: was made by another front end: its {name} is {theirs}, the model's {ours} "
                "(make an archive for this model: headnod-train import --front-end)"
            )
            raise ArchiveError(message)


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
    real = read.get("frames", np.full(len(levels), frames))
    wrong = np.flatnonzero((real < front_end.frames) | (real > frames))
    if wrong.size:
        message = (
            f"{path}: track {read['track'][wrong[0]]} has {real[wrong[0]]} frames, "
            f"it must have from {front_end.frames}, a window, to {frames}"
        )
        raise ArchiveError(message)


def _unsaid(dimensions: int) -> NDArray[np.int32]:
    return np.empty((0,) * dimensions, np.int32)
