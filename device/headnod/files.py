"""Files that are there whole, or as they were before, also after a power cut.

Source: rename(2) replaces in one step; that the new name is on the disk, only an
fsync of its folder promises. Alone because several parts keep such files, and
because root and the service's own user write into the same folder.
"""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file, in a folder that is made if need be.

    Raises:
        OSError: It cannot be written; the old one is as it was.
    """
    make_folder(path.parent)
    new = path.with_name(f"{path.name}.new")
    write_synced(new, content)
    new.replace(path)
    sync_folder(path.parent)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has its content; its name comes with `sync_folder`."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    inherit_owner(path)


def make_folder(path: Path) -> None:
    """A folder, with its parents, that belongs to who owns the one above it."""
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
    """Let what root writes belong to the owner of its folder, who has to read it."""
    if os.geteuid() == 0:
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)
