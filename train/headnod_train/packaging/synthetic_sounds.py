"""Synthetic sounds for golden windows, and an untrained network.

Golden windows are published, so they must not contain music of a collection. The sounds are varied enough to exercise
every part of a front end and a network; the network has every kind of output that a bundle can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headnod.features.frontend import Audio, Features, FrontEnd

if TYPE_CHECKING:
    from headnod_train.backend import keras


def sounds(front_end: FrontEnd, count: int, *, seed: int) -> list[Audio]:
    """Chords over a beat in noise, each in its own key, tempo and balance.

    Returns:
        Windows of mono audio in [-1, 1], each (front_end.window_samples,).
    """
    rng = np.random.default_rng(seed)
    return [_sound(front_end, rng) for _ in range(count)]


def golden_features(front_end: FrontEnd, count: int = 6, *, seed: int = 1) -> Features:
    """Features of synthetic sounds, shape (count, frames, n_features)."""
    return np.stack([front_end.mfcc(sound) for sound in sounds(front_end, count, seed=seed)])


def untrained(front_end: FrontEnd, *, answers: int, tags: int, embedding: int, seed: int = 1) -> keras.Model:
    """A small network of three outputs with random weights.

    Args:
        front_end: Gives the input, (frames, n_features), standardised.
        answers: Logits of the first output.
        tags: Logits of the second output.
        embedding: Numbers of the third output.
        seed: Of the weights.
    """
    from headnod_train.backend import keras  # noqa: PLC0415 - the sounds need no TensorFlow

    layers, initial = keras.layers, keras.initializers.GlorotUniform
    features = keras.Input((front_end.frames, front_end.n_features), name="features")
    x = layers.Reshape((front_end.frames, front_end.n_features, 1))(features)
    x = layers.Conv2D(8, 5, strides=2, activation="relu", kernel_initializer=initial(seed))(x)
    x = layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Dense(embedding, activation="relu", kernel_initializer=initial(seed + 1), name="embedding")(x)
    heads = [
        layers.Dense(size, kernel_initializer=initial(seed + 2 + place), name=name)(x)
        for place, (name, size) in enumerate((("answers", answers), ("tags", tags)))
    ]
    return keras.Model(features, [*heads, x], name="untrained")


def _sound(front_end: FrontEnd, rng: np.random.Generator) -> Audio:
    seconds = np.arange(front_end.window_samples) / front_end.sample_rate
    root = rng.uniform(55.0, 440.0)
    chord = np.zeros(seconds.size)
    for interval in rng.choice([0, 3, 4, 7, 10, 12, 16], size=4, replace=False):
        for overtone in range(1, 9):
            pitch = root * 2.0 ** (interval / 12.0) * overtone
            if pitch < front_end.sample_rate / 2:
                chord += np.sin(2.0 * np.pi * (pitch * seconds + rng.uniform())) / overtone**1.3
    beat = np.exp(-((seconds * rng.uniform(1.0, 3.0)) % 1.0) * rng.uniform(4.0, 20.0))
    hiss = np.convolve(rng.standard_normal(seconds.size), np.full(int(rng.integers(1, 12)), 0.3), "same")
    mixed = chord * rng.uniform(0.2, 1.0) + beat * hiss * rng.uniform(0.1, 3.0) + 0.01 * hiss
    return (0.5 * mixed / np.abs(mixed).max()).astype(np.float32)
