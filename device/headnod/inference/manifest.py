"""The manifest of a model bundle, the contract between training and device, and the interface of a model.

A bundle is a folder with `model.tflite`, `manifest.json`, `golden.npz` and `CARD.md`.
Here are the names of these files, every field of the manifest with its type and
bounds. `headnod.inference.bundle_files` reads and writes the files; docs/bundles.md describes every field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

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
