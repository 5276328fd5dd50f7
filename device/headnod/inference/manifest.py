"""Model bundles: the manifest, which is the contract between training and device, their files, and a model's interface.

A bundle is a folder with `model.tflite`, `manifest.json`, `golden.npz` and `CARD.md`; docs/bundles.md describes every
field of the manifest. Manifests are validated strictly: an unknown key, a wrong hash or a shape that does not
fit is an error that names the file, the field and the way out. A manifest is written
in the oldest format that can express it, so that older versions of headnod read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from headnod.errors import ManifestError
from headnod.escaping import LONGEST, label_fault, printable
from headnod.features.frontend import FrontEnd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headnod.features.frontend import Features

FORMAT, FORMATS = 1, (1, 2)
"""The oldest bundle format, and all formats that this version reads. A manifest is written in
the oldest format that has a place for everything in it."""

MODEL, GOLDEN, CARD, MANIFEST = "model.tflite", "golden.npz", "CARD.md", "manifest.json"
SIGNATURE = "manifest.sig"
"""Signature of the manifest's bytes, in a signed bundle."""

HASHED = (MODEL, GOLDEN, CARD)
"""The files whose hashes the manifest contains."""

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,31}\Z")]
Version = Annotated[str, Meta(pattern=r"\A\d{1,4}\.\d{1,4}\.\d{1,4}\Z")]
TagName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_&' -]{0,31}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The input or output tensor of the network."""

    shape: tuple[int, ...]
    """Dimensions; the first is the batch size of 1."""

    type: Literal["int8", "float32"]
    """Element type. Scale and zero point are read from the model."""


class Output(Tensor, frozen=True, forbid_unknown_fields=True):
    """An output tensor of the network."""

    role: Literal["answers", "tags", "embedding"]
    """`answers`: logits of the labels, and of the not-music output if there is one.
    `tags`: logits of the tags. `embedding`: a vector that describes the sound."""


class Tags(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tags beside the genre, such as mood and instruments."""

    names: Annotated[tuple[TagName, ...], Meta(max_length=256)]
    """Names, in the order of the logits."""

    scale: tuple[float, ...]
    """Scale of each tag, shape (tags,): its score is sigmoid(scale * logit + offset)."""

    offset: tuple[float, ...]
    """Offset of each tag, shape (tags,)."""


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Energy of a window (0-1): sigmoid(weights . tag logits + bias)."""

    weights: tuple[float, ...]
    """Weight of each tag logit, shape (tags,)."""

    bias: float
    """Added to the weighted sum."""


class Standardisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Standardisation of the features: (feature - mean) / deviation."""

    mean: tuple[float, ...]
    """Mean of each feature over the training windows, shape (n_features,)."""

    deviation: tuple[float, ...]
    """Standard deviation of each feature over the training windows, shape (n_features,)."""


class Rejection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a window gets no genre."""

    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = msgspec.field(name="certainty")
    """Minimum smoothed probability of a named genre (0-1)."""

    not_music: bool = False
    """The network has one more output after the labels, for speech, machines and other sound that is not music."""


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calibration of the scores."""

    temperature: Annotated[float, Meta(gt=0.0)]
    """Divisor of the logits before softmax."""

    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = msgspec.field(name="certainty")
    """Minimum probability of a named genre (0-1)."""


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Expected range of the mean entropy of the scores over some windows of music.

    Entropy is given as a share of its maximum: 0 if one answer has all probability, 1 if all are equal.
    """

    entropy_low: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Lower limit: below it, the model is overconfident on everything."""

    entropy_high: Annotated[float, Meta(ge=0.0, le=1.0)]
    """Upper limit: above it, the model does not distinguish genres."""


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Training data and settings."""

    data: str
    """The dataset, its split and its size."""

    licence: str
    """Licence of the dataset."""

    recipe: dict[str, str | int | float | bool]
    """Settings that reproduce the training."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that the device must know to run a model."""

    format: int
    """Bundle format number."""

    name: Name
    """Name of the model, such as `genre`."""

    version: Version
    """Version in three numbers; the card lists the changes."""

    sha256: dict[str, Sha256]
    """Hash of every other file of the bundle, by file name."""

    labels: tuple[str, ...]
    """Genres, in the order of the network's outputs; see `headnod.escaping`."""

    front_end: FrontEnd
    """Parameters of feature extraction."""

    standardisation: Standardisation
    """Applied to features before quantisation."""

    input: Tensor
    """Input tensor: features, shape (1, frames, n_features)."""

    output: Tensor
    """Output tensor with the logits, shape (1, labels), or one more with `rejection.not_music`."""

    temperature: Annotated[float, Meta(gt=0.0)]
    """Divisor of the logits before softmax, which makes scores calibrated probabilities."""

    rejection: Rejection
    """When the listener reports `unknown`."""

    training: Training
    """Training data and settings."""

    measured: dict[str, Any]
    """Results of the evaluation, with the method of each."""

    toolchain: dict[str, str]
    """Versions of the programs that made the bundle."""

    serial: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """Rollback protection: increases with every signing, and a device refuses lower ones; 0 before the first."""

    supersedes: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """A greater serial that this bundle revokes, for example one that was made with a wrong clock; 0 for none."""

    health: Health | None = None
    """Bounds that a device checks the scores against, if they were measured."""

    single: Calibration | None = None
    """Replaces `temperature` and `rejection.certainty` for windows that are not smoothed, if it was fitted."""

    outputs: tuple[Output, ...] = ()
    """Format 2: the output tensors in the file's order, `output` among them."""

    tags: Tags | None = None
    """Format 2: names and calibration of the tags, if an output gives their logits."""

    energy: Energy | None = None
    """Format 2: how the energy is computed from the tags' logits, if it is."""

    notice: Annotated[str, Meta(max_length=65_536)] = ""
    """Format 2: licence and notice of third parties whose work is part of the network."""

    @property
    def id(self) -> str:
        """Name and version, such as `genre-0.1.0`."""
        return f"{self.name}-{self.version}"

    @property
    def body(self) -> str:
        """SHA-256 that identifies the layers before the last: a taught model has that of the model it started from."""
        return str(self.training.recipe.get("base_sha256", "") or self.sha256[MODEL])

    @property
    def tensors(self) -> tuple[Output, ...]:
        """The output tensors in the file's order, for both formats."""
        return self.outputs or (Output(self.output.shape, self.output.type, "answers"),)


_Float = TypeVar("_Float", bound="np.floating[Any]")


class Prediction(NamedTuple):
    """Output of a model for one window."""

    scores: NDArray[np.float32]
    """Probabilities, shape (answers,), which sum to 1: see `Model.answers`."""

    tags: NDArray[np.float32] | None = None
    """Score of each tag (0-1), shape (tags,); None if the model has no tags."""

    energy: float | None = None
    """Energy of the sound (0-1); None if the model does not estimate it."""

    embedding: NDArray[np.float32] | None = None
    """Embedding of the sound, shape (n,): similar sounds are close; None if the model has none."""


class Model(Protocol):
    """Interface of a genre model, as far as the listener needs it."""

    @property
    def manifest(self) -> Manifest: ...  # noqa: D102
    @property
    def answers(self) -> tuple[str, ...]: ...  # noqa: D102
    def predict(self, features: Features, *, single: bool = False) -> Prediction: ...  # noqa: D102


def softmax(logits: NDArray[_Float]) -> NDArray[_Float]:
    """Probabilities along the last axis, stable for any finite logits."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function, stable for any finite logits."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits), np.float32)


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
            raise ManifestError(f"{path}: there is no such file (a bundle is a folder with {', '.join(_LIMITS)})")
        with path.open("rb") as file:
            content = file.read(_LIMITS[name] + 1)
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    if len(content) > _LIMITS[name]:
        raise ManifestError(f"{path}: is larger than {_LIMITS[name]} bytes (this is no headnod bundle)")
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
        raise ManifestError(
            f"{folder / name}: sha256 is {found[:12]}…, the manifest says {promised[:12]}… "
            "(the file was changed or damaged: reinstall the model)"
        )
    return content


def read_manifest(folder: Path) -> Manifest:
    """The validated manifest of a bundle; see `parse_manifest`."""
    return parse_manifest(read_part(folder, MANIFEST), folder / MANIFEST)


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """Parse and validate the content of a manifest as far as possible without the model.

    Raises:
        ManifestError: The manifest is malformed or inconsistent.
    """
    try:
        if isinstance(loose := msgspec.json.decode(raw), dict):
            _check_format(loose, path)
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(path, str(error)) from None
    for valid, field, fault in (*_checks(manifest), *_output_checks(manifest)):
        if not valid:
            raise _malformed(path, f"{field}: {fault}")
    return manifest


def _malformed(path: Path, fault: str) -> ManifestError:
    return ManifestError(f"{path}: {fault} (repack or reinstall the model)")


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
    found = loose.get("format")
    if isinstance(found, int) and found not in FORMATS:
        readable = " and ".join(map(str, FORMATS))
        raise ManifestError(
            f"{path}: format: is {found}, this headnod reads {readable} (upgrade headnod or repack the model)"
        )
    front_end, old = loose.get("front_end"), found == FORMAT
    if old and (new := _used(loose)):
        raise _malformed(path, f"format: is {FORMAT}, which has no '{new[0]}'")
    if not isinstance(front_end, dict):
        return
    # msgspec ignores unknown keys of dataclasses, and the front end is one.
    known = {field.name: field.default for field in fields(FrontEnd)}
    for key in sorted(front_end.keys() - known):
        raise _malformed(path, f"front_end: unknown key '{key}'")
    for key in sorted(known.keys() - front_end.keys()):
        if not (old and key in _FORMAT_2_FRONT_END):
            raise _malformed(path, f"front_end: '{key}' is missing")
    if old and front_end["n_mfcc"] == 0:
        raise _malformed(path, f"front_end.n_mfcc: is 0, format {FORMAT} needs 1 or more")
    for key in _FORMAT_2_FRONT_END if old else ():
        if front_end.get(key, known[key]) != known[key]:
            raise _malformed(path, f"format: is {FORMAT}, which has no 'front_end.{key}'")


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
