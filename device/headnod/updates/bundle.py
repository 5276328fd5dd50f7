r"""A bundle in one file, as it is copied and sent by MQTT, or in a folder; and its signature.

    headnod-bundle-1\n
    manifest.json  manifest.sig  model.tflite  golden.npz  CARD.md

each as its length (32 bits, little-endian) and its content, in this order, and nothing after. The file has no names and
no paths, so an attacker can choose none. All of this is read before the signature is verified: ed25519 (RFC 8032) over
the exact bytes of the manifest, which holds every other file's hash.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from headnod.errors import BundleError, ConfigError, MissingExtraError
from headnod.inference.manifest import CARD, GOLDEN, MANIFEST, MODEL, SIGNATURE
from headnod.system import how_to_install

MAGIC = b"headnod-bundle-1\n"
SUFFIX = ".bundle"
"""Suffix of the file name."""

LIMITS = {MANIFEST: 1 << 20, SIGNATURE: 64, MODEL: 16 << 20, GOLDEN: 1 << 20, CARD: 1 << 20}
"""Maximum size of each file in bytes, in the order of the files."""

LARGEST = len(MAGIC) + sum(4 + limit for limit in LIMITS.values())
"""Maximum size of a bundle in bytes."""

Files = Mapping[str, bytes]
"""The files of a bundle by name; an unsigned bundle has no `manifest.sig`."""

_LENGTH = struct.Struct("<I")

_KIND = "ed25519:"

_BYTES = 32


def join(files: Files) -> bytes:
    """Join files to one bundle; a missing signature is written as an empty one."""
    pieces = [files.get(name, b"") if name == SIGNATURE else files[name] for name in LIMITS]
    return MAGIC + b"".join(_LENGTH.pack(len(piece)) + piece for piece in pieces)


def split(content: bytes) -> dict[str, bytes]:
    """Split a bundle into its files.

    Raises:
        BundleError: It is not a bundle, is cut off, or a file is too large.
    """
    if not content.startswith(MAGIC):
        raise BundleError(f"is not a headnod bundle: it begins with {ascii(content[:16])[1:]}")
    files, place = {}, len(MAGIC)
    for name, limit in LIMITS.items():
        head = content[place : place + _LENGTH.size]
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
        place += _LENGTH.size
        if not 0 <= length <= limit:
            fault = "is missing" if length < 0 else f"has {length} bytes, {limit} are allowed"
            raise BundleError(f"{name}: {fault} (the bundle is damaged)")
        files[name] = content[place : place + length]
        place += length
    if place != len(content):
        missing = place - len(content)
        fault = f"{missing} bytes are missing" if missing > 0 else f"{-missing} bytes follow its end"
        raise BundleError(f"{fault} (the bundle is damaged: copy it again)")
    if not files[SIGNATURE]:
        del files[SIGNATURE]
    return files


def read(path: Path) -> dict[str, bytes]:
    """Read the files of a bundle from its folder or from one file.

    Raises:
        BundleError: It cannot be read, or is not a bundle.
    """
    if path.is_dir():
        return _read_folder(path)
    try:
        return split(_read_plain(path, LARGEST, follow=True))
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _read_folder(folder: Path) -> dict[str, bytes]:
    found = {entry.name for entry in os.scandir(folder)}
    for odd in sorted(found - LIMITS.keys()):
        raise BundleError(f"{folder}: '{odd[:40]}' is not a file of a bundle (its files are {', '.join(LIMITS)})")
    for name in LIMITS.keys() - found - {SIGNATURE}:
        raise BundleError(f"{folder}: {name} is missing (a bundle is a folder with {', '.join(LIMITS)})")
    return {name: _read_named(folder / name, limit) for name, limit in LIMITS.items() if name in found}


def _read_named(path: Path, limit: int) -> bytes:
    try:
        return _read_plain(path, limit, follow=False)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _read_plain(path: Path, limit: int, *, follow: bool) -> bytes:
    # Non-blocking: opening a pipe would wait for its writer.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        opened = os.open(path, flags)
    except OSError as error:
        fault = "is a link (a bundle has none)" if path.is_symlink() else (error.strerror or str(error)).lower()
        raise BundleError(fault) from error
    with open(opened, "rb") as file:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise BundleError("is not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise BundleError(f"is larger than {limit} bytes (this is not a headnod bundle)")
    return content


def verify(manifest: bytes, signature: bytes | None, keys: Sequence[str]) -> None:
    """Verify the signature of a manifest.

    The manifest has the exact bytes of the file; the signature has 64 bytes, and is None if the bundle is not signed. A
    signature by one of the keys, as `headnod-train keygen` writes them, is enough.

    Raises:
        BundleError: The signature is missing, or is not one of these keys for this manifest.
        ConfigError: A key is malformed.
        MissingExtraError: PyNaCl is not installed.
    """
    trusted = [decoded_key(key) for key in keys]
    if signature is None:
        raise BundleError("is not signed (sign it with 'headnod-train sign')")
    try:
        from nacl.exceptions import BadSignatureError  # noqa: PLC0415 - needed for a new model only
        from nacl.signing import VerifyKey  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError(f"a signature cannot be verified without PyNaCl: {how_to_install('device')}") from None
    for key in trusted:
        try:
            VerifyKey(key).verify(manifest, signature)
        except (BadSignatureError, ValueError):
            # ValueError: it has another length than 64 bytes.
            continue
        return
    raise BundleError(
        f"its signature is by none of the {len(keys)} keys in model.keys (or it was changed after signing)"
    )


def decoded_key(key: str) -> bytes:
    """The 32 bytes of a public key.

    Raises:
        ConfigError: It is malformed.
    """
    try:
        content = base64.b64decode(key.removeprefix(_KIND), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not key.startswith(_KIND) or len(content) != _BYTES:
        raise ConfigError(
            f"model.keys: '{key[:60]}' is not a public key (copy the line that 'headnod-train keygen' printed)"
        )
    return content


def encoded_key(key: bytes) -> str:
    """The 32 bytes of a public key as a line for people and configurations."""
    return _KIND + base64.b64encode(key).decode()
