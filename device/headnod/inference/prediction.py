"""Output of a model for one window, and the interface of a model for the listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headnod.features.frontend import Features
    from headnod.inference.manifest import Manifest


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
