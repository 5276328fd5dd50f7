"""Outputs of the first layer, stored, so that the layers above it train ten times faster.

The first layer takes 94 % of the multiply-adds. While it is fixed, its outputs for the clean windows and for a few
differently augmented degraded versions of each are computed once, 24 kB a window in float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod_train.backend import tf
from headnod_train.pretrained.augmentation import AugmentedWindows
from headnod_train.pretrained.network import BANDS, FRAMES, first_layer
from headnod_train.pretrained.pruning import Parameters
from headnod_train.storage import replacing
from headnod_train.training.archive_batches import prefetched

VERSIONS = 3
"""Degraded versions of each window."""

_AT_ONCE = 64


@dataclass(frozen=True)
class StoredOutputs:
    """Outputs of a fixed first layer, memory-mapped."""

    clean: NDArray[np.float16]
    """(n, 187, channels)."""

    degraded: Sequence[NDArray[np.float16]]
    """Versions, each as `clean`."""

    def chosen(
        self, rows: NDArray[np.intp], degraded: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Outputs for some windows, each degraded one in a random version, (rows, 187, 1, channels)."""
        version = rng.integers(len(self.degraded), size=rows.size)
        arrays = [
            self.degraded[place] if changed else self.clean for place, changed in zip(version, degraded, strict=True)
        ]
        return np.stack([array[row] for array, row in zip(arrays, rows, strict=True)])[:, :, None].astype(np.float32)


def stored_outputs(
    folder: Path,
    parameters: Parameters,
    inputs: AugmentedWindows,
    *,
    seed: int,
    band_step: int,
    console: Console,
    versions: int = VERSIONS,
) -> StoredOutputs:
    """Compute the outputs that a folder does not hold yet, and map all of them.

    Args:
        folder: Takes `0.npy`, of the clean windows, and one file for each degraded version, 24 kB a window.
        parameters: The network.
        inputs: Prepared windows.
        seed: Decides the augmentation.
        band_step: As in `forward`.
        console: Shows progress.
        versions: Degraded versions of each window.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for version in range(versions + 1):
        path = folder / f"{version}.npy"
        if not path.is_file():
            console.print(f"first layer: {'clean windows' if version == 0 else f'degraded version {version}'}")
            _write(path, parameters, inputs, (seed, version), band_step)
    clean, *degraded = (np.load(folder / f"{version}.npy", mmap_mode="r") for version in range(versions + 1))
    return StoredOutputs(clean, degraded)


def _write(path: Path, parameters: Parameters, inputs: AugmentedWindows, seed: tuple[int, int], band_step: int) -> None:
    """Compute one version of all windows; the next part is augmented while the last is computed."""
    constants = {name: tf.constant(value, tf.float32) for name, value in parameters.items()}
    graph = tf.function(
        lambda x: first_layer(constants, x, band_step=band_step)[:, :, 0],
        input_signature=[tf.TensorSpec((None, FRAMES, BANDS), tf.float32)],
    )
    count, channels = len(inputs.windows), parameters["front.scale"].size

    def part(start: int) -> NDArray[np.float32]:
        rows = np.arange(start, min(start + _AT_ONCE, count))
        rng = np.random.default_rng((*seed, start))
        return inputs.chosen(rows, np.full(rows.size, seed[1] > 0), rng)

    starts = range(0, count, _AT_ONCE)
    with replacing(path, "the versions before it are kept") as unfinished:
        found = np.lib.format.open_memmap(unfinished, "w+", np.float16, (count, FRAMES, channels))
        for start, x in zip(starts, prefetched(part, starts), strict=True):
            found[start : start + _AT_ONCE] = graph(tf.constant(x)).numpy()
        found.flush()
