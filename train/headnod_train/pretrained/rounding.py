"""Rounding as int8 does it, within float training: the network learns weights that survive it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from headnod_train.backend import tf
from headnod_train.pretrained.network import forward

Ranges = dict[str, tuple[float, float]]
"""Least and greatest value of each tensor between layers, by its name in `forward`."""

_STEPS = 127.0
_BATCH = 32


def find_ranges(parameters: Mapping[str, tf.Tensor], windows: NDArray[np.float32], *, band_step: int = 1) -> Ranges:
    """Ranges over some windows, as the converter takes them.

    Args:
        parameters: The network.
        windows: Input, (n, 187, 96).
        band_step: As in `forward`.
    """
    ranges: Ranges = {}

    def watch(name: str, tensor: tf.Tensor) -> tf.Tensor:
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = min(low, float(tf.reduce_min(tensor))), max(high, float(tf.reduce_max(tensor)))
        return tensor

    for start in range(0, len(windows), _BATCH):
        forward(parameters, tf.constant(windows[start : start + _BATCH]), band_step=band_step, activation=watch)
    return ranges


def rounded_weight(_: str, kernel: tf.Tensor) -> tf.Tensor:
    """A kernel rounded to int8 with a scale for each output channel; gradients pass as if it were not."""
    axes = list(range(kernel.shape.rank - 1))
    # Depthwise kernels have their channels before the last axis, scales of channels are kernels of one row.
    if kernel.shape.rank == 1:
        axes = []
    elif kernel.shape[-1] == 1:
        axes = axes[:-1]
    step = tf.maximum(tf.reduce_max(tf.abs(kernel), axis=axes, keepdims=True) / _STEPS, 1e-12)
    return kernel + tf.stop_gradient(tf.round(kernel / step) * step - kernel)


class RoundedActivations:
    """Rounds each tensor between layers to 256 steps of its range."""

    def __init__(self, ranges: Ranges) -> None:
        """Take fixed ranges."""
        self._ranges = ranges

    def __call__(self, name: str, tensor: tf.Tensor) -> tf.Tensor:
        """A tensor, rounded and limited to its range; gradients outside of it are zero."""
        low, high = self._ranges[name]
        return tf.quantization.fake_quant_with_min_max_args(tensor, low, max(high, low + 1e-3), num_bits=8)
