"""Signing: a bundle's folder becomes one signed file that listeners accept.

The folder is unchanged. The file has the manifest with a new serial and the signature.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from rich.console import Console

from headnod.errors import BundleError
from headnod.files import write_atomically
from headnod.inference.bundle_files import manifest_bytes, parse_manifest
from headnod.inference.manifest import MANIFEST, SIGNATURE, Health, Manifest
from headnod.inference.model import GenreModel, load_checked
from headnod.updates.bundle import SUFFIX, join, read
from headnod.updates.probation import entropy
from headnod.updates.signature import verify
from headnod_train.dataset.archive import Archive
from headnod_train.deploy.signing_key import public_line
from headnod_train.evaluation.predictions import predict

_MARGIN = 0.25
"""Share of the measured range that is left as a margin, because rooms differ from an archive."""


def measure(model: GenreModel, archive: Archive, *, split: str, console: Console) -> Health:
    """Bounds of the mean entropy of some windows of one piece of music.

    Args:
        model: The model of the bundle.
        archive: Tracks to run the model on.
        split: Split of it that is used.
        console: Shows progress.

    Raises:
        ArchiveError: The split is empty, or the model lacks a genre.
    """
    found = predict(model, archive.subset(split), console=console)
    return health_of_scores(found.stream(model.manifest.temperature), found.tracks)


def health_of_scores(scores: NDArray[np.floating], tracks: NDArray[np.intp]) -> Health:
    """Bounds of the mean entropy of each track's scores.

    Args:
        scores: Probabilities of each window, shape (windows, answers).
        tracks: Track of each window, shape (windows,).
    """
    spread = np.array([entropy(tuple(map(float, row))) for row in scores])
    return bounds([float(spread[tracks == track].mean()) for track in np.unique(tracks)])


def bounds(means: list[float]) -> Health:
    """Bounds around the mean entropy of each track (0-1), with room on either side.

    >>> bounds([0.2, 0.4, 0.8])
    Health(entropy_low=0.05, entropy_high=0.95)
    """
    low, high = min(means), max(means)
    return Health(entropy_low=round(_MARGIN * low, 4), entropy_high=round(1.0 - _MARGIN * (1.0 - high), 4))


class Signed(msgspec.Struct, frozen=True):
    """A bundle that listeners trust."""

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
        supersede: A serial to declare void, which was made by a clock in the future: listeners with that serial
            accept this bundle, although its own serial is smaller.
        health: Measures the bounds of the entropy; None keeps those of the manifest.
        now: Wall clock in seconds since 1970, which gives the serial.

    Raises:
        ManifestError: The bundle does not keep its promise.
        BundleError: It has what no bundle has, or the serial to supersede is not in the future.
        OSError: The file cannot be written.
    """
    if not folder.is_dir():
        message = f"{folder}: is no folder of a bundle (signing begins with the folder)"
        raise BundleError(message)
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
        message = f"--supersede {supersede}: is no greater than the new serial, {serial} (sign it without that option)"
        raise BundleError(message)
    manifest = msgspec.structs.replace(plain, serial=serial, supersedes=supersede)
    raw = manifest_bytes(manifest)
    write_atomically(place, join({**files, MANIFEST: raw, SIGNATURE: key.sign(raw)}))
    return opened(place)


def opened(path: Path) -> Signed:
    """A bundle that was signed before; by whom, listeners decide.

    Raises:
        BundleError: It is none, or not signed.
        ManifestError: Its manifest is malformed.
    """
    files = read(path)
    if SIGNATURE not in files:
        message = f"{path}: is not signed (sign its folder: headnod-train sign)"
        raise BundleError(message)
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
        message = f"{path}: was signed by another key (move it away, or choose another --out)"
        raise BundleError(message) from None
    return signed


def _plain(manifest: Manifest) -> Manifest:
    """Without what signing adds."""
    return msgspec.structs.replace(manifest, serial=0, supersedes=0, health=None)
