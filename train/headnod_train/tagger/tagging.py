"""Tagging: tags of every track at regular times, from clean audio, as targets for a student network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.audio.audio_file import audio_file
from headnod.errors import AudioError
from headnod.features.frontend import LogMel
from headnod.features.windows import Window, windows
from headnod_train.console import print_line, progress_bar
from headnod_train.storage import open_npz, write_npz
from headnod_train.tagger.tagger_output import FRONT_END, TAGS, TaggerError, TaggerOutput

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
            message = (
                f"{self._path}: was made with --every {every:g} and inner layer {layer}, "
                f"not {self._every:g} and {self._layer} (name another --out, or remove it)"
            )
            raise TaggerError(message)
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

    Args:
        tracks: Audio files by the names of their tracks.
        teacher: The tagger.
        file: Output file; tracks that it has are left out.
        every: Seconds from the start of one window of 3 s to the next.
        layer: Inner layer that the file stores.
        stretches: Start and end of each track in its file, in seconds; default: the whole file.
        console: Shows progress and names unreadable files.
        clock: Monotonic clock in seconds.

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
        message = f"none of {len(tracks)} files could be tagged"
        raise TaggerError(message)
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
        message = f"{path}: is shorter than the 3 s that the tagger needs"
        raise AudioError(message)
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
