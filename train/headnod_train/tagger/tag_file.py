"""The npz file of tags: probabilities by track and second.

The file is both the result and the state of an interrupted run, and is replaced atomically.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headnod_train.storage import open_npz, write_npz
from headnod_train.tagger.tagger_output import TAGS, TaggerError

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
