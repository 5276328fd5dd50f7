"""The file of a tagging: what was said of which track at which second.

It is the result and the memory of an interrupted run at once, always replaced
as a whole, so it can be read at any time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headnod_train.tagger.tag_names import TAGS
from headnod_train.tagger.tagger_error import TaggerError

Inner = Literal["none", "dense", "mean"]
"""Which inner layer is kept beside the tags."""


class TagFile:
    """Answers that grow track by track.

    tags   float16 (windows, 50)   how likely each tag is, 0-1
    track  str     (windows,)      name of the track
    time   float32 (windows,)      where in the track the 3 s start, in seconds
    names  str     (50,)           the tags
    every  float32 ()              seconds from one window to the next
    layer  str     ()              which inner layer: none, dense or mean
    inner  float16 (windows, size) that layer: 200 numbers if dense, 753 if mean
    """

    def __init__(self, path: Path, *, every: float, layer: Inner) -> None:
        """Go on with what the file holds, if it is there.

        Raises:
            TaggerError: The file was made with other settings or is no such file.
        """
        self._path, self._every, self._layer = path, np.float32(every), layer
        self._rows: dict[str, list[NDArray[np.generic]]] = {"tags": [], "track": [], "time": []}
        if layer != "none":
            self._rows["inner"] = []
        self.tracks: set[str] = set()
        self._unsaved = False
        if path.exists():
            self._go_on()

    def __len__(self) -> int:
        """Windows."""
        return sum(len(rows) for rows in self._rows["time"])

    def add(
        self, track: str, times: NDArray[np.float32], tags: NDArray[np.float32], inner: NDArray[np.float32]
    ) -> None:
        """All windows of one track."""
        self._rows["track"].append(np.full(len(times), track))
        self._rows["time"].append(times)
        self._rows["tags"].append(tags.astype(np.float16))
        if "inner" in self._rows:
            self._rows["inner"].append(inner.astype(np.float16))
        self.tracks.add(track)
        self._unsaved = True

    def save(self) -> None:
        """Replace the file, if there is anything new.

        Raises:
            TaggerError: It cannot be written; the former file stays.
        """
        if not self._unsaved:
            return
        self._rows = {name: [np.concatenate(rows)] for name, rows in self._rows.items()}
        arrays: dict[str, Any] = {name: rows for name, (rows,) in self._rows.items()}
        arrays |= {"names": np.array(TAGS), "every": self._every, "layer": np.array(self._layer)}
        unfinished = self._path.with_name(f"{self._path.name}.unfinished")
        try:
            with unfinished.open("wb") as file:
                np.savez(file, **arrays)
            unfinished.replace(self._path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            message = f"{self._path}: cannot be written: {(error.strerror or str(error)).lower()}"
            raise TaggerError(message) from error
        self._unsaved = False

    def _go_on(self) -> None:
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                every, layer = float(arrays["every"]), str(arrays["layer"])
                rows = {name: arrays[name] for name in self._rows if name in arrays}
        except OSError as error:
            message = f"{self._path}: {(error.strerror or str(error)).lower()}"
            raise TaggerError(message) from error
        except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for a damaged file
            message = f"{self._path}: holds no answers of a tagger, or is damaged (name another --out, or remove it)"
            raise TaggerError(message) from error
        if (np.float32(every), layer) != (self._every, self._layer):
            message = (
                f"{self._path}: was made with --every {every:g} and inner layer {layer}, "
                f"not {self._every:g} and {self._layer} (name another --out, or remove it)"
            )
            raise TaggerError(message)
        self._rows = {name: [array] for name, array in rows.items()}
        self.tracks = {str(name) for name in np.unique(rows["track"])}
