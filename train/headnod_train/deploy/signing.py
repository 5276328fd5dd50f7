"""Signing: a bundle's folder becomes one signed file that listeners accept.

The folder is unchanged. The file has the manifest with a new serial and the signature. The private key is ed25519
(RFC 8032) in a PKCS#8 file (RFC 5958).
"""

from __future__ import annotations

import getpass
import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headnod.errors import BundleError, HeadnodError
from headnod.files import write_atomically
from headnod.inference.manifest import MANIFEST, SIGNATURE, Health, Manifest, manifest_bytes, parse_manifest
from headnod.inference.model import GenreModel, load_checked
from headnod.updates.bundle import SUFFIX, encoded_key, join, read, verify

_LEAST = 8


def new_passphrase(ask: Callable[[str], str] = getpass.getpass) -> bytes:
    """A passphrase that was typed twice."""
    _at_a_terminal(ask)
    first = ask("passphrase: ")
    if len(first) < _LEAST:
        raise KeyFileError(f"a passphrase must have at least {_LEAST} characters")
    if ask("again: ") != first:
        raise KeyFileError("the passphrases differ")
    return first.encode()


def passphrase_from(path: Path | None, ask: Callable[[str], str] = getpass.getpass) -> bytes:
    """A passphrase from the first line of a file, or from the terminal."""
    if path is None:
        _at_a_terminal(ask)
        return ask("passphrase: ").encode()
    try:
        return path.read_bytes().partition(b"\n")[0].removesuffix(b"\r")
    except OSError as error:
        raise KeyFileError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def _at_a_terminal(ask: Callable[[str], str]) -> None:
    if ask is getpass.getpass and not sys.stdin.isatty():
        raise KeyFileError("there is no terminal to ask for the passphrase (name a file with --passphrase-file)")


Passphrase = Callable[[], bytes]
"""Asks for the passphrase of a key."""

_LARGEST = 1 << 14


class KeyFileError(HeadnodError, OSError):
    """A key cannot be made, read or used."""


def generate(path: Path, passphrase: bytes | None) -> str:
    """Make a key: its private half in a file that only its owner reads, its public half beside it.

    The private file must not exist; the other is called `<path>.pub`. Without a passphrase it is not encrypted.

    Returns:
        The public key, as `model.keys` takes it.

    Raises:
        KeyFileError: A file is there already, or cannot be written.
    """
    beside = path.with_name(f"{path.name}.pub")
    if beside.exists():
        raise _taken(beside)
    key = Ed25519PrivateKey.generate()
    sealed: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        sealed = serialization.BestAvailableEncryption(passphrase)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
    public = public_line(key)
    _write(path, private, mode=0o600)
    _write(beside, f"{public}\n".encode(), mode=0o644)
    return public


def load(path: Path, passphrase: Passphrase) -> Ed25519PrivateKey:
    """The key of a file.

    The passphrase is asked only if the file is encrypted.
    """
    try:
        with path.open("rb") as file:
            open_to = os.fstat(file.fileno()).st_mode & 0o077
            content = file.read(_LARGEST)
    except OSError as error:
        message = f"{path}: {(error.strerror or str(error)).lower()} (make a key with 'headnod-train keygen')"
        raise KeyFileError(message) from error
    if open_to:
        raise KeyFileError(f"{path}: others may read it (chmod 600 {path})")
    try:
        key = serialization.load_pem_private_key(content, passphrase() if b"ENCRYPTED" in content else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path}: is not a readable key (is the passphrase right?)") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: is not an ed25519 key (make one with 'headnod-train keygen')")
    return key


def public_line(key: Ed25519PrivateKey) -> str:
    """The public half, as `model.keys` takes it."""
    return encoded_key(key.public_key().public_bytes_raw())


def _write(path: Path, content: bytes, *, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(opened, "wb") as file:  # noqa: PTH123 - it is open already
            os.fchmod(opened, mode)
            file.write(content)
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        raise KeyFileError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def _taken(path: Path) -> KeyFileError:
    return KeyFileError(f"{path}: exists already, and a lost key cannot be recovered (choose another --key)")


class Signed(msgspec.Struct, frozen=True):
    """A signed bundle."""

    path: Path
    """The file."""

    content: bytes
    """Content of the file."""

    manifest: Manifest
    """Manifest of the bundle."""

    digest: str
    """SHA-256 of its manifest."""


def sign(
    folder: Path,
    key: Ed25519PrivateKey,
    *,
    out: Path | None = None,
    anew: bool = False,
    supersede: int = 0,
    health: Callable[[GenreModel], Health] | None = None,
    now: Callable[[], float] = time.time,
) -> Signed:
    """Sign a bundle, or return the signed file if nothing has changed since.

    Args:
        folder: The bundle; its golden windows are verified first.
        key: Private key.
        out: The file; None puts it beside the folder.
        anew: Use a new serial in any case, so that listeners accept an old model again.
        supersede: A serial to declare void, which was made while the clock was ahead: listeners with that serial
            accept this bundle, although its own serial is smaller.
        health: Measures the bounds of the entropy; None keeps those of the manifest.
        now: Wall clock in seconds since 1970, which gives the serial.

    Raises:
        ManifestError: The bundle fails its self-test.
        BundleError: The folder is not a bundle, or the serial to supersede is not in the future.
        OSError: The file cannot be written.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: is not the folder of a bundle (sign the folder, not a file)")
    model = load_checked(folder)
    files = read(folder)
    plain = parse_manifest(files[MANIFEST], folder / MANIFEST)
    place = out or folder.with_name(f"{folder.name}{SUFFIX}")
    former = _former(place, key)
    same = former is not None and _plain(former.manifest) == _plain(plain)
    if former is not None and same and not anew and not supersede and (former.manifest.health or health is None):
        return former
    if health is not None:
        plain = msgspec.structs.replace(plain, health=health(model))
    elif former is not None and same:
        plain = msgspec.structs.replace(plain, health=former.manifest.health)
    before = [plain.serial, former.manifest.serial if former is not None else 0]
    serial = max(int(now()), *(each + 1 for each in before if not supersede or each < supersede))
    if supersede and serial >= supersede:
        message = f"--supersede {supersede}: is not greater than the new serial, {serial} (sign without that option)"
        raise BundleError(message)
    manifest = msgspec.structs.replace(plain, serial=serial, supersedes=supersede)
    raw = manifest_bytes(manifest)
    write_atomically(place, join({**files, MANIFEST: raw, SIGNATURE: key.sign(raw)}))
    return opened(place)


def opened(path: Path) -> Signed:
    """A bundle that was signed before; its signature is not verified.

    Raises:
        BundleError: It is not a bundle, or not signed.
        ManifestError: Its manifest is malformed.
    """
    files = read(path)
    if SIGNATURE not in files:
        raise BundleError(f"{path}: is not signed (sign its folder: headnod-train sign)")
    raw = files[MANIFEST]
    return Signed(path, join(files), parse_manifest(raw, path), hashlib.sha256(raw).hexdigest())


def _former(path: Path, key: Ed25519PrivateKey) -> Signed | None:
    if not path.exists():
        return None
    signed = opened(path)
    files = read(path)
    try:
        verify(files[MANIFEST], files[SIGNATURE], [public_line(key)])
    except BundleError:
        raise BundleError(f"{path}: was signed by another key (move it away, or choose another --out)") from None
    return signed


def _plain(manifest: Manifest) -> Manifest:
    """The manifest without the fields that signing sets."""
    return msgspec.structs.replace(manifest, serial=0, supersedes=0, health=None)
