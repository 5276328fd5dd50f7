"""Reads npz files that may be damaged or made to harm: bounded, no pickled objects, finite numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np


def read_arrays(content: bytes, wanted: Mapping[str, type[np.generic]], *, limit: int) -> dict[str, np.ndarray]:
    """Arrays of an npz file.

    Args:
        content: The file.
        wanted: Names and types of the arrays; others are ignored.
        limit: Most bytes of all arrays together, unpacked.

    Raises:
        ValueError: It is not an npz file, unpacks to more bytes, lacks an array, or holds a number that is not
            finite; the message says which.
    """
    import zipfile  # noqa: PLC0415 - 1 MB, which no running listener needs

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked <= limit:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                read = {name: np.asarray(arrays[name], kind) for name, kind in wanted.items()}
    except Exception as error:  # zipfile and numpy raise a dozen kinds for a damaged file
        message = f"cannot be read: {error}"
        raise ValueError(message) from error
    if unpacked > limit:
        message = f"unpacks to {unpacked} bytes, {limit} are allowed"
        raise ValueError(message)
    for name, array in read.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            message = f"{name}: holds a number that is not finite"
            raise ValueError(message)
    return read
