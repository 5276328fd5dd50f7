"""A model bundle that runs: features in, scores out.

Scale and zero point come from the tensors and everything else from the
manifest, so nothing about a network is known twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headnod.errors import HeadnodError, ManifestError
from headnod.inference.golden import check_golden
from headnod.inference.interpreter import interpreter
from headnod.inference.manifest import GOLDEN, MODEL, NO_MUSIC, Manifest, Tensor, read_checked, read_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headnod.features.frontend import Audio, Features, FrontEnd


class Prediction(NamedTuple):
    """All that a network says of one window."""

    scores: NDArray[np.float32]
    """Probabilities of the answers, shape (answers,), which sum to 1: see `GenreModel.answers`."""

    tags: NDArray[np.float32] | None = None
    """Score of each tag (0-1), shape (tags,); None where the model has no tags."""

    energy: float | None = None
    """How energetic the sound is (0-1); None where the model does not say."""

    embedding: NDArray[np.float32] | None = None
    """Numbers that describe the sound, near each other for similar sounds; None where the model has none."""


class GenreModel:
    """The network of a bundle, with all that its manifest says of it.

    >>> model = GenreModel.load(Path("models/genre-0.1.0"))
    >>> model.labels[:3]
    ('blues', 'classical', 'country')
    >>> hush = np.zeros(model.front_end.window_samples, np.float32)
    >>> float(model.scores(model.front_end.mfcc(hush)).sum().round(3))
    1.0
    """

    def __init__(self, manifest: Manifest, model: bytes) -> None:
        """Make the network ready to run.

        Args:
            manifest: What the bundle promises.
            model: The TFLite file, whose hash was checked.

        Raises:
            ManifestError: The file is no network, or not the promised one.
        """
        self.manifest = manifest
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
        _fits("input", self._input, manifest.input)
        tensors = manifest.tensors
        if len(outputs) != len(tensors):
            message = f"{MODEL}: has {len(outputs)} outputs, the manifest names {len(tensors)} (repack the model)"
            raise ManifestError(message)
        for place, (found, promised) in enumerate(zip(outputs, tensors, strict=True)):
            _fits("output" if len(outputs) == 1 else f"output {place}, {promised.role},", found, promised)
        self._outputs: dict[str, Any] = {promised.role: found for found, promised in zip(outputs, tensors, strict=True)}
        if manifest.tags is not None:
            self._scale = np.array(manifest.tags.scale, np.float32)
            self._offset = np.array(manifest.tags.offset, np.float32)
        if manifest.energy is not None:
            self._weights = np.array(manifest.energy.weights, np.float32)
        self._tensor = self._interpreter.tensor(self._input["index"])
        self._standard = np.empty(manifest.input.shape[1:], np.float32)

    @classmethod
    def load(cls, folder: Path, *, golden: bool = False) -> GenreModel:
        """The model of a bundle.

        Args:
            folder: The bundle.
            golden: Check every file and recompute the golden numbers before giving the model out.

        Raises:
            ManifestError: The bundle does not keep its promise.
            MissingExtraError: No TensorFlow Lite runtime is installed.
        """
        manifest = read_manifest(folder)
        checked = {name: read_checked(folder, name, manifest) for name in (manifest.sha256 if golden else [MODEL])}
        try:
            model = cls(manifest, checked[MODEL])
            if golden:
                check_golden(model, checked[GOLDEN])
        except ManifestError as error:
            message = f"{folder}/{error}"
            raise ManifestError(message) from error
        return model

    @property
    def front_end(self) -> FrontEnd:
        """How this model wants audio to become features."""
        return self.manifest.front_end

    @property
    def labels(self) -> tuple[str, ...]:
        """Genres, in the order of the scores."""
        return self.manifest.labels

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the tags, in the order of their scores; none where the model has no tags."""
        return self.manifest.tags.names if self.manifest.tags else ()

    @property
    def answers(self) -> tuple[str, ...]:
        """What each score stands for: the labels, and `unknown` behind them where no music has a score of its own."""
        return (*self.labels, NO_MUSIC) if self.manifest.rejection.not_music else self.labels

    def logits(self, features: Features) -> NDArray[np.float32]:
        """Run the network once and read its answers, before temperature and softmax.

        Args:
            features: Features of one window, shape (frames, n_features).

        Returns:
            One number an answer, shape (answers,).
        """
        standard = np.subtract(features, self._mean, out=self._standard)
        standard /= self._deviation
        if self._input["dtype"] is np.int8:
            scale, zero = self._input["quantization"]
            _quantised(standard, scale, zero)
        # The view must be gone before the runtime runs, so it has no name.
        self._tensor()[0] = standard
        self._interpreter.invoke()
        return self._read("answers")

    def predict(self, features: Features, *, single: bool = False) -> Prediction:
        """Run the network once and read all of its outputs.

        Args:
            features: Features of one window, shape (frames, n_features).
            single: The window is not averaged with others, so it is calibrated
                as `single` of the manifest says, where that is there.
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
        """Probabilities of the answers to one window that others will be averaged with, shape (answers,)."""
        return self.predict(features).scores

    def alone(self, features: Features) -> NDArray[np.float32]:
        """Probabilities of the answers to a window that is the only one: its trust is calibrated for that."""
        return self.predict(features, single=True).scores

    def _read(self, role: str) -> NDArray[np.float32]:
        """An output of the latest inference in real numbers, shape (n,)."""
        output = self._outputs[role]
        given = self._interpreter.get_tensor(output["index"])[0]
        if given.dtype == np.int8:
            scale, zero = output["quantization"]
            given = (given.astype(np.float32) - zero) * np.float32(scale)
        return np.asarray(given, np.float32)

    def best(self, audio: Audio) -> str:
        """The likeliest answer to one window of audio, (window_samples,)."""
        return self.answers[int(self.scores(self.front_end.mfcc(audio)).argmax())]


def quantise(values: NDArray[np.float32], scale: float, zero: int) -> NDArray[np.int8]:
    """Real numbers as int8: round, clip, then cast, which alone would wrap.

    Source: the affine scheme of the TensorFlow Lite 8-bit specification,
    real = scale * (stored - zero).
    """
    return _quantised(np.array(values), scale, zero).astype(np.int8)


def _quantised(values: NDArray[np.float32], scale: float, zero: int) -> NDArray[np.float32]:
    """The same in place, before the cast."""
    values /= np.float32(scale)
    np.rint(values, out=values)
    values += zero
    np.maximum(values, -128.0, out=values)
    return np.minimum(values, 127.0, out=values)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities along the last axis, safe for any finite logits."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function, safe for any finite logits."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * logits), np.float32)


def _fits(end: str, found: dict[str, Any], promised: Tensor) -> None:
    shape, kind = tuple(int(size) for size in found["shape"]), np.dtype(found["dtype"]).name
    if shape != promised.shape:
        message = f"{MODEL}: {end} is {shape}, the manifest says {promised.shape} (repack the model)"
        raise ManifestError(message)
    if kind != promised.type:
        message = f"{MODEL}: {end} is {kind}, the manifest says {promised.type} (repack the model)"
        raise ManifestError(message)
    if kind == "int8" and not found["quantization"][0] > 0:
        message = f"{MODEL}: {end} has no scale (quantise the model again)"
        raise ManifestError(message)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
