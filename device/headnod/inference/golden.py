"""Golden values: reference outputs of a model, recomputed on the machine where it will run.

A bundle contains a few windows of features with the outputs of the network for them, and
the features of a synthetic chirp. Recomputing both on the device checks front end,
quantisation and runtime against the workstation that made the bundle.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headnod.errors import ManifestError
from headnod.inference.bundle_files import read_checked, read_manifest
from headnod.inference.manifest import GOLDEN, MODEL
from headnod.inference.model import GenreModel
from headnod.npz import read_arrays

if TYPE_CHECKING:
    from headnod.features.frontend import Audio, Features, FrontEnd

FEATURES_TOLERANCE = 0.05
"""Decibels. float32 FFTs of different builds differ by a thousandth of this."""
DECADES_TOLERANCE = 0.005
"""Decades, the unit of the compression `log10`."""
SCORES_TOLERANCE = 0.02
"""Probability. One int8 step of a logit changes a score by at most this."""
TAGS_TOLERANCE = 0.05
"""Score of a tag, and energy. Their logits have coarser steps, which the calibration scales up."""
EMBEDDING_TOLERANCE = 0.02
"""Share of the largest absolute value of all golden embeddings: at least two int8 steps."""

_UNPACKED_LIMIT = 8 << 20


def chirp(front_end: FrontEnd) -> Audio:
    """A linear sine sweep from 50 Hz to 45 % of the sample rate with amplitude 0.5, shape (window_samples,)."""
    seconds = np.arange(front_end.window_samples) / front_end.sample_rate
    low, high = 50.0, 0.45 * front_end.sample_rate
    cycles = low * seconds + (high - low) * seconds**2 / (2.0 * seconds[-1])
    return (0.5 * np.sin(2.0 * np.pi * cycles)).astype(np.float32)


def write_golden(model: GenreModel, features: Features) -> bytes:
    """The golden file of a model.

    Args:
        model: The model, as it will run on the device.
        features: Windows to record the outputs of, shape (n, frames, n_features).
    """
    file = io.BytesIO()
    np.savez_compressed(
        file,
        chirp_features=model.front_end.mfcc(chirp(model.front_end)),
        features=features.astype(np.float32),
        **_outputs(model, features),  # type: ignore[arg-type]  # the stubs take any keyword for allow_pickle
    )
    return file.getvalue()


def golden_windows(golden: bytes) -> Features:
    """The windows of a golden file, (n, frames, n_features).

    Raises:
        ManifestError: The file is malformed.
    """
    return _read(golden, ("features",))["features"]


def _outputs(model: GenreModel, features: Features) -> dict[str, np.ndarray]:
    """Outputs of the model for the windows, by the names of the arrays in the file."""
    predictions = [model.predict(window) for window in features]
    arrays = {name: [getattr(each, name) for each in predictions] for name in predictions[0]._fields}
    return {name: np.stack(values) for name, values in arrays.items() if values[0] is not None}


def load_checked(folder: Path) -> GenreModel:
    """Load a bundle, check the hash of every file and recompute its golden values.

    Raises:
        ManifestError: The bundle is damaged, or the model gives other outputs on this machine.
        MissingExtraError: No TensorFlow Lite runtime is installed.
    """
    manifest = read_manifest(folder)
    content = {name: read_checked(folder, name, manifest) for name in manifest.sha256}
    try:
        model = GenreModel(manifest, content[MODEL])
        check_golden(model, content[GOLDEN])
    except ManifestError as error:
        message = f"{folder}/{error}"
        raise ManifestError(message) from error
    return model


def check_golden(model: GenreModel, golden: bytes) -> None:
    """Recompute the golden values of a model.

    Args:
        model: The model.
        golden: Content of the golden file.

    Raises:
        ManifestError: The file is malformed, or an output differs by more than its tolerance.
    """
    front_end = model.front_end
    sizes = _sizes(model)
    expected = _read(golden, ("chirp_features", "features", *sizes))
    count = len(expected["features"])
    shapes = {
        "chirp_features": (front_end.frames, front_end.n_features),
        "features": (count, front_end.frames, front_end.n_features),
        **{name: (count, *size) for name, size in sizes.items()},
    }
    for name, shape in shapes.items():
        if expected[name].shape != shape:
            message = f"golden.npz: {name}: shape is {expected[name].shape}, the manifest makes it {shape}"
            raise ManifestError(message)
    in_decibels = front_end.compression == "db"
    tolerances = {
        "scores": SCORES_TOLERANCE,
        "tags": TAGS_TOLERANCE,
        "energy": TAGS_TOLERANCE,
        "embedding": EMBEDDING_TOLERANCE * float(np.abs(expected.get("embedding", 0.0)).max()),
    }
    tolerance = FEATURES_TOLERANCE if in_decibels else DECADES_TOLERANCE
    _compare("chirp_features", front_end.mfcc(chirp(front_end)), expected["chirp_features"], tolerance)
    for name, found in _outputs(model, expected["features"]).items():
        _compare(name, found, expected[name], tolerances[name])


def _sizes(model: GenreModel) -> dict[str, tuple[int, ...]]:
    """Shape of each output for one window, according to the manifest."""
    manifest = model.manifest
    sizes: dict[str, tuple[int, ...]] = {"scores": (len(model.answers),)}
    if manifest.tags is not None:
        sizes["tags"] = (len(manifest.tags.names),)
    if manifest.energy is not None:
        sizes["energy"] = ()
    for tensor in manifest.tensors:
        if tensor.role == "embedding":
            sizes["embedding"] = tensor.shape[1:]
    return sizes


def _compare(name: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    worst = float(np.abs(found - expected).max())
    # Written so that a NaN on either side fails too.
    if not worst <= tolerance:
        message = (
            f"golden.npz: {name}: this machine differs by {worst:.3g}, {tolerance:g} is allowed "
            "(the model does not run here as it was measured: do not use it)"
        )
        raise ManifestError(message)


def _read(golden: bytes, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        read = read_arrays(golden, dict.fromkeys(wanted, np.float32), limit=_UNPACKED_LIMIT)
    except ValueError as error:
        message = f"golden.npz: {error} (reinstall the model)"
        raise ManifestError(message) from error
    if not len(read["features"]):
        message = "golden.npz: features: holds no window"
        raise ManifestError(message)
    return read
