"""A model bundle that runs: features in, scores out.

Scale and zero point come from the tensors and everything else from the
manifest, so nothing about a network is known twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headnod.errors import HeadnodError, ManifestError
from headnod.golden import prove
from headnod.manifest import GOLDEN, MODEL, NO_MUSIC, Manifest, Tensor, read_checked, read_manifest
from headnod.runtime import interpreter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headnod.frontend import Audio, Features, FrontEnd


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
            (self._output,) = self._interpreter.get_output_details()
        except HeadnodError:
            raise
        except Exception as error:  # the runtime raises a handful of kinds, and not all are ValueError
            message = f"{MODEL}: the runtime refuses it: {_first_line(error)}"
            raise ManifestError(message) from error
        _fits("input", self._input, manifest.input)
        _fits("output", self._output, manifest.output)
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
                prove(model, checked[GOLDEN])
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
    def answers(self) -> tuple[str, ...]:
        """What each score stands for: the labels, and `unknown` behind them where no music has a score of its own."""
        return (*self.labels, NO_MUSIC) if self.manifest.rejection.not_music else self.labels

    def logits(self, features: Features) -> NDArray[np.float32]:
        """What the network says, before temperature and softmax.

        Args:
            features: MFCCs of one window, shape (frames, n_mfcc).

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
        answer = self._interpreter.get_tensor(self._output["index"])[0]
        if answer.dtype == np.int8:
            scale, zero = self._output["quantization"]
            answer = (answer.astype(np.float32) - zero) * np.float32(scale)
        return np.asarray(answer, np.float32)

    def scores(self, features: Features) -> NDArray[np.float32]:
        """How likely each genre is, and that it is none where the network tells.

        Args:
            features: MFCCs of one window, shape (frames, n_mfcc).

        Returns:
            Probabilities, shape (answers,), which sum to 1.
        """
        return softmax(self.logits(features) / np.float32(self.manifest.temperature))

    def alone(self, features: Features) -> NDArray[np.float32]:
        """The same where nothing but this window is heard: one window deserves less trust than a mean of several."""
        single = self.manifest.single
        return (
            self.scores(features) if single is None else softmax(self.logits(features) / np.float32(single.temperature))
        )

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
