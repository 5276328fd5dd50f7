"""Golden numbers: what a model must answer, computed again where it will run.

A bundle carries a few windows of features with the outputs they must give, and
the features that a synthetic chirp must give. Recomputing both on the device
shows that front end, quantisation and runtime there do what they did on the
workstation, so the two cannot drift apart unseen.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headnod.errors import ManifestError

if TYPE_CHECKING:
    from headnod.features.frontend import Audio, Features, FrontEnd
    from headnod.inference.model import GenreModel, Prediction

FEATURES_TOLERANCE = 0.05
"""Decibels: float32 FFTs of different builds differ by a thousandth of this."""
DECADES_TOLERANCE = 0.005
"""The same in decades, which the compression `log10` counts in."""
SCORES_TOLERANCE = 0.02
"""Probability: one int8 step of a logit moves a score by no more."""
TAGS_TOLERANCE = 0.05
"""Score of a tag, and energy: their logits have coarser steps, and a calibration widens them."""
EMBEDDING_TOLERANCE = 0.02
"""Share of the largest number of all golden embeddings: two steps of int8, or more."""

_UNPACKED_LIMIT = 8 << 20


def chirp(front_end: FrontEnd) -> Audio:
    """A linear sweep through the hearing range, as long as a window.

    Returns:
        Amplitude 0.5, from 50 Hz to 45 % of the sample rate, (window_samples,).
    """
    seconds = np.arange(front_end.window_samples) / front_end.sample_rate
    low, high = 50.0, 0.45 * front_end.sample_rate
    turns = low * seconds + (high - low) * seconds**2 / (2.0 * seconds[-1])
    return (0.5 * np.sin(2.0 * np.pi * turns)).astype(np.float32)


def write_golden(model: GenreModel, features: Features) -> bytes:
    """The golden file of a model.

    Args:
        model: The model, as the device will run it.
        features: Windows that it shall be tried on, (n, frames, n_features).
    """
    file = io.BytesIO()
    np.savez_compressed(
        file,
        chirp_features=model.front_end.mfcc(chirp(model.front_end)),
        features=features.astype(np.float32),
        **_outputs(model, features),  # type: ignore[arg-type]  # the stubs take any keyword for allow_pickle
    )
    return file.getvalue()


def _outputs(model: GenreModel, features: Features) -> dict[str, np.ndarray]:
    """All that the model says of windows, by the names of the arrays in the file."""
    said: list[Prediction] = [model.predict(window) for window in features]
    arrays = {name: [getattr(each, name) for each in said] for name in said[0]._fields}
    return {name: np.stack(values) for name, values in arrays.items() if values[0] is not None}


def check_golden(model: GenreModel, golden: bytes) -> None:
    """Recompute the golden numbers.

    Raises:
        ManifestError: The file is malformed, or the numbers come out otherwise.
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
    heard = front_end.mfcc(chirp(front_end))
    _close(
        "chirp_features", heard, expected["chirp_features"], FEATURES_TOLERANCE if in_decibels else DECADES_TOLERANCE
    )
    for name, found in _outputs(model, expected["features"]).items():
        _close(name, found, expected[name], tolerances[name])


def _sizes(model: GenreModel) -> dict[str, tuple[int, ...]]:
    """Shape of each output of one window, as the manifest makes it."""
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


def _close(name: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    worst = float(np.abs(found - expected).max())
    # Written so that a NaN on either side fails too.
    if not worst <= tolerance:
        message = (
            f"golden.npz: {name}: this machine differs by {worst:.3g}, {tolerance:g} is allowed "
            "(the model does not run here as it was measured: do not use it)"
        )
        raise ManifestError(message)


def _read(golden: bytes, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    import zipfile  # noqa: PLC0415 - 1 MB, for those who prove a model

    try:
        with zipfile.ZipFile(io.BytesIO(golden)) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > _UNPACKED_LIMIT:
            message = f"golden.npz: unpacks to {unpacked} bytes, {_UNPACKED_LIMIT} are allowed"
            raise ManifestError(message)
        with np.load(io.BytesIO(golden), allow_pickle=False) as arrays:
            read = {name: np.asarray(arrays[name], np.float32) for name in wanted}
    except ManifestError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen kinds for a damaged file
        message = f"golden.npz: cannot be read: {error} (reinstall the model)"
        raise ManifestError(message) from error
    for name, array in read.items():
        if not np.isfinite(array).all():
            message = f"golden.npz: {name}: holds a number that is not finite (reinstall the model)"
            raise ManifestError(message)
    if not len(read["features"]):
        message = "golden.npz: features: holds no window"
        raise ManifestError(message)
    return read
