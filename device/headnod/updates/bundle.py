r"""A bundle in one file, as it is copied and sent by MQTT.

    headnod-bundle-1\n
    manifest.json  manifest.sig  model.tflite  golden.npz  CARD.md

each as its length (four bytes, the least first) and its content, in this order,
and nothing after. There is no name and no path in it, so none can be taken from
it. Alone because this is read before anything is verified.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

from headnod.errors import BundleError
from headnod.inference.manifest import CARD, GOLDEN, MANIFEST, MODEL, SIGNATURE

MAGIC = b"headnod-bundle-1\n"
SUFFIX = ".bundle"
"""What the file is called after."""

LIMITS = {MANIFEST: 1 << 20, SIGNATURE: 64, MODEL: 16 << 20, GOLDEN: 1 << 20, CARD: 1 << 20}
"""Bytes that each file may have, in the order in which they stand."""

LARGEST = len(MAGIC) + sum(4 + limit for limit in LIMITS.values())
"""Bytes that the whole may have."""

Files = Mapping[str, bytes]
"""The files of a bundle by name; without `manifest.sig` it is not signed."""

_LENGTH = struct.Struct("<I")


def join(files: Files) -> bytes:
    """A bundle in one piece; a missing signature is an empty one."""
    pieces = [files.get(name, b"") if name == SIGNATURE else files[name] for name in LIMITS]
    return MAGIC + b"".join(_LENGTH.pack(len(piece)) + piece for piece in pieces)


def split(content: bytes) -> dict[str, bytes]:
    """The files of a bundle in one piece.

    Raises:
        BundleError: It is none, is cut off, or has too much of anything.
    """
    if not content.startswith(MAGIC):
        message = f"is no headnod bundle: it begins with {ascii(content[:16])[1:]}"
        raise BundleError(message)
    files, place = {}, len(MAGIC)
    for name, limit in LIMITS.items():
        head = content[place : place + _LENGTH.size]
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
        place += _LENGTH.size
        if not 0 <= length <= limit:
            fault = "is missing" if length < 0 else f"has {length} bytes, {limit} are allowed"
            message = f"{name}: {fault} (the bundle is damaged)"
            raise BundleError(message)
        files[name] = content[place : place + length]
        place += length
    if place != len(content):
        missing = place - len(content)
        fault = f"{missing} bytes are missing" if missing > 0 else f"{-missing} bytes stand after its end"
        message = f"{fault} (the bundle is damaged: copy it again)"
        raise BundleError(message)
    if not files[SIGNATURE]:
        del files[SIGNATURE]
    return files


def read(path: Path) -> dict[str, bytes]:
    """The files of a bundle, from its folder or from one file.

    Raises:
        BundleError: It cannot be read, or is no bundle.
    """
    if path.is_dir():
        return _read_folder(path)
    try:
        return split(_read_plain(path, LARGEST, follow=True))
    except BundleError as error:
        message = f"{path}: {error}"
        raise BundleError(message) from error


def _read_folder(folder: Path) -> dict[str, bytes]:
    found = {entry.name for entry in os.scandir(folder)}
    for odd in sorted(found - LIMITS.keys()):
        message = f"{folder}: '{odd[:40]}' is no file of a bundle (there is {', '.join(LIMITS)})"
        raise BundleError(message)
    for name in LIMITS.keys() - found - {SIGNATURE}:
        message = f"{folder}: {name} is missing (a bundle is a folder with {', '.join(LIMITS)})"
        raise BundleError(message)
    return {name: _read_named(folder / name, limit) for name, limit in LIMITS.items() if name in found}


def _read_named(path: Path, limit: int) -> bytes:
    try:
        return _read_plain(path, limit, follow=False)
    except BundleError as error:
        message = f"{path}: {error}"
        raise BundleError(message) from error


def _read_plain(path: Path, limit: int, *, follow: bool) -> bytes:
    # Not blocking, so that a pipe in its place is refused and not waited for.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        opened = os.open(path, flags)
    except OSError as error:
        fault = "is a link, which no bundle has" if path.is_symlink() else (error.strerror or str(error)).lower()
        raise BundleError(fault) from error
    with open(opened, "rb") as file:  # noqa: PTH123 - it is open already
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise BundleError("is no plain file")
        content = file.read(limit + 1)
    if len(content) > limit:
        message = f"is larger than {limit} bytes (this is no headnod bundle)"
        raise BundleError(message)
    return content
