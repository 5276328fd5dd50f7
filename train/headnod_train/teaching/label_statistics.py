"""Statistics of a shipped model's features for each of its labels, from which windows can be drawn.

`teach --add` weighs new labels against the shipped ones without the music of these: the package has
the mean of the features for each label and for sound that is not music, and one covariance for all
of them, but no recording and no features of one.

Made anew with a model, from the windows that `headnod-train prepare` writes:

    python -m headnod_train.teaching.label_statistics WINDOWS BUNDLE
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.inference.bundle_files import read_checked, read_manifest
from headnod.inference.manifest import MODEL, Manifest
from headnod.teaching.fitting import Features
from headnod.teaching.last_layer import LastLayer, TeachError
from headnod_train.distillation.window_sets import WindowSet, read_windows
from headnod_train.storage import open_npz, write_npz
from headnod_train.teaching.labelled_music import run_network

_FOLDER = Path(__file__).parent / "statistics"
_RANK = 48
"""Directions of the covariance that are kept; the rest of each feature's variance is independent."""
_MUSIC = 0.5
"""YAMNet's score for music above which a recording that is listed as noise is left out."""
_YAMNET_MUSIC = 132


@dataclass(frozen=True)
class LabelStatistics:
    """A normal distribution of the features for each label; all have one covariance."""

    means: NDArray[np.float64]
    """Shape (labels, features); the last row is of sound that is not music."""

    factors: NDArray[np.float64]
    """The covariance is factors.T @ factors + diag(rest ** 2), shape (rank, features)."""

    rest: NDArray[np.float64]
    """Shape (features,)."""

    limits: NDArray[np.float64]
    """Least and greatest value of each feature, shape (2, features)."""

    def draw(self, count: int, rng: np.random.Generator) -> Features:
        """`count` windows of each label; each is a track of its own."""
        labels = np.repeat(np.arange(len(self.means)), count)
        values = self.means[labels] + rng.standard_normal((labels.size, len(self.factors))) @ self.factors
        values += rng.standard_normal(values.shape) * self.rest
        places = np.arange(labels.size)
        return Features(np.clip(values, *self.limits).astype(np.float32), labels, places, places)


def read_statistics(shipped: Manifest) -> LabelStatistics:
    """The statistics of a shipped model.

    Raises:
        TeachError: There are none of this network.
    """
    path, known = _FOLDER / f"{shipped.id}.npz", sorted(each.stem for each in _FOLDER.glob("*.npz"))
    if path.is_file():
        with open_npz(path, "statistics of labels (install headnod again)", TeachError) as held:
            if str(held["network"]) == shipped.sha256[MODEL]:
                return LabelStatistics(*(held[name].astype(np.float64) for name in _ARRAYS))
    message = f"{shipped.id}: no statistics of its labels are known, so none can be added (--base {', '.join(known)})"
    raise TeachError(message)


_ARRAYS = ("means", "factors", "rest", "limits")


def measure(values: NDArray[np.float32], labels: NDArray[np.intp]) -> LabelStatistics:
    """The statistics of windows, (windows, features), whose labels are 0, 1, ... and all occur."""
    present = range(int(labels.max()) + 1)
    means = np.stack([values[labels == label].mean(axis=0, dtype=np.float64) for label in present])
    # Each label has the same part in the covariance, however many windows it has.
    covariance = np.mean([np.cov(values[labels == label].T, dtype=np.float64) for label in present], axis=0)
    sizes, directions = np.linalg.eigh(covariance)
    factors = (directions[:, -_RANK:] * np.sqrt(np.maximum(sizes[-_RANK:], 0.0))).T
    rest = np.sqrt(np.maximum(np.diag(covariance) - np.square(factors).sum(axis=0), 0.0))
    return LabelStatistics(means, factors, rest, np.stack([values.min(axis=0), values.max(axis=0)]))


def write_statistics(windows: WindowSet, bundle: Path) -> Path:
    """Measure labelled windows of music, speech and noise, clean and degraded, and store the statistics."""
    shipped = read_manifest(bundle)
    network = LastLayer(read_checked(bundle, MODEL, shipped), shipped).with_features()
    noise = np.isin(windows.kind, ("speech", "noise")) & (windows.yamnet[:, _YAMNET_MUSIC] < _MUSIC)
    rows = np.flatnonzero((windows.genre >= 0) | noise)
    labels = np.where(windows.genre[rows] >= 0, windows.genre[rows], len(shipped.labels)).astype(np.intp)
    front_end = shipped.front_end
    pair = (windows.clean16, windows.degraded16) if front_end.n_mels == 96 else (windows.clean22, windows.degraded22)  # noqa: PLR2004
    values = [
        run_network(front_end.cepstra(sound[row].astype(np.float32)), network, shipped)
        for sound in pair
        for row in rows
    ]
    found = measure(np.array(values), np.tile(labels, 2))
    path = _FOLDER / f"{shipped.id}.npz"
    arrays = {name: getattr(found, name).astype(np.float16) for name in _ARRAYS}
    write_npz(path, {"network": np.array(shipped.sha256[MODEL]), **arrays})
    return path


if __name__ == "__main__":
    print(write_statistics(read_windows(Path(sys.argv[1])), Path(sys.argv[2])))  # noqa: T201 - the result
