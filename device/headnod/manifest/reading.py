"""A manifest that is read strictly: it names the file and the field that break its promise, and the way out."""

from __future__ import annotations

import hashlib
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from headnod.errors import ManifestError
from headnod.frontend import FrontEnd
from headnod.legible import legible
from headnod.manifest.contents import FORMAT, Manifest
from headnod.manifest.labels import LONGEST, label_fault
from headnod.manifest.parts import HASHED, MANIFEST, read_part


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle, every promise in it checked that needs no model.

    Raises:
        ManifestError: It is absent, malformed, or at odds with itself.
    """
    return parse_manifest(read_part(folder, MANIFEST), folder / MANIFEST)


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """The same from the bytes of the file; the path is for messages.

    Raises:
        ManifestError: They are malformed, or at odds with themselves.
    """
    try:
        loose = msgspec.json.decode(raw)
        found = loose.get("format") if isinstance(loose, dict) else None
        if isinstance(found, int) and found != FORMAT:
            message = f"{path}: format: is {found}, this headnod reads {FORMAT} (upgrade headnod or repack the model)"
            raise ManifestError(message)
        if isinstance(loose, dict) and isinstance(loose.get("front_end"), dict):
            _has_every_key(loose["front_end"], path)
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"{path}: {error} (repack or reinstall the model)"
        raise ManifestError(message) from None
    _agrees_with_itself(manifest, path)
    return manifest


def _has_every_key(front_end: dict[str, Any], path: Path) -> None:
    # msgspec reads dataclasses leniently, and the front end is one.
    known = {field.name for field in fields(FrontEnd)}
    for key in sorted(front_end.keys() - known):
        message = f"{path}: front_end: unknown key '{key}' (repack or reinstall the model)"
        raise ManifestError(message)
    for key in sorted(known - front_end.keys()):
        message = f"{path}: front_end: '{key}' is missing (repack or reinstall the model)"
        raise ManifestError(message)


def read_checked(folder: Path, name: str, manifest: Manifest) -> bytes:
    """The bytes of one file of a bundle, once they have their promised hash.

    Raises:
        ManifestError: The file is absent or has another hash.
    """
    content = read_part(folder, name)
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.sha256[name]:
        promised = manifest.sha256[name]
        message = (
            f"{folder / name}: sha256 is {found[:12]}…, the manifest says {promised[:12]}… "
            "(the file was changed or damaged: reinstall the model)"
        )
        raise ManifestError(message)
    return content


def _agrees_with_itself(manifest: Manifest, path: Path) -> None:
    front_end, spread = manifest.front_end, manifest.standardisation
    features = (1, front_end.frames, front_end.n_mfcc)
    outputs = (1, len(manifest.labels) + manifest.rejection.not_music)
    faults = ((label, label_fault(label)) for label in manifest.labels)
    fault = next((f"'{legible(label[:LONGEST])}' {fault}" for label, fault in faults if fault), None)
    numbers = (manifest.temperature, *spread.mean, *spread.deviation)
    promises = (
        (manifest.format == FORMAT, "format", f"is {manifest.format}, this headnod reads {FORMAT}"),
        (
            set(manifest.sha256) == set(HASHED),
            "sha256",
            f"names {', '.join(sorted(manifest.sha256)) or 'nothing'}, not {', '.join(HASHED)}",
        ),
        (len(manifest.labels) > 1, "labels", "there must be two or more"),
        (len(set(manifest.labels)) == len(manifest.labels), "labels", "one stands there twice"),
        (fault is None, "labels", fault or ""),
        (
            manifest.input.shape == features,
            "input.shape",
            f"is {manifest.input.shape}, the front end makes {features}",
        ),
        (
            manifest.output.shape == outputs,
            "output.shape",
            f"is {manifest.output.shape}, {len(manifest.labels)} labels need {outputs}",
        ),
        (
            len(spread.mean) == len(spread.deviation) == front_end.n_mfcc,
            "standardisation",
            f"has {len(spread.mean)} means and {len(spread.deviation)} deviations for {front_end.n_mfcc} coefficients",
        ),
        (all(map(math.isfinite, numbers)), "standardisation", "holds a number that is not finite"),
        (all(value > 0 for value in spread.deviation), "standardisation", "holds a deviation that is not positive"),
    )
    for kept, field, broken in promises:
        if not kept:
            message = f"{path}: {field}: {broken} (repack or reinstall the model)"
            raise ManifestError(message)
