"""Files that are replaced as a whole: after a power cut either the old or the new content is there.

rename(2) replaces a file in one step; an fsync of the folder makes the new name durable.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file; its folder is created if absent.

    Raises:
        OSError: It cannot be written; the old file is unchanged.
    """
    make_folder(path.parent)
    new = path.with_name(f"{path.name}.new")
    write_synced(new, content)
    new.replace(path)
    sync_folder(path.parent)


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
    path.mkdir(exist_ok=True)
    inherit_owner(path)
    sync_folder(path.parent)


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
