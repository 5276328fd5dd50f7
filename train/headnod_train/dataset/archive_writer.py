"""An archive on disk, row by row: the same tracks give the same bytes.

Alone because no more than a few rows are ever in memory, however many tracks
there are; reading is `headnod_train.dataset.archive`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod_train.dataset.archive import ARRAYS, Archive
from headnod_train.dataset.work_folder import writing


def write_archive(path: Path, archive: Archive, levels: Iterable[NDArray[np.uint8]]) -> None:
    """Write an archive; what stood there is replaced once the new one is whole.

    Args:
        path: The file.
        archive: All but the levels, of which only the shape is used.
        levels: Each row of them, shape (its frames, mels), padded here with 0.

    Raises:
        DiskError: The disk is full, or refuses.
    """
    unfinished = path.with_name(f".{path.name}.part")
    with writing(unfinished, "the archive that was there, if any, is as it was; make room and start again"):
        # Without a date, and entries without one too: the same tracks, the same bytes.
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as file:
            for name, field in ARRAYS.items():
                array = getattr(archive, field)
                _write(file, name, array, _padded(levels, array.shape[1]) if name == "levels" else [array])
            if archive.front_end is not None:
                said = np.array(msgspec.json.encode(asdict(archive.front_end)).decode())
                _write(file, "front_end", said, [said])
            if archive.leaky:
                _write(file, "leaky", np.array(True), [np.array(True)])
        unfinished.replace(path)


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
