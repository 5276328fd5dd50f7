"""Reads and writes the files of a model bundle.

Manifests are validated strictly: an unknown key, a wrong hash or a shape that does not
fit is an error that names the file, the field and the way out. A manifest is written
in the oldest format that can express it, so that older versions of headnod read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec

from headnod.errors import ManifestError
from headnod.escaping import LONGEST, label_fault, printable
from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import (
    CARD,
    FORMAT,
    FORMATS,
    GOLDEN,
    HASHED,
    MANIFEST,
    MODEL,
    Manifest,
)

_LIMITS = {MODEL: 16 << 20, GOLDEN: 1 << 20, CARD: 1 << 20, MANIFEST: 1 << 20}
"""Maximum size of each file in bytes."""

_FORMAT_2 = ("outputs", "tags", "energy", "notice")
_FORMAT_2_FRONT_END = ("mel_scale", "mel_norm", "compression", "level", "level_db")
"""Keys that format 1 does not have."""

_HUGE = 1e30
"""Numbers above this, and below the inverse, become infinity and 0 in float32."""

_MOST = 1e6
"""Limit for weights, scales and offsets, which keeps float32 products of them finite."""
_WIDEST = 4096
"""Maximum size of an embedding."""


def read_part(folder: Path, name: str) -> bytes:
    """The content of one file of a bundle.

    Raises:
        ManifestError: The file is absent, not a regular file, or larger than its limit.
    """
    path = folder / name
    try:
        if not path.is_file():
            message = f"{path}: there is no such file (a bundle is a folder with {', '.join(_LIMITS)})"
            raise ManifestError(message)
        with path.open("rb") as file:
            content = file.read(_LIMITS[name] + 1)
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ManifestError(message) from error
    if len(content) > _LIMITS[name]:
        message = f"{path}: is larger than {_LIMITS[name]} bytes (this is no headnod bundle)"
        raise ManifestError(message)
    return content


def read_checked(folder: Path, name: str, manifest: Manifest) -> bytes:
    """The content of one file of a bundle, compared with its hash in the manifest.

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


def read_manifest(folder: Path) -> Manifest:
    """The validated manifest of a bundle; see `parse_manifest`."""
    return parse_manifest(read_part(folder, MANIFEST), folder / MANIFEST)


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """Parse and validate a manifest as far as possible without the model.

    Args:
        raw: Content of the file.
        path: The file, for messages.

    Raises:
        ManifestError: The manifest is malformed or inconsistent.
    """
    try:
        loose = msgspec.json.decode(raw)
        found = loose.get("format") if isinstance(loose, dict) else None
        if isinstance(found, int) and found not in FORMATS:
            known = " and ".join(map(str, FORMATS))
            message = f"{path}: format: is {found}, this headnod reads {known} (upgrade headnod or repack the model)"
            raise ManifestError(message)
        if isinstance(loose, dict):
            _check_format(loose, path)
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"{path}: {error} (repack or reinstall the model)"
        raise ManifestError(message) from None
    for valid, field, fault in (*_checks(manifest), *_output_checks(manifest)):
        if not valid:
            message = f"{path}: {field}: {fault} (repack or reinstall the model)"
            raise ManifestError(message)
    return manifest


def with_hashes(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """The manifest with the hashes of the other files of its bundle."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return msgspec.structs.replace(manifest, sha256=hashes)


def manifest_bytes(manifest: Manifest) -> bytes:
    """Content of the manifest's file, in the oldest format that can express it."""
    # msgspec writes only those fields of a dataclass that it read.
    plain = {**msgspec.to_builtins(manifest), "front_end": asdict(manifest.front_end)}
    if not manifest.supersedes:
        # Rarely needed, and versions of headnod that do not support the key refuse it.
        del plain["supersedes"]
    default, front_end = FrontEnd(), plain["front_end"]
    first = front_end["n_mfcc"] > 0 and all(front_end[key] == getattr(default, key) for key in _FORMAT_2_FRONT_END)
    if first and not _used(plain):
        for key in _FORMAT_2:
            del plain[key]
        for key in _FORMAT_2_FRONT_END:
            del plain["front_end"][key]
        plain["format"] = FORMAT
    else:
        plain["format"] = FORMATS[-1]
        plain["outputs"] = msgspec.to_builtins(manifest.tensors)
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def _used(loose: dict[str, Any]) -> list[str]:
    return [key for key in _FORMAT_2 if loose.get(key)]


def _check_format(loose: dict[str, Any], path: Path) -> None:
    front_end, old = loose.get("front_end"), loose.get("format") == FORMAT
    if old and (new := _used(loose)):
        message = f"{path}: format: is {FORMAT}, which has no '{new[0]}' (repack or reinstall the model)"
        raise ManifestError(message)
    if not isinstance(front_end, dict):
        return
    # msgspec ignores unknown keys of dataclasses, and the front end is one.
    known = {field.name: field.default for field in fields(FrontEnd)}
    for key in sorted(front_end.keys() - known):
        message = f"{path}: front_end: unknown key '{key}' (repack or reinstall the model)"
        raise ManifestError(message)
    for key in sorted(known.keys() - front_end.keys()):
        if old and key in _FORMAT_2_FRONT_END:
            continue
        message = f"{path}: front_end: '{key}' is missing (repack or reinstall the model)"
        raise ManifestError(message)
    if old and front_end["n_mfcc"] == 0:
        message = f"{path}: front_end.n_mfcc: is 0, format {FORMAT} needs 1 or more (repack or reinstall the model)"
        raise ManifestError(message)
    for key in _FORMAT_2_FRONT_END if old else ():
        if front_end.get(key, known[key]) != known[key]:
            message = f"{path}: format: is {FORMAT}, which has no 'front_end.{key}' (repack or reinstall the model)"
            raise ManifestError(message)


def _checks(manifest: Manifest) -> Iterator[tuple[bool, str, str]]:
    """Consistency of the fields of format 1: whether each is valid, the field, and the fault."""
    front_end, spread, labels = manifest.front_end, manifest.standardisation, manifest.labels
    width = front_end.n_features
    features, outputs = (1, front_end.frames, width), (1, len(labels) + manifest.rejection.not_music)
    names = ", ".join(sorted(manifest.sha256)) or "nothing"
    yield set(manifest.sha256) == set(HASHED), "sha256", f"names {names}, not {', '.join(HASHED)}"
    yield len(labels) > 1, "labels", "there must be two or more"
    yield len(set(labels)) == len(labels), "labels", "contain a duplicate"
    for label in labels:
        fault = label_fault(label)
        yield fault is None, "labels", f"'{printable(label[:LONGEST])}' {fault}"
    yield manifest.input.shape == features, "input.shape", f"is {manifest.input.shape}, the front end makes {features}"
    fault = f"is {manifest.output.shape}, {len(labels)} labels need {outputs}"
    yield manifest.output.shape == outputs, "output.shape", fault
    fault = f"has {len(spread.mean)} means and {len(spread.deviation)} deviations for {width} coefficients"
    yield len(spread.mean) == len(spread.deviation) == width, "standardisation", fault
    finite = all(abs(number) < _HUGE for number in (manifest.temperature, *spread.mean, *spread.deviation))
    yield finite, "standardisation", "holds a number that is not finite"
    positive = min(spread.deviation, default=1.0) > 1.0 / _HUGE
    yield positive, "standardisation", "holds a deviation that is not positive"


def _output_checks(manifest: Manifest) -> Iterator[tuple[bool, str, str]]:
    """Consistency of the fields of format 2: whether each is valid, the field, and the fault."""
    tags, energy, outputs = manifest.tags, manifest.energy, manifest.outputs
    roles = [output.role for output in outputs]
    yield manifest.format == FORMAT or bool(outputs), "outputs", "there must be one or more"
    yield len(set(roles)) == len(roles), "outputs", "contain a duplicate role"
    yield not outputs or "answers" in roles, "outputs", "none has the role 'answers'"
    for output in outputs:
        if output.role == "answers":
            same = (output.shape, output.type) == (manifest.output.shape, manifest.output.type)
            yield same, "outputs", "that of role 'answers' is not the manifest's 'output'"
        elif output.role == "tags":
            wanted = (1, len(tags.names) if tags else 0)
            yield output.shape == wanted, "outputs", f"that of role 'tags' is {output.shape}, the tags need {wanted}"
        else:
            fits = len(output.shape) == 2 and output.shape[0] == 1 and 1 <= output.shape[1] <= _WIDEST  # noqa: PLR2004
            yield fits, "outputs", f"that of role 'embedding' is {output.shape}, not (1, 1 to {_WIDEST})"
    if tags is not None:
        yield "tags" in roles, "tags", "no output has the role 'tags'"
        yield len(set(tags.names)) == len(tags.names) > 0, "tags.names", "is empty or contains a duplicate"
        fits = len(tags.scale) == len(tags.offset) == len(tags.names)
        yield fits, "tags", f"has {len(tags.scale)} scales and {len(tags.offset)} offsets for {len(tags.names)} names"
        yield _bounded(*tags.scale, *tags.offset), "tags", f"holds a number that is not finite, or over {_MOST:g}"
    if energy is not None:
        yield tags is not None, "energy", "needs tags, and there are none"
        fits = tags is None or len(energy.weights) == len(tags.names)
        yield fits, "energy.weights", f"has {len(energy.weights)} numbers, not one for each tag"
        fits = _bounded(*energy.weights, energy.bias)
        yield fits, "energy", f"holds a number that is not finite, or over {_MOST:g}"
    unprintable = next((mark for mark in manifest.notice if not (mark.isprintable() or mark in "\n\t")), None)
    yield unprintable is None, "notice", f"holds {unprintable!r}, which cannot be printed"


def _bounded(*numbers: float) -> bool:
    return all(abs(number) <= _MOST for number in numbers)
