"""A runnable model bundle: features in, scores out, and the golden values that prove it on this machine.

Scale and zero point are read from the tensors, everything else from the manifest. A
bundle contains a few windows of features with the outputs of the network for them, and
the features of a synthetic chirp. Recomputing both on the device checks front end,
quantisation and runtime against the workstation that made the bundle.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headnod.errors import HeadnodError, ManifestError, MissingExtraError
from headnod.escaping import UNKNOWN
from headnod.files import read_arrays
from headnod.inference.manifest import (
    GOLDEN,
    MODEL,
    Manifest,
    Prediction,
    Tensor,
    read_checked,
    read_manifest,
    sigmoid,
    softmax,
)
from headnod.system import how_to_install

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from headnod.features.frontend import Audio, Features, FrontEnd


def interpreter(model: bytes) -> Any:  # noqa: ANN401 - the two runtimes share no type
    """An interpreter for a model, with its tensors allocated.

    Args:
        model: Content of a TFLite file whose hash was checked: the runtime does
            not detect corruption and may crash on it.

    Raises:
        MissingExtraError: No runtime is installed.
        Exception: The runtime cannot read the file.
    """
    library = _library()
    with _quiet_stderr():
        made = library.Interpreter(model_content=model, num_threads=1)
        made.allocate_tensors()
    return made


def runtime_name() -> str:
    """Name and version of the runtime, such as `ai-edge-litert 2.3.0`."""
    package = _library().__name__.partition(".")[0]
    # importlib.metadata would need 3 MB of memory for as long as the listener runs.
    return f"{package.replace('_', '-')} {sys.modules[package].__version__}"


def _library() -> ModuleType:
    try:
        from ai_edge_litert import interpreter as library  # noqa: PLC0415 - 8 MB, needed by a model only
    except ImportError:
        try:
            from tflite_runtime import interpreter as library  # noqa: PLC0415
        except ImportError:
            raise MissingExtraError(f"no TensorFlow Lite runtime is installed: {how_to_install('device')}") from None
    return library


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    # The delegate prints a line from C++ to stderr, which is the log.
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


class GenreModel:
    """The network of a bundle with its manifest; not thread-safe.

    >>> from headnod.resources import find_model
    >>> model = GenreModel.load(find_model("genre-0.1.0"))
    >>> model.labels[:3]
    ('blues', 'classical', 'country')
    >>> silence = np.zeros(model.front_end.window_samples, np.float32)
    >>> float(model.scores(model.front_end.mfcc(silence)).sum().round(3))
    1.0
    """

    def __init__(self, manifest: Manifest, model: bytes) -> None:
        """Allocate the network of a TFLite file whose hash was checked.

        Raises:
            ManifestError: The file is not a network or does not fit the manifest.
            MissingExtraError: No TensorFlow Lite runtime is installed.
        """
        self.manifest = manifest
        self.front_end = manifest.front_end
        """Parameters of feature extraction for this model."""
        self.labels = manifest.labels
        """Genres, in the order of the scores."""
        self.tags = manifest.tags.names if manifest.tags else ()
        """Names of the tags, in the order of their scores; empty if the model has none."""
        self.answers = (*manifest.labels, UNKNOWN) if manifest.rejection.not_music else manifest.labels
        """Meaning of each score: the labels, then `unknown` if the network has a not-music output."""
        # numpy applies one number to all features in half the time that it takes for a number of each.
        self._mean, self._deviation = (
            np.array(each[0] if len(set(each)) == 1 else each, np.float32)
            for each in (manifest.standardisation.mean, manifest.standardisation.deviation)
        )
        try:
            self._interpreter = interpreter(model)
            (self._input,) = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except HeadnodError:
            raise
        except Exception as error:  # the runtime raises a handful of kinds, and not all are ValueError
            raise ManifestError(f"{MODEL}: the runtime refuses it: {_first_line(error)}") from error
        _check_tensor("input", self._input, manifest.input)
        tensors = manifest.tensors
        if len(outputs) != len(tensors):
            raise ManifestError(
                f"{MODEL}: has {len(outputs)} outputs, the manifest names {len(tensors)} (repack the model)"
            )
        self._outputs: dict[str, Any] = {}
        for place, (found, declared) in enumerate(zip(outputs, tensors, strict=True)):
            _check_tensor("output" if len(outputs) == 1 else f"output {place}, {declared.role},", found, declared)
            self._outputs[declared.role] = found
        if manifest.tags is not None:
            self._scale = np.array(manifest.tags.scale, np.float32)
            self._offset = np.array(manifest.tags.offset, np.float32)
        if manifest.energy is not None:
            self._weights = np.array(manifest.energy.weights, np.float32)
        self._tensor = self._interpreter.tensor(self._input["index"])
        self._standard = np.empty(manifest.input.shape[1:], np.float32)

    @classmethod
    def load(cls, folder: Path) -> GenreModel:
        """Load a bundle; `load_checked` also tests the network.

        Raises:
            ManifestError: The bundle is damaged or inconsistent.
            MissingExtraError: No TensorFlow Lite runtime is installed.
        """
        manifest = read_manifest(folder)
        content = read_checked(folder, MODEL, manifest)
        try:
            return cls(manifest, content)
        except ManifestError as error:
            raise ManifestError(f"{folder}/{error}") from error

    def logits(self, features: Features) -> NDArray[np.float32]:
        """Run the network and return the logits of the answers, before temperature and softmax.

        Args:
            features: Features of one window, shape (frames, n_features).

        Returns:
            Logits, shape (answers,).
        """
        standard = np.subtract(features, self._mean, out=self._standard)
        standard /= self._deviation
        if self._input["dtype"] is np.int8:
            scale, zero = self._input["quantization"]
            _quantise(standard, scale, zero)
        # The runtime refuses to run while a view of the tensor exists, so the view gets no name.
        self._tensor()[0] = standard
        self._interpreter.invoke()
        return self._read("answers")

    def predict(self, features: Features, *, single: bool = False) -> Prediction:
        """Run the network and return all of its outputs.

        Args:
            features: Features of one window, shape (frames, n_features).
            single: The scores will not be averaged with those of other windows; use the
                calibration `single` of the manifest, if it has one.
        """
        manifest = self.manifest
        calibration = manifest.single if single and manifest.single else manifest
        scores = softmax(self.logits(features) / np.float32(calibration.temperature))
        tags = energy = None
        if manifest.tags is not None:
            logits = self._read("tags")
            tags = sigmoid(self._scale * logits + self._offset)
            if manifest.energy is not None:
                energy = float(sigmoid(logits @ self._weights + np.float32(manifest.energy.bias)))
        return Prediction(scores, tags, energy, self._read("embedding") if "embedding" in self._outputs else None)

    def scores(self, features: Features) -> NDArray[np.float32]:
        """Probabilities of the answers for one window, to be averaged over windows, shape (answers,)."""
        return softmax(self.logits(features) / np.float32(self.manifest.temperature))

    def best(self, audio: Audio) -> str:
        """The most probable answer for one window of audio, shape (window_samples,)."""
        return self.answers[int(self.scores(self.front_end.mfcc(audio)).argmax())]

    def _read(self, role: str) -> NDArray[np.float32]:
        """An output of the latest inference, dequantised, shape (n,)."""
        output = self._outputs[role]
        return dequantised(self._interpreter.get_tensor(output["index"])[0], output)


def quantise(values: NDArray[np.float32], scale: float, zero: int) -> NDArray[np.int8]:
    """Real numbers as int8, rounded and clipped.

    Source: the affine scheme of the TensorFlow Lite 8-bit specification,
    real = scale * (stored - zero).

    >>> quantise(np.array([0.5, -200.0, 200.0], np.float32), 0.5, 3).tolist()
    [4, -128, 127]
    """
    return _quantise(np.array(values), scale, zero).astype(np.int8)


def dequantised(stored: NDArray[Any], tensor: dict[str, Any]) -> NDArray[np.float32]:
    """Real numbers of an int8 tensor, as the inverse of `quantise`; those of a float tensor unchanged.

    `tensor` has its details, from the runtime.
    """
    if stored.dtype == np.int8:
        scale, zero = tensor["quantization"]
        stored = (stored.astype(np.float32) - zero) * np.float32(scale)
    return np.asarray(stored, np.float32)


def _quantise(values: NDArray[np.float32], scale: float, zero: int) -> NDArray[np.float32]:
    values /= np.float32(scale)
    np.rint(values, out=values)
    values += zero
    return values.clip(-128.0, 127.0, out=values)


def _check_tensor(name: str, found: dict[str, Any], declared: Tensor) -> None:
    shape, kind = tuple(int(size) for size in found["shape"]), np.dtype(found["dtype"]).name
    if shape != declared.shape:
        raise ManifestError(f"{MODEL}: {name} is {shape}, the manifest says {declared.shape} (repack the model)")
    if kind != declared.type:
        raise ManifestError(f"{MODEL}: {name} is {kind}, the manifest says {declared.type} (repack the model)")
    if kind == "int8" and not found["quantization"][0] > 0:
        raise ManifestError(f"{MODEL}: {name} has no scale (quantise the model again)")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


FEATURES_TOLERANCE = 0.05
"""Decibels. float32 FFTs of different builds differ by a thousandth of this."""
DECADES_TOLERANCE = 0.005
"""Decades, the unit of the compression `log10`."""
SCORES_TOLERANCE = 0.02
"""Probability. One int8 step of a logit changes a score by at most this."""
TAGS_TOLERANCE = 0.05
"""Score of a tag, and energy. Their logits have coarser steps, which the calibration scales up."""
EMBEDDING_TOLERANCE = 0.04
"""Share of the largest absolute value of all golden embeddings: six int8 steps (tflite-runtime was four away)."""

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
    return _read_golden(golden, ("features",))["features"]


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
        raise ManifestError(f"{folder}/{error}") from error
    return model


def check_golden(model: GenreModel, golden: bytes) -> None:
    """Recompute the golden values of a model, with the content of its golden file.

    Raises:
        ManifestError: The file is malformed, or an output differs by more than its tolerance.
    """
    front_end = model.front_end
    sizes = _sizes(model)
    expected = _read_golden(golden, ("chirp_features", "features", *sizes))
    count = len(expected["features"])
    shapes = {
        "chirp_features": (front_end.frames, front_end.n_features),
        "features": (count, front_end.frames, front_end.n_features),
        **{name: (count, *size) for name, size in sizes.items()},
    }
    for name, shape in shapes.items():
        if expected[name].shape != shape:
            raise ManifestError(f"{GOLDEN}: {name}: shape is {expected[name].shape}, the manifest makes it {shape}")
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
        raise ManifestError(
            f"{GOLDEN}: {name}: this machine differs by {worst:.3g}, {tolerance:g} is allowed "
            "(the model does not run here as it was measured: do not use it)"
        )


def _read_golden(golden: bytes, wanted: Sequence[str]) -> dict[str, np.ndarray]:
    try:
        read = read_arrays(golden, dict.fromkeys(wanted, np.float32), limit=_UNPACKED_LIMIT)
    except ValueError as error:
        raise ManifestError(f"{GOLDEN}: {error} (reinstall the model)") from error
    if not len(read["features"]):
        raise ManifestError(f"{GOLDEN}: features: holds no window")
    return read
