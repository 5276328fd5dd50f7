"""The manifest of a model bundle: the contract between training and device.

A bundle is a folder with `model.tflite`, `manifest.json`, `golden.npz` and
`CARD.md`. The device owns this format and reads it strictly: a key that it does
not know, a hash or a shape that does not fit is an error that names the file,
the field and the way out. Training imports this module to write what the
device reads. docs/bundles.md describes every field.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headnod.errors import ManifestError
from headnod.frontend import FrontEnd

FORMAT = 1
"""The bundle format that this version reads and writes."""

MODEL, GOLDEN, CARD, MANIFEST = "model.tflite", "golden.npz", "CARD.md", "manifest.json"
SIGNATURE = "manifest.sig"
"""Of the manifest's bytes, beside it in a bundle that was signed."""

HASHED = (MODEL, GOLDEN, CARD)
"""Every file of a bundle beside the manifest itself."""

NO_MUSIC = "unknown"
"""What the listener says to the answer behind the labels."""

RESERVED = ("silence", NO_MUSIC)
"""What the listener says when it names no genre, so no label may be called so."""

_LIMITS = {MODEL: 16 << 20, GOLDEN: 1 << 20, CARD: 1 << 20, MANIFEST: 1 << 20}
"""Bytes that each file may have: more is not read."""

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,31}\Z")]
Version = Annotated[str, Meta(pattern=r"\A\d{1,4}\.\d{1,4}\.\d{1,4}\Z")]
Label = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_&' -]{0,31}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one end of the network takes or gives."""

    shape: tuple[int, ...]
    """Sizes, the batch of one first."""

    type: Literal["int8", "float32"]
    """Type of the numbers; scale and zero point are read from the model."""


class Standardisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is taken from each coefficient, and what it is divided by."""

    mean: tuple[float, ...]
    """Mean of each coefficient over the training windows, (n_mfcc,)."""

    deviation: tuple[float, ...]
    """Standard deviation of each coefficient over the same, (n_mfcc,)."""


class Rejection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When an answer is better left unsaid."""

    certainty: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Least smoothed probability for a genre to be named (0-1)."""

    not_music: bool = False
    """The network has one output more, behind the labels: that this is no music, but a voice or a machine."""


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes scores mean chances, and which of them are worth saying."""

    temperature: Annotated[float, Meta(gt=0.0)]
    """What logits are divided by before softmax."""

    certainty: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Least probability for a genre to be named (0-1)."""


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the answers of a model in good health are spread, averaged over some windows of music.

    The measure is entropy as a share of the greatest possible: 0 is always sure, 1 knows nothing.
    """

    entropy_low: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Below this it is sure of everything, and so of nothing."""

    entropy_high: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Above this it tells nothing apart."""


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the network learned from."""

    data: str
    """The collection, its split and its size."""

    licence: str
    """The licence of that collection."""

    recipe: dict[str, str | int | float | bool]
    """Settings that repeat the training."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that the device must know to use a model."""

    format: int
    """Number of this format."""

    name: Name
    """What the model is called, such as `genre`."""

    version: Version
    """Three numbers: what changed is told by the card."""

    sha256: dict[str, Sha256]
    """Hash of every other file of the bundle, by file name."""

    labels: tuple[Label, ...]
    """Genres, in the order of the network's outputs."""

    front_end: FrontEnd
    """How audio becomes features."""

    standardisation: Standardisation
    """Applied to features before they are quantised."""

    input: Tensor
    """Features that the network takes, (1, frames, n_mfcc)."""

    output: Tensor
    """Logits that the network gives, (1, labels), or one more with `rejection.not_music`."""

    temperature: Annotated[float, Meta(gt=0.0)]
    """What logits are divided by before softmax, so that scores mean chances."""

    rejection: Rejection
    """When the listener says `unknown`."""

    training: Training
    """What the network learned from."""

    measured: dict[str, Any]
    """Figures of the evaluation, with how they were measured."""

    toolchain: dict[str, str]
    """Versions of the programs that made the bundle."""

    serial: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """Grows from each signing to the next, and no device goes back; 0 before the first."""

    health: Health | None = None
    """Bounds that a device holds the answers to, if they were measured."""

    single: Calibration | None = None
    """The same as `temperature` and `rejection` for a window that is not smoothed, if it was fitted."""

    @property
    def id(self) -> str:
        """Name and version in one word, such as `genre-0.1.0`."""
        return f"{self.name}-{self.version}"


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


def read_part(folder: Path, name: str) -> bytes:
    """The bytes of one file of a bundle, at most as many as it may have.

    Raises:
        ManifestError: The file is absent, no plain file, or too large.
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
        (not set(manifest.labels) & set(RESERVED), "labels", f"{' and '.join(RESERVED)} are reserved"),
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
