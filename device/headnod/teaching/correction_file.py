"""Corrections as one npz file, for another machine: `headnod corrections export`, `headnod-train teach --corrections`.

docs/teaching.md describes its arrays. It is read without pickled objects and within bounds, because it comes from
another machine.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.files import read_arrays
from headnod.teaching.corrections import CAPACITY, CorrectionError, LabelledEmbeddings, check_label

FORMAT = 1
"""Number of this format."""

LARGEST = 256 << 20
"""Most bytes of a file, and of its arrays."""

_WIDEST = 8_192
_MOST_CONTEXT = 2 * CAPACITY
_TYPES = {
    "format": np.int64,
    "model": np.str_,
    "body": np.str_,
    "times": np.float64,
    "embeddings": np.float32,
    "features": np.float32,
    "labels": np.str_,
    "weights": np.float32,
    "groups": np.int64,
    "context_times": np.float64,
    "context_embeddings": np.float32,
    "context_features": np.float32,
}


class CorrectionFileError(HeadnodError, ValueError):
    """A file of corrections cannot be used."""


@dataclass(frozen=True)
class LabelledFeatures:
    """Embeddings with their labels, and the inputs of the last layer for them."""

    windows: LabelledEmbeddings
    """Embeddings, labels, weights and groups."""

    features: NDArray[np.float32]
    """Inputs of the last layer, (windows, features): see `headnod.teaching.last_layer.LastLayer.features_of`."""

    context_features: NDArray[np.float32]
    """The same of the context, (context windows, features)."""


def packed(labelled: LabelledFeatures) -> bytes:
    """The content of a file."""
    windows, file = labelled.windows, io.BytesIO()
    arrays = {
        **{name: getattr(windows, name) for name in _TYPES if hasattr(windows, name)},
        "format": FORMAT,
        "labels": np.array(windows.labels, np.str_),
        "features": labelled.features,
        "context_features": labelled.context_features,
    }
    typed: dict[str, Any] = {name: np.asarray(value, _TYPES[name]) for name, value in arrays.items()}
    np.savez_compressed(file, **typed)
    return file.getvalue()


def read_corrections(path: Path) -> LabelledFeatures:
    """The content of a file that another machine may have written.

    Raises:
        CorrectionFileError: It cannot be read, or is not a file of corrections.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            message = f"is larger than {LARGEST >> 20} MiB"
            raise ValueError(message)
        return unpacked(content)
    except OSError as error:
        message = f"{path}: {(error.strerror or str(error)).lower()}"
        raise CorrectionFileError(message) from error
    except (ValueError, CorrectionError) as error:
        message = f"{path}: is not a file of corrections: {error} (make it with 'headnod corrections export')"
        raise CorrectionFileError(message) from error


def unpacked(content: bytes) -> LabelledFeatures:
    """The corrections in the content of a file.

    Raises:
        ValueError: It is not a file of corrections.
    """
    arrays = read_arrays(content, _TYPES, limit=LARGEST)
    if arrays["format"].shape or int(arrays["format"]) != FORMAT:
        message = f"format: is {arrays['format']}, this headnod reads {FORMAT}"
        raise ValueError(message)
    count, context = len(np.atleast_1d(arrays["times"])), len(np.atleast_1d(arrays["context_times"]))
    if not 0 < count <= CAPACITY or context > _MOST_CONTEXT:
        message = f"times: has {count} windows and {context} of context, {CAPACITY} and {_MOST_CONTEXT} are allowed"
        raise ValueError(message)
    for name, length in _lengths(arrays, count, context).items():
        if arrays[name].shape != length:
            message = f"{name}: shape is {arrays[name].shape}, not {length}"
            raise ValueError(message)
    labels = tuple(map(str, arrays["labels"].tolist()))
    for label in set(labels):
        check_label(label)
    if not ((arrays["weights"] > 0) & (arrays["weights"] <= 1)).all():
        message = "weights: one is not over 0 and at most 1"
        raise ValueError(message)
    given: dict[str, Any] = {name: arrays[name] for name in LabelledEmbeddings.__struct_fields__}
    given |= {"model": str(arrays["model"]), "body": str(arrays["body"]), "labels": labels}
    return LabelledFeatures(LabelledEmbeddings(**given), arrays["features"], arrays["context_features"])


def _lengths(arrays: dict[str, np.ndarray], count: int, context: int) -> dict[str, tuple[int, ...]]:
    """The shape that each array must have."""
    widths = {}
    for name in ("embeddings", "features"):
        array = arrays[name]
        widths[name] = array.shape[1] if array.ndim == 2 and array.shape[1] <= _WIDEST else -1  # noqa: PLR2004 - a matrix
    single = dict.fromkeys(("times", "labels", "weights", "groups"), (count,))
    matrices = {name: (count, width) for name, width in widths.items()}
    around = {f"context_{name}": (context, width) for name, width in widths.items()}
    return {"model": (), "body": (), "context_times": (context,), **single, **matrices, **around}
