"""Files that are replaced as a whole, and npz files that may be damaged or made to harm.

After a power cut either the old or the new content is there: rename(2) replaces a file in one step, and an fsync of
the folder makes the new name durable.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file; its folder is created if absent.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    _check_replaceable(path)
    make_folder(path.parent)
    new = path.with_name(f"{path.name}.new")
    # Another process may write the same file.
    with exclusive(path.parent):
        write_synced(new, content)
        new.replace(path)
    sync_folder(path.parent)


def _check_replaceable(path: Path) -> None:
    """Refuse folders, and what a rename would destroy: devices, pipes, and links to open files such as /dev/stdout."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if (path.exists() and not path.is_file()) or (path.is_symlink() and str(path.readlink()).startswith("/proc/")):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder; other threads and processes wait for it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has its content; `sync_folder` makes its name durable."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    inherit_owner(path)


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each owned by the owner of the folder above it."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with not_a_folder(path):
        path.mkdir(exist_ok=True)
    inherit_owner(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def not_a_folder(path: Path) -> Iterator[None]:
    """Raise NotADirectoryError in place of `File exists` where a file has the name of a folder."""
    try:
        yield
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def inherit_owner(path: Path) -> None:
    """Give what root writes to the owner of its folder: root and the service's user write into the same folder."""
    if os.geteuid() == 0:
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)


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

    import numpy as np  # noqa: PLC0415 - the process of the page opens databases, and has no numpy

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked <= limit:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                read = {name: np.asarray(arrays[name], kind) for name, kind in wanted.items()}
    except Exception as error:  # zipfile and numpy raise a dozen kinds for a damaged file
        raise ValueError(f"cannot be read: {error}") from error
    if unpacked > limit:
        raise ValueError(f"unpacks to {unpacked} bytes, {limit} are allowed")
    for name, array in read.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name}: holds a number that is not finite")
    return read
