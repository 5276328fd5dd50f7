"""The network: MFCCs of one window in, a logit for each genre out.

Its first layer starts as the inverse DCT, so the small two-dimensional
convolutions after it see frequency again. Everything is made of operations that
fold, quantise to int8 and run in one delegate partition: convolution with batch
norm and ReLU, pooling, dense.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import FrontEnd
from headnod_train.backend import keras
from headnod_train.training.run_folder import RunError

layers = keras.layers

BANDS = 60
"""Bands after the inverse DCT, fewer than the mel bands: with 60 the network has under 20 million multiply-adds."""


def build(
    front_end: FrontEnd,
    labels: int,
    spread: tuple[NDArray[np.float32], NDArray[np.float32]],
    width: int = 24,
    *,
    dropout: tuple[float, float] = (0.2, 0.4),
) -> keras.Model:
    """The network, untrained.

    Args:
        front_end: Gives the input, (frames, n_mfcc), standardised.
        labels: Number of outputs.
        spread: Mean and deviation of the coefficients before standardisation, each (n_mfcc,).
        width: Channels of the first convolution; the other layers have multiples of it.
        dropout: Shares that training drops before the last convolution and before the logits.
    """
    features = keras.Input((front_end.frames, front_end.n_mfcc), name="mfcc")
    x = layers.Dense(BANDS, name="inverse_dct")(features)
    x = layers.Reshape((front_end.frames, BANDS, 1))(x)
    x = _convolution(x, width, strides=(1, 2))
    x = _convolution(x, 2 * width, strides=2)
    x = _residual(x)
    x = _convolution(x, 4 * width, strides=2)
    x = _residual(x)
    x = layers.Dropout(dropout[0])(x)
    x = _convolution(x, 16 * width // 3, kernel=(1, x.shape[2]), padding="valid")
    # A global mean, which conversion replaces by a convolution: XNNPACK has no average pooling in int8.
    mean = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Concatenate()([mean, layers.MaxPooling2D((x.shape[1], 1))(x)])
    x = layers.Dropout(dropout[1])(layers.Flatten()(x))
    network = keras.Model(features, layers.Dense(labels, name="logits")(x), name="genre")
    network.get_layer("inverse_dct").set_weights(_inverse_dct(front_end, *spread))
    return network


def load(weights: Path) -> keras.Model:
    """The network of a run."""
    if not weights.is_file():
        raise RunError(f"{weights}: there is no such file (run 'headnod-train fit' first)")
    try:
        return keras.models.load_model(weights, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"{weights}: {reason} (run 'headnod-train fit' again)") from error


def with_tag_head(network: keras.Model, tags: int) -> keras.Model:
    """The same network with a second head that predicts a tagger's tags, for training only.

    Returns:
        A model that gives logits of genres, (n, labels), and of tags, (n, tags).
    """
    features = network.get_layer("logits").input
    return keras.Model(network.input, [network.output, layers.Dense(tags, name="tags")(features)], name="taught")


def with_teacher_embedding(taught: keras.Model, numbers: int) -> keras.Model:
    """A network with two heads and a third one that predicts the embedding of a larger network, for training only."""
    features = taught.get_layer("logits").input
    guessed = layers.Dense(numbers, name="teacher_embedding")(features)
    return keras.Model(taught.input, [*taught.outputs, guessed], name="distilled")


def with_embedding(taught: keras.Model) -> keras.Model:
    """A network with two heads and their common input as a third output.

    Returns:
        A model that gives logits of genres, (n, labels), and of tags, (n, tags), and the embedding, (n, size).
    """
    return keras.Model(taught.input, [*taught.outputs, taught.get_layer("logits").input], name="described")


def multiply_adds(network: keras.Model) -> int:
    """Multiplications of one inference, counted from the shapes of the layers."""
    total = 0
    for layer in network.layers:
        if isinstance(layer, (layers.Conv2D, layers.Dense)):
            places = int(np.prod(layer.output.shape[1:-1]))
            total += places * int(np.prod(layer.kernel.shape))
    return total


def _convolution(
    x: keras.KerasTensor,
    channels: int,
    *,
    kernel: tuple[int, int] = (3, 3),
    strides: int | tuple[int, int] = 1,
    padding: str = "same",
    active: bool = True,
) -> keras.KerasTensor:
    x = layers.Conv2D(channels, kernel, strides=strides, padding=padding, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(x) if active else x


def _residual(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.Add()([x, _convolution(x, x.shape[-1], active=False)]))


def _inverse_dct(
    front_end: FrontEnd, mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """Kernel and bias that turn standardised MFCCs into bands with a deviation of about 1."""
    place = (np.arange(BANDS)[:, None] + 0.5) * np.pi / BANDS
    basis = np.cos(place * np.arange(front_end.n_mfcc)) * np.sqrt(2.0 / front_end.n_mels)
    basis[:, 0] /= np.sqrt(2.0)
    decibels = 20.0
    return [(basis * deviation).T / decibels, basis @ mean / decibels]
