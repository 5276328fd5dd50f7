"""Manifests are read strictly: an error names the file, the field and the way out.

A manifest is written in the oldest format that has a place for everything in it,
so that a headnod which knows only that format still reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec

from headnod.errors import ManifestError
from headnod.escaping import printable
from headnod.features.frontend import FrontEnd
from headnod.inference.manifest.bundle_files import HASHED, MANIFEST, read_part
from headnod.inference.manifest.fields import FORMAT, FORMATS, Manifest
from headnod.inference.manifest.labels import LONGEST, label_fault

_NEW = ("outputs", "tags", "energy", "notice")
_NEW_OF_FRONT_END = ("mel_scale", "mel_norm", "compression", "level", "level_db")
"""Keys that format 1 has not."""

_HUGE = 1e30
"""Numbers this large, and the inverse, are taken for infinity and for 0 in float32."""

_MOST = 1e6
"""Weights, scales and offsets are at most this large, so float32 products of them stay finite."""
_WIDEST = 4096
"""Numbers in an embedding."""


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as its file holds it, in the oldest format that has a place for everything in it."""
    # msgspec writes those fields of a dataclass only that it read.
    plain = {**msgspec.to_builtins(manifest), "front_end": asdict(manifest.front_end)}
    if not manifest.supersedes:
        # Seldom needed, and a headnod that does not know it refuses the key.
        del plain["supersedes"]
    default, front_end = FrontEnd(), plain["front_end"]
    plainly = front_end["n_mfcc"] > 0 and all(front_end[key] == getattr(default, key) for key in _NEW_OF_FRONT_END)
    if plainly and not _new_keys(plain):
        for key in _NEW:
            del plain[key]
        for key in _NEW_OF_FRONT_END:
            del plain["front_end"][key]
        plain["format"] = FORMAT
    else:
        plain["format"] = FORMATS[-1]
        plain["outputs"] = msgspec.to_builtins(manifest.tensors)
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


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
        if isinstance(found, int) and found not in FORMATS:
            known = " and ".join(map(str, FORMATS))
            message = f"{path}: format: is {found}, this headnod reads {known} (upgrade headnod or repack the model)"
            raise ManifestError(message)
        if isinstance(loose, dict):
            _fits_its_format(loose, path)
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"{path}: {error} (repack or reinstall the model)"
        raise ManifestError(message) from None
    _agrees_with_itself(manifest, path)
    return manifest


def _fits_its_format(loose: dict[str, Any], path: Path) -> None:
    front_end, old = loose.get("front_end"), loose.get("format") == FORMAT
    if old and (new := _new_keys(loose)):
        message = f"{path}: format: is {FORMAT}, which has no '{new[0]}' (repack or reinstall the model)"
        raise ManifestError(message)
    if not isinstance(front_end, dict):
        return
    # msgspec reads dataclasses leniently, and the front end is one.
    known = {field.name: field.default for field in fields(FrontEnd)}
    for key in sorted(front_end.keys() - known):
        message = f"{path}: front_end: unknown key '{key}' (repack or reinstall the model)"
        raise ManifestError(message)
    for key in sorted(known.keys() - front_end.keys()):
        if old and key in _NEW_OF_FRONT_END:
            continue
        message = f"{path}: front_end: '{key}' is missing (repack or reinstall the model)"
        raise ManifestError(message)
    if old and front_end["n_mfcc"] == 0:
        message = f"{path}: front_end.n_mfcc: is 0, format {FORMAT} needs 1 or more (repack or reinstall the model)"
        raise ManifestError(message)
    for key in _NEW_OF_FRONT_END if old else ():
        if front_end.get(key, known[key]) != known[key]:
            message = f"{path}: format: is {FORMAT}, which has no 'front_end.{key}' (repack or reinstall the model)"
            raise ManifestError(message)


def _new_keys(loose: dict[str, Any]) -> list[str]:
    return [key for key in _NEW if loose.get(key)]


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
    width = front_end.n_features
    features = (1, front_end.frames, width)
    outputs = (1, len(manifest.labels) + manifest.rejection.not_music)
    faults = ((label, label_fault(label)) for label in manifest.labels)
    fault = next((f"'{printable(label[:LONGEST])}' {fault}" for label, fault in faults if fault), None)
    numbers = (manifest.temperature, *spread.mean, *spread.deviation)
    promises = (
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
            len(spread.mean) == len(spread.deviation) == width,
            "standardisation",
            f"has {len(spread.mean)} means and {len(spread.deviation)} deviations for {width} coefficients",
        ),
        (all(abs(number) < _HUGE for number in numbers), "standardisation", "holds a number that is not finite"),
        (min(spread.deviation, default=1.0) > 1.0 / _HUGE, "standardisation", "holds a deviation that is not positive"),
        *_of_outputs(manifest),
    )
    for kept, field, broken in promises:
        if not kept:
            message = f"{path}: {field}: {broken} (repack or reinstall the model)"
            raise ManifestError(message)


def _of_outputs(manifest: Manifest) -> Iterator[tuple[bool, str, str]]:
    """What a manifest of format 2 must keep beside that of format 1: whether it does, the field, what is wrong."""
    tags, energy, outputs = manifest.tags, manifest.energy, manifest.outputs
    roles = [output.role for output in outputs]
    yield manifest.format == FORMAT or bool(outputs), "outputs", "there must be one or more"
    yield len(set(roles)) == len(roles), "outputs", "a role stands there twice"
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
        yield len(set(tags.names)) == len(tags.names) > 0, "tags.names", "is empty, or one stands there twice"
        fits = len(tags.scale) == len(tags.offset) == len(tags.names)
        yield fits, "tags", f"has {len(tags.scale)} scales and {len(tags.offset)} offsets for {len(tags.names)} names"
        yield _bounded(*tags.scale, *tags.offset), "tags", f"holds a number that is not finite, or over {_MOST:g}"
    if energy is not None:
        yield tags is not None, "energy", "is of tags, and there are none"
        fits = tags is None or len(energy.weights) == len(tags.names)
        yield fits, "energy.weights", f"has {len(energy.weights)} numbers, not one for each tag"
        fits = _bounded(*energy.weights, energy.bias)
        yield fits, "energy", f"holds a number that is not finite, or over {_MOST:g}"
    unprintable = next((mark for mark in manifest.notice if not (mark.isprintable() or mark in "\n\t")), None)
    yield unprintable is None, "notice", f"holds {unprintable!r}, which cannot be printed"


def _bounded(*numbers: float) -> bool:
    return all(abs(number) <= _MOST for number in numbers)
