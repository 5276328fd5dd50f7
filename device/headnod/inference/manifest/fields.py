"""What a manifest says: every field of it, with its type and its bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headnod.features.frontend import FrontEnd

FORMAT, FORMATS = 1, (1, 2)
"""The oldest bundle format, and all that this version reads. A manifest is written in the
oldest format that has a place for everything in it."""

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,31}\Z")]
Version = Annotated[str, Meta(pattern=r"\A\d{1,4}\.\d{1,4}\.\d{1,4}\Z")]
TagName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_&' -]{0,31}\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one end of the network takes or gives."""

    shape: tuple[int, ...]
    """Sizes, the batch of one first."""

    type: Literal["int8", "float32"]
    """Type of the numbers; scale and zero point are read from the model."""


class Output(Tensor, frozen=True, forbid_unknown_fields=True):
    """An output tensor of the network."""

    role: Literal["answers", "tags", "embedding"]
    """`answers`: logits of the labels, and of the not-music output where there is one.
    `tags`: logits of the tags. `embedding`: numbers that describe the sound."""


class Tags(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the network says of a window beside the genre, such as mood and instruments."""

    names: Annotated[tuple[TagName, ...], Meta(max_length=256)]
    """In the order of the tags' logits."""

    scale: tuple[float, ...]
    """Of each tag: its score is sigmoid(scale * logit + offset), (tags,)."""

    offset: tuple[float, ...]
    """Of each tag, (tags,)."""


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How energetic a window is: sigmoid(weights . tag logits + bias), 0 to 1."""

    weights: tuple[float, ...]
    """Of the logit of each tag, (tags,)."""

    bias: float
    """Added to the weighted sum."""


class Standardisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is subtracted from each feature, and what it is divided by."""

    mean: tuple[float, ...]
    """Mean of each feature over the training windows, (n_features,)."""

    deviation: tuple[float, ...]
    """Standard deviation of each feature over the same, (n_features,)."""


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

    labels: tuple[str, ...]
    """Genres, in the order of the network's outputs: any printable text, see `headnod.inference.manifest.labels`."""

    front_end: FrontEnd
    """How audio becomes features."""

    standardisation: Standardisation
    """Applied to features before they are quantised."""

    input: Tensor
    """Features that the network takes, (1, frames, n_features)."""

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

    supersedes: Annotated[int, Meta(ge=0, le=1 << 53)] = 0
    """A greater serial that its signer declares void, as one that was made by a clock that was wrong; 0 is none."""

    health: Health | None = None
    """Bounds that a device holds the answers to, if they were measured."""

    single: Calibration | None = None
    """The same as `temperature` and `rejection` for a window that is not smoothed, if it was fitted."""

    outputs: tuple[Output, ...] = ()
    """Format 2: the output tensors in the file's order, `output` among them."""

    tags: Tags | None = None
    """Format 2: names and calibration of the tags, if an output gives their logits."""

    energy: Energy | None = None
    """Format 2: how the tags' logits become one number, if they do."""

    notice: Annotated[str, Meta(max_length=65_536)] = ""
    """Format 2: licence and notice of third parties whose work is part of the network."""

    @property
    def id(self) -> str:
        """Name and version in one word, such as `genre-0.1.0`."""
        return f"{self.name}-{self.version}"

    @property
    def tensors(self) -> tuple[Output, ...]:
        """The output tensors in the file's order, in either format."""
        return self.outputs or (Output(self.output.shape, self.output.type, "answers"),)
