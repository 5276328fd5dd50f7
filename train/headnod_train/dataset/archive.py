"""A log-mel archive: the features of a music collection, ready to train on.

One npz file has every track as 8-bit decibels in the frames of the front end, so a collection is read from disk in a
second, without its audio. docs/collections.md lists the arrays.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.features.frontend import Features, FrontEnd, LogMel
from headnod_train.storage import open_npz, replacing

WINDOW_STEP_SECONDS = 3.0
"""Seconds from the start of one evaluated window of a track to the next."""

BATCH_SIZE = 64
"""Windows in a training step."""

UNKNOWN = -1
"""Stands for no or an unknown artist, album or duplicate group."""

LEAKY = (
    "LEAKY: segments of one track are in several splits, so these figures say nothing about music that the model "
    "has not seen"
)
"""Caption of the summary of an archive whose rows were split at random."""


class ArchiveError(HeadnodError, ValueError):
    """A log-mel archive cannot be used."""


def _empty(dimensions: int) -> NDArray[np.int32]:
    return np.empty((0,) * dimensions, np.int32)


@dataclass(frozen=True)
class Archive:
    """Tracks as log-mel, with their labels. Optional arrays get their default values if they are left out."""

    levels: NDArray[np.uint8]
    """Decibels in 256 steps, shape (tracks, frames, mels); rows of shorter tracks are padded."""

    floor_db: NDArray[np.float32]
    """Decibels of level 0, shape (tracks,)."""

    range_db: NDArray[np.float32]
    """Decibels that the 256 levels span, shape (tracks,)."""

    tracks: NDArray[np.str_]
    """Names, shape (tracks,); unique unless the archive is leaky."""

    genres: NDArray[np.str_]
    """Labels, shape (tracks,)."""

    splits: NDArray[np.str_]
    """Split of each track, shape (tracks,): train, valid, test or unused."""

    artists: NDArray[np.int32]
    """Number of each track's artist, shape (tracks,)."""

    frames: NDArray[np.int32] = field(default_factory=lambda: _empty(1))
    """Frames of each track without padding, shape (tracks,); default: all frames."""

    albums: NDArray[np.int32] = field(default_factory=lambda: _empty(1))
    """Number of each track's album, or of the recording that it is an excerpt of, shape (tracks,)."""

    groups: NDArray[np.int32] = field(default_factory=lambda: _empty(1))
    """Number that near-duplicates share, shape (tracks,)."""

    first_samples: NDArray[np.int32] = field(default_factory=lambda: _empty(2))
    """First sample of each frame in the audio, shape (tracks, frames); in a file it must be known, so (tracks, 0) is
    for memory only."""

    leaky: bool = False
    """Rows are segments of 3 s that were split at random: segments of one track are in several splits."""

    front_end: FrontEnd | None = None
    """Front end that computed the decibels, if the file names it."""

    def __post_init__(self) -> None:
        """Fill in the optional arrays."""
        tracks, frames = len(self.tracks), self.levels.shape[1]
        defaults = {
            "frames": np.full(tracks, frames, np.int32),
            "albums": np.full(tracks, UNKNOWN, np.int32),
            "groups": np.full(tracks, UNKNOWN, np.int32),
            "first_samples": np.empty((tracks, 0), np.int32),
        }
        for name, array in defaults.items():
            if len(getattr(self, name)) != tracks:
                object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.tracks)

    @property
    def labels(self) -> tuple[str, ...]:
        """Genres in alphabetical order."""
        return tuple(sorted({str(genre) for genre in self.genres}))

    def targets(self, labels: tuple[str, ...]) -> NDArray[np.intp]:
        """Index of each track's genre in `labels`, shape (tracks,)."""
        places = {label: place for place, label in enumerate(labels)}
        other = sorted({str(genre) for genre in self.genres} - places.keys())
        if other:
            raise ArchiveError(f"genre '{other[0]}' of the archive is not one of {', '.join(labels)}")
        return np.array([places[str(genre)] for genre in self.genres], np.intp)

    def log_mel(self, track: int) -> LogMel:
        """Decibels of one track without padding, shape (frames, mels)."""
        step = self.range_db[track] / np.float32(256.0)
        return self.floor_db[track] + (self.levels[track, : self.frames[track]] + np.float32(0.5)) * step

    def subset(self, split: str) -> Archive:
        """The tracks of one split."""
        chosen = self.splits == split
        if not chosen.any():
            known = ", ".join(sorted({str(name) for name in self.splits}))
            raise ArchiveError(f"no track of the archive is in split '{split}' (it has {known})")
        return self.chosen(chosen)

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Archive:
        """Some rows, by a mask or by their indices."""
        arrays = {each.name: getattr(self, each.name)[rows] for each in fields(self) if each.name not in _NOT_PER_ROW}
        return replace(self, **arrays)

    def windows(self, track: int, front_end: FrontEnd) -> LogMel:
        """Windows of a track, one every 3 s: decibels, shape (windows, front_end.frames, mels)."""
        log_mel = self.log_mel(track)
        starts = window_starts(len(log_mel), front_end)
        if not starts:
            message = f"track {self.tracks[track]} has {len(log_mel)} frames, a window needs {front_end.frames}"
            raise ArchiveError(message)
        return np.stack([log_mel[start : start + front_end.frames] for start in starts])


def window_starts(frames: int, front_end: FrontEnd) -> list[int]:
    """First frames of windows that start every 3 s and end within `frames`."""
    step = WINDOW_STEP_SECONDS * front_end.sample_rate / front_end.hop
    last = frames - front_end.frames
    starts = (round(place * step) for place in range(1 + int(last / step + 0.5)))
    return [start for start in starts if start <= last]


def count_windows(archive: Archive, front_end: FrontEnd) -> int:
    """Number of windows of all tracks."""
    return sum(len(window_starts(int(frames), front_end)) for frames in archive.frames)


def window_features(archive: Archive, front_end: FrontEnd) -> tuple[Features, NDArray[np.intp]]:
    """MFCCs of every window, shape (windows, frames, n_mfcc), and the track of each window, shape (windows,)."""
    features, tracks = [], []
    for track in range(len(archive)):
        windows = archive.windows(track, front_end)
        features.append(front_end.cepstra(windows))
        tracks.extend([track] * len(windows))
    return np.concatenate(features), np.array(tracks, np.intp)


_REQUIRED = {
    "levels": ("levels", np.uint8), "floor_db": ("floor_db", np.float32), "range_db": ("range_db", np.float32),
    "track": ("tracks", np.str_), "genre": ("genres", np.str_), "split": ("splits", np.str_),
    "artist": ("artists", np.int32), "first_sample": ("first_samples", np.int32),
}  # fmt: skip
_OPTIONAL = {"frames": ("frames", np.int32), "album": ("albums", np.int32), "group": ("groups", np.int32)}
_FIELDS = {name: field for name, (field, _) in (_REQUIRED | _OPTIONAL).items()}
"""Field of `Archive` by the name of the array in the file."""
_NOT_PER_ROW = frozenset({"leaky", "front_end"})
_MEL_FIELDS = ("sample_rate", "n_fft", "hop", "n_mels", "f_min", "f_max", "mel_scale", "mel_norm")
"""Fields of a front end that decibels depend on; the others act when features are computed from decibels."""


def read_archive(path: Path, front_end: FrontEnd) -> Archive:
    """Read a log-mel archive."""
    with open_npz(path, "a log-mel archive", ArchiveError) as arrays:
        kinds = _REQUIRED | {name: kind for name, kind in _OPTIONAL.items() if name in arrays}
        read = {name: np.asarray(arrays[name]).astype(kind, casting="same_kind") for name, (_, kind) in kinds.items()}
        leaky = "leaky" in arrays and bool(arrays["leaky"])
        source = msgspec.json.decode(str(arrays["front_end"]), type=FrontEnd) if "front_end" in arrays else None
    fault = next(chain(_front_end_faults(source, front_end), _shape_faults(read, front_end)), None)
    if fault is not None:
        raise ArchiveError(f"{path}: {fault}")
    return Archive(**{_FIELDS[name]: array for name, array in read.items()}, leaky=leaky, front_end=source)


_ANOTHER = "make an archive for this model: headnod-train import --front-end"


def _front_end_faults(source: FrontEnd | None, front_end: FrontEnd) -> Iterator[str]:
    for name in _MEL_FIELDS if source is not None else ():
        wanted, found = getattr(front_end, name), getattr(source, name)
        if wanted != found:
            yield (f"was computed by another front end: its {name} is {found}, the model's {wanted} ({_ANOTHER})")


def _shape_faults(read: dict[str, np.ndarray], front_end: FrontEnd) -> Iterator[str]:
    """What is wrong with the arrays. Only the first message is valid: later checks assume that earlier ones passed."""
    levels, limits = read["levels"], (read["floor_db"], read["range_db"])
    if levels.ndim != 3 or not len(levels):  # noqa: PLR2004
        yield f"levels has shape {levels.shape}, it must be (tracks, frames, mels)"
    for name, array in read.items():
        wanted = levels.shape[: {"levels": 3, "first_sample": 2}.get(name, 1)]
        if array.shape != wanted:
            yield f"{name} has shape {array.shape}, by the shape of levels it must be {wanted}"
    if not (np.isfinite(limits).all() and (read["range_db"] > 0).all()):
        yield "floor_db is not finite, or range_db is not finite and positive"
    frames, mels = levels.shape[1:]
    if mels != front_end.n_mels:
        yield f"has {mels} mel bands, the front end of the model computes {front_end.n_mels} ({_ANOTHER})"
    if frames < front_end.frames:
        yield f"tracks of {frames} frames are shorter than a window of {front_end.frames}"
    lengths = read.get("frames", np.full(len(levels), frames))
    wrong = np.flatnonzero((lengths < front_end.frames) | (lengths > frames))
    if wrong.size:
        yield (
            f"track {read['track'][wrong[0]]} has {lengths[wrong[0]]} frames, "
            f"it must have from {front_end.frames} (a window) to {frames}"
        )
    ends = read["first_sample"][:, [0, -1]]
    hop = float(np.diff(ends).mean()) / max(frames - 1, 1)
    if abs(hop - front_end.hop) > front_end.hop / 100:
        yield f"its frames are {hop:.0f} samples apart, those of the front end {front_end.hop}"


def write_archive(path: Path, archive: Archive, levels: Iterable[NDArray[np.uint8]]) -> None:
    """Write an archive row by row, so that only a few rows are in memory at a time.

    Equal archives give equal bytes: entries carry no date.

    Only the shape of `archive.levels` is used. The values come from `levels`, one array of shape (frames of the track,
    mels) for each track, which is padded with 0.

    Raises:
        StorageError: The file cannot be written.
    """
    with (
        replacing(path, "an archive that existed before is unchanged; make room and start again") as new,
        zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as file,
    ):
        for name, attribute in _FIELDS.items():
            array = getattr(archive, attribute)
            _write(file, name, array, _padded(levels, array.shape[1]) if name == "levels" else [array])
        if archive.front_end is not None:
            text = np.array(msgspec.json.encode(asdict(archive.front_end)).decode())
            _write(file, "front_end", text, [text])
        if archive.leaky:
            _write(file, "leaky", np.array(True), [np.array(True)])


def _write(file: zipfile.ZipFile, name: str, array: np.ndarray, parts: Iterable[np.ndarray]) -> None:
    entry = zipfile.ZipInfo(f"{name}.npy")
    entry.compress_type = zipfile.ZIP_DEFLATED
    head = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    with file.open(entry, "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_1_0(stream, head)
        for part in parts:
            stream.write(np.ascontiguousarray(part).tobytes())


def _padded(levels: Iterable[NDArray[np.uint8]], frames: int) -> Iterable[NDArray[np.uint8]]:
    for row in levels:
        yield np.pad(row, ((0, frames - len(row)), (0, 0)))
