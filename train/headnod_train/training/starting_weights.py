"""Weights of a packed network, to start a training from: those of the int8 file, in real numbers.

Batch norm was folded into the convolutions when the file was made. It gets the mean and deviation that the
convolution has on the training windows, and the scale and offset that undo both, so the network answers like
the file and can be trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Features
from headnod.inference.bundle_files import read_checked, read_manifest
from headnod.inference.manifest import MODEL, Manifest
from headnod.inference.model import interpreter
from headnod_train.backend import keras
from headnod_train.training.run_folder import RunError

_CONVOLUTIONS = 6
_SHOWN = 512
"""Windows that the statistics of batch norm are measured on."""


@dataclass(frozen=True)
class Linear:
    """Weights of one layer in the layout of Keras."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class StartingWeights:
    """A packed network of the kind that `fit` trains."""

    manifest: Manifest
    dense: Linear
    """The inverse DCT, (coefficients, bands)."""
    convolutions: tuple[Linear, ...]
    logits: Linear

    @property
    def width(self) -> int:
        """Channels of the first convolution."""
        return int(self.convolutions[0].bias.size)


def read_start(bundle: Path) -> StartingWeights:
    """The weights of a bundle.

    Raises:
        RunError: Its network is of another kind.
        ManifestError: It is damaged.
    """
    manifest = read_manifest(bundle)
    runtime = interpreter(read_checked(bundle, MODEL, manifest))
    linear: dict[str, list[Linear]] = {"FULLY_CONNECTED": [], "CONV_2D": []}
    for operator in runtime._get_ops_details():  # noqa: SLF001 - the only way to see operators; there is no public one
        if operator["op_name"] in linear:
            kernel, bias = (_real(runtime, int(place)) for place in operator["inputs"][1:3])
            order = (1, 0) if kernel.ndim == 2 else (1, 2, 3, 0)  # noqa: PLR2004 - a matrix
            linear[operator["op_name"]].append(Linear(kernel.transpose(order), bias))
    dense, convolutions = linear["FULLY_CONNECTED"], linear["CONV_2D"]
    answers = manifest.output.shape[-1]
    heads = [each for each in dense[1:] if each.bias.size == answers]
    if len(convolutions) != _CONVOLUTIONS or not heads or manifest.front_end.n_mfcc == 0:
        message = (
            f"{bundle}: its network is not of the kind that fit trains (--start genre-small; for others see "
            "'headnod-train teach')"
        )
        raise RunError(message)
    return StartingWeights(manifest, dense[0], tuple(convolutions), heads[0])


def _real(runtime: object, place: int) -> NDArray[np.float32]:
    """Real numbers of a constant tensor, quantised by the rows of its first axis."""
    details = {each["index"]: each for each in runtime.get_tensor_details()}[place]  # type: ignore[attr-defined]
    stored = runtime.get_tensor(place)  # type: ignore[attr-defined]
    scales = details["quantization_parameters"]["scales"]
    if not scales.size:
        return np.asarray(stored, np.float32)
    return np.asarray(stored * scales.reshape(-1, *[1] * (stored.ndim - 1)), np.float32)


def apply(start: StartingWeights, network: keras.Model, shown: Features, labels: tuple[str, ...]) -> None:
    """Set the weights of a network of the same width.

    Args:
        start: The weights.
        network: From `genre_network.build`.
        shown: Standardised features of training windows.
        labels: Of the network; rows of labels that the bundle has, too, are set, others keep their random weights.
    """
    network.get_layer("inverse_dct").set_weights([start.dense.kernel, start.dense.bias])
    shown = shown[np.linspace(0, len(shown) - 1, min(len(shown), _SHOWN)).astype(int)]
    norms = [each for each in network.layers if isinstance(each, keras.layers.BatchNormalization)]
    convolutions = [each for each in network.layers if isinstance(each, keras.layers.Conv2D)]
    for weights, convolution, norm in zip(start.convolutions, convolutions, norms, strict=True):
        convolution.set_weights([weights.kernel])
        outputs = keras.Model(network.input, convolution.output)(shown, training=False).numpy()
        mean, variance = outputs.mean(axis=(0, 1, 2)), outputs.var(axis=(0, 1, 2))
        norm.set_weights([np.sqrt(variance + norm.epsilon), weights.bias + mean, mean, variance])
    kernel, bias = network.get_layer("logits").get_weights()
    for place, label in enumerate(labels):
        if label in start.manifest.labels:
            row = start.manifest.labels.index(label)
            kernel[:, place], bias[place] = start.logits.kernel[:, row], start.logits.bias[row]
    network.get_layer("logits").set_weights([kernel, bias])
