"""Tagging: tags of every track at regular times, from clean audio, as targets for a student network."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.audio.audio_file import audio_file
from headnod.errors import AudioError, HeadnodError
from headnod.features.frontend import Features, FrontEnd, LogMel
from headnod.features.windows import Window, windows
from headnod_train.console import print_line, progress_bar
from headnod_train.dataset.folder_layouts import file_of, read_spreadsheet
from headnod_train.dataset.tracks import AUDIO, find_files
from headnod_train.storage import open_npz, write_npz

TAGS: tuple[str, ...] = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock", "jazz",
    "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow", "electronica",
    "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip
"""The 50 most frequent last.fm tags of the Million Song Dataset, in the order of the tagger's outputs."""

FRONT_END = FrontEnd(
    sample_rate=16_000, n_fft=512, hop=256, frames=187, n_mels=96, f_max=8_000.0, n_mfcc=1, floor_db=-300.0
)
"""The device's log-mel with the tagger's parameters."""


class TaggerError(HeadnodError, ValueError):
    """The tagger's weights, its input or its output file cannot be used."""


def loudness(log_mel: LogMel) -> Features:
    """Input of the network as in its training: log10(10000 x + 1) of mel power, from decibels, shape (..., 96)."""
    return np.log10(1.0 + 10.0 ** (np.asarray(log_mel, np.float64) / 10.0 + 4.0)).astype(np.float32)


@dataclass(frozen=True)
class TaggerOutput:
    """Outputs of the tagger for windows of 3 s."""

    tags: NDArray[np.float32]
    """Probability of each tag (0-1), shape (windows, 50)."""

    dense: NDArray[np.float32]
    """The layer before the tags, shape (windows, 200)."""

    mean: NDArray[np.float32]
    """All convolutions averaged over time, shape (windows, 753)."""


def sources(place: Path, *, only: Collection[str] | None = None) -> dict[str, Path]:
    """Audio files by the names of their tracks.

    A track of a folder has the name of its file without suffix, with its folders only if two files share a name.

    Args:
        place: An audio file, a folder, or a CSV file with a column `path` (relative to the CSV) and optionally `track`.
        only: Tracks of an archive to keep. A file matches by its path, with or without suffix, or by its name alone.

    Raises:
        TaggerError: There is no audio, or the CSV is malformed.
        CollectionError: The CSV cannot be read.
    """
    if place.is_dir():
        found = _in_folder(place, only)
    elif place.suffix.lower() == ".csv":
        found = _in_list(place, only)
    else:
        found = {place.stem: place} if only is None or place.stem in only else {}
    if not found:
        wanted = "no track of the archive" if only is not None else f"no audio ({', '.join(sorted(AUDIO))})"
        raise TaggerError(f"{place}: contains {wanted}")
    return found


def _in_folder(folder: Path, only: Collection[str] | None) -> dict[str, Path]:
    paths = find_files(folder).music
    shared = Counter(path.stem for path in paths)
    found = {}
    for path in paths:
        long = path.relative_to(folder)
        if only is None:
            found[path.stem if shared[path.stem] == 1 else long.with_suffix("").as_posix()] = path
        elif name := _known(long, only):
            found[name] = path
    return found


def _known(path: Path, only: Collection[str]) -> str | None:
    called = (path.as_posix(), path.with_suffix("").as_posix(), path.stem)
    return next((name for name in called if name in only), None)


def _in_list(table: Path, only: Collection[str] | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        sheet = read_spreadsheet(table)
        if "path" not in sheet.header:
            columns = ", ".join(sheet.header) or "nothing"
            raise TaggerError(f"{table}: has no column 'path' (its first line has {columns})")
        for line, fields in sheet.rows:
            row = dict(zip(sheet.header, fields, strict=False))
            written, path = file_of(table, line, row["path"])
            name = row.get("track") or path.stem
            if only is not None and name not in only:
                name = _known(Path(written), only) or ""
            if row["path"] and not name:
                continue
            if not row["path"] or name in found:
                problem = f"track '{name}' is there twice" if row["path"] else "path is empty"
                raise TaggerError(f"{table}: line {line}: {problem}")
            found[name] = path
    except OSError as error:
        raise TaggerError(f"{table}: {(error.strerror or str(error)).lower()}") from error
    return found


Inner = Literal["none", "dense", "mean"]
"""Inner layer that is stored beside the tags."""


class TagFile:
    """Tags that are added track by track.

    tags   float16 (windows, 50)   probability of each tag, 0-1
    track  str     (windows,)      name of the track
    time   float32 (windows,)      start of the 3 s in the track, in seconds
    names  str     (50,)           the tags
    every  float32 ()              seconds from one window to the next
    layer  str     ()              inner layer: none, dense or mean
    inner  float16 (windows, size) that layer: 200 numbers if dense, 753 if mean
    """

    def __init__(self, path: Path, *, every: float, layer: Inner) -> None:
        """Continue the file if it exists.

        Raises:
            TaggerError: The file was made with other settings or is malformed.
        """
        self._path, self._every, self._layer = path, np.float32(every), layer
        self._rows: dict[str, list[NDArray[np.generic]]] = {"tags": [], "track": [], "time": []}
        if layer != "none":
            self._rows["inner"] = []
        self.tracks: set[str] = set()
        self._unsaved = False
        if path.exists():
            self._read()

    def __len__(self) -> int:
        """Number of windows."""
        return sum(len(rows) for rows in self._rows["time"])

    def add(
        self, track: str, times: NDArray[np.float32], tags: NDArray[np.float32], inner: NDArray[np.float32]
    ) -> None:
        """Add all windows of one track."""
        self._rows["track"].append(np.full(len(times), track))
        self._rows["time"].append(times)
        self._rows["tags"].append(tags.astype(np.float16))
        if "inner" in self._rows:
            self._rows["inner"].append(inner.astype(np.float16))
        self.tracks.add(track)
        self._unsaved = True

    def save(self) -> None:
        """Replace the file if tracks were added.

        Raises:
            StorageError: It cannot be written; the old file is unchanged.
        """
        if not self._unsaved:
            return
        self._rows = {name: [np.concatenate(rows)] for name, rows in self._rows.items()}
        arrays: dict[str, Any] = {name: rows for name, (rows,) in self._rows.items()}
        arrays |= {"names": np.array(TAGS), "every": self._every, "layer": np.array(self._layer)}
        write_npz(self._path, arrays)
        self._unsaved = False

    def _read(self) -> None:
        kind = "a file of tags (name another --out, or remove it)"
        with open_npz(self._path, kind, TaggerError) as arrays:
            every, layer = float(arrays["every"]), str(arrays["layer"])
            rows = {name: arrays[name] for name in self._rows if name in arrays}
        if (np.float32(every), layer) != (self._every, self._layer):
            raise TaggerError(
                f"{self._path}: was made with --every {every:g} and inner layer {layer}, "
                f"not {self._every:g} and {self._layer} (name another --out, or remove it)"
            )
        self._rows = {name: [array] for name, array in rows.items()}
        self.tracks = {str(name) for name in np.unique(rows["track"])}


SAVED_EVERY = 60.0
"""Seconds between writes of the file, and the most that an interruption loses."""
_BATCH = 8


class TagModel(Protocol):
    """A model with the outputs of the tagger."""

    def predict(self, log_mel: LogMel) -> TaggerOutput:
        """Outputs for windows in decibels, shape (windows, 187, 96)."""


@dataclass
class TaggingResult:
    """Numbers of tracks."""

    tagged: int = 0
    kept: int = 0
    """Tagged by an earlier run."""

    refused: dict[str, str] = field(default_factory=dict)
    """Tracks that cannot be read, with the reason."""


def tag(
    tracks: Mapping[str, Path],
    teacher: TagModel,
    file: TagFile,
    *,
    every: float,
    layer: str,
    stretches: Mapping[str, tuple[float, float]] | None = None,
    console: Console,
    clock: Callable[[], float] = time.monotonic,
) -> TaggingResult:
    """Tag tracks; finished tracks are kept even if it is interrupted.

    Raises:
        TaggerError: No track could be tagged.
        StorageError: The file cannot be written.
    """
    result = TaggingResult(kept=len(tracks.keys() & file.tracks))
    fresh = {name: path for name, path in tracks.items() if name not in file.tracks}
    saved = clock()
    with progress_bar(console, transient=True) as progress:
        task = progress.add_task("tagging", total=len(fresh))
        try:
            for name, path in fresh.items():
                progress.update(task, description=name)
                stretch = (stretches or {}).get(name, (0.0, math.inf))
                try:
                    times, output = _tag_file(path, teacher, every, stretch)
                except AudioError as error:
                    result.refused[name] = str(error)
                    print_line(console, str(error))
                else:
                    file.add(name, times, output.tags, output.mean if layer == "mean" else output.dense)
                    result.tagged += 1
                progress.advance(task)
                if clock() - saved >= SAVED_EVERY:
                    file.save()
                    saved = clock()
                    if not console.is_terminal:
                        console.print(f"{result.tagged} of {len(fresh)} tracks tagged", highlight=False)
        finally:
            file.save()
    if not result.tagged and not result.kept:
        raise TaggerError(f"none of {len(tracks)} files could be tagged")
    return result


def _tag_file(
    path: Path, teacher: TagModel, every: float, stretch: tuple[float, float]
) -> tuple[NDArray[np.float32], TaggerOutput]:
    times: list[float] = []
    outputs: list[TaggerOutput] = []
    with audio_file(path, FRONT_END.sample_rate) as blocks:
        stream = _windows(_between(blocks, *stretch), every)
        while some := list(islice(stream, _BATCH)):
            times += [start for start, _ in some]
            outputs.append(teacher.predict(np.stack([log_mel for _, log_mel in some])))
    if not outputs:
        raise AudioError(f"{path}: is shorter than the 3 s that the tagger needs")
    layers = zip(*((each.tags, each.dense, each.mean) for each in outputs), strict=True)
    return np.array(times, np.float32), TaggerOutput(*(np.concatenate(parts) for parts in layers))


def _between(blocks: Iterable[NDArray[np.float32]], since: float, until: float) -> Iterator[NDArray[np.float32]]:
    """The part of a stream between two times in seconds."""
    first, last = since * FRONT_END.sample_rate, until * FRONT_END.sample_rate
    place = 0
    for block in blocks:
        yield block[int(max(first - place, 0)) : int(min(max(last - place, 0), block.size))]
        place += block.size
        if place >= last:
            return


def _windows(blocks: Iterator[NDArray[np.float32]], every: float) -> Iterator[tuple[float, LogMel]]:
    # The tagger was trained on centred frames: half a frame of silence on each side.
    edge = [np.zeros(FRONT_END.n_fft // 2, np.float32)]
    apart = round(every * FRONT_END.sample_rate)
    for window in windows(chain(edge, blocks, edge), FRONT_END.window_samples, apart):
        if isinstance(window, Window):
            yield window.start / FRONT_END.sample_rate, FRONT_END.log_mel(window.samples)
