"""Files that training writes and reads: replaced atomically, in npz or JSON.

`headnod.files` writes small files of the device the same way; archives and
training states are too large to be built in memory first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.lib.npyio import NpzFile

from headnod.errors import HeadnodError


class StorageError(HeadnodError, OSError):
    """A file cannot be written, or disappeared."""


@contextlib.contextmanager
def replacing(path: Path, advice: str) -> Iterator[Path]:
    """Give the path of a new file that replaces `path` when the body ends and is deleted when the body raises.

    The folder of the file is created. The advice is the end of the error message: what is kept and what the user can
    do.
    """
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except HeadnodError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error} ({advice})") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


def write_file(path: Path, content: bytes) -> None:
    """Replace a file (see `replacing`)."""
    with replacing(path, "the old file is unchanged") as new:
        new.write_bytes(content)


def write_json(path: Path, content: msgspec.Struct) -> None:
    """Replace a file by a struct as indented JSON, for people and programs."""
    write_file(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def write_npz(path: Path, arrays: Mapping[str, Any], advice: str = "the old file is unchanged") -> None:
    """Replace an npz file (see `replacing`)."""
    with replacing(path, advice) as new, new.open("wb") as file:
        np.savez(file, **arrays)


@contextlib.contextmanager
def open_npz(path: Path, kind: str, error: type[HeadnodError]) -> Iterator[NpzFile]:
    """Open an npz file without pickled objects.

    `kind` is what the file should be, such as "a log-mel archive". The error is raised, with the path, for a file that
    is absent, damaged, or lacks an array that the body reads.
    """
    try:
        # numpy leaves a damaged file open if it opens the file itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield arrays
    except HeadnodError:
        raise
    except OSError as reason:
        raise error(f"{path}: {reason.strerror or reason}") from reason
    except Exception as reason:  # zipfile, zlib and numpy raise a dozen types for a damaged file
        # numpy takes a file that is no npz for pickled objects, and advises to load those.
        cause = "it is no npz file" if "pickle" in str(reason) else reason
        raise error(f"{path}: is not {kind}, or is damaged: {cause}") from reason
