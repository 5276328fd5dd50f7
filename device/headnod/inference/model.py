"""A runnable model bundle: features in, scores out.

Scale and zero point are read from the tensors, everything else from the manifest.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headnod.errors import HeadnodError, ManifestError
from headnod.inference.bundle_files import read_checked, read_manifest
from headnod.inference.interpreter import interpreter
from headnod.inference.labels import NO_MUSIC
from headnod.inference.manifest import MODEL, Manifest, Tensor
from headnod.inference.prediction import Prediction, sigmoid, softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headnod.features.frontend import Audio, Features


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
        """Allocate the network.

        Args:
            manifest: Manifest of the bundle.
            model: The TFLite file, whose hash was checked.

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
        self.answers = (*manifest.labels, NO_MUSIC) if manifest.rejection.not_music else manifest.labels
        """Meaning of each score: the labels, then `unknown` if the network has a not-music output."""
        self._mean = np.array(manifest.standardisation.mean, np.float32)
        self._deviation = np.array(manifest.standardisation.deviation, np.float32)
        try:
            self._interpreter = interpreter(model)
            (self._input,) = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except HeadnodError:
            raise
        except Exception as error:  # the runtime raises a handful of kinds, and not all are ValueError
            message = f"{MODEL}: the runtime refuses it: {_first_line(error)}"
            raise ManifestError(message) from error
        _check_tensor("input", self._input, manifest.input)
        tensors = manifest.tensors
        if len(outputs) != len(tensors):
            message = f"{MODEL}: has {len(outputs)} outputs, the manifest names {len(tensors)} (repack the model)"
            raise ManifestError(message)
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
        """Load a bundle; `headnod.inference.golden.load_checked` also tests the network.

        Args:
            folder: The bundle.

        Raises:
            ManifestError: The bundle is damaged or inconsistent.
            MissingExtraError: No TensorFlow Lite runtime is installed.
        """
        manifest = read_manifest(folder)
        content = read_checked(folder, MODEL, manifest)
        try:
            return cls(manifest, content)
        except ManifestError as error:
            message = f"{folder}/{error}"
            raise ManifestError(message) from error

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
        return self.predict(features).scores

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

    Args:
        stored: Its content.
        tensor: Its details, from the runtime.
    """
    if stored.dtype == np.int8:
        scale, zero = tensor["quantization"]
        stored = (stored.astype(np.float32) - zero) * np.float32(scale)
    return np.asarray(stored, np.float32)


def _quantise(values: NDArray[np.float32], scale: float, zero: int) -> NDArray[np.float32]:
    values /= np.float32(scale)
    np.rint(values, out=values)
    values += zero
    np.maximum(values, -128.0, out=values)
    return np.minimum(values, 127.0, out=values)


def _check_tensor(name: str, found: dict[str, Any], declared: Tensor) -> None:
    shape, kind = tuple(int(size) for size in found["shape"]), np.dtype(found["dtype"]).name
    if shape != declared.shape:
        message = f"{MODEL}: {name} is {shape}, the manifest says {declared.shape} (repack the model)"
        raise ManifestError(message)
    if kind != declared.type:
        message = f"{MODEL}: {name} is {kind}, the manifest says {declared.type} (repack the model)"
        raise ManifestError(message)
    if kind == "int8" and not found["quantization"][0] > 0:
        message = f"{MODEL}: {name} has no scale (quantise the model again)"
        raise ManifestError(message)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
