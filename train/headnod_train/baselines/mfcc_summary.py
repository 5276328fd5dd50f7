"""A window in a few numbers: the mean and the covariance of its MFCCs.

What most of the literature calls timbre features: which sounds there are and
how they vary together, with no word about their order. Alone because both the
baselines and the exploration of a collection look at music this way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Features, FrontEnd
from headnod_train.dataset.archive import Archive

Summaries = NDArray[np.float32]
"""Mean and covariance of MFCCs, shape (windows or tracks, numbers)."""

FRONT_END = FrontEnd(n_mfcc=20)
"""How the classical methods hear: the coefficients that they have always been given."""


def summaries(features: Features) -> Summaries:
    """Mean and covariance of each window.

    Args:
        features: MFCCs, shape (windows, frames, n_mfcc).

    Returns:
        n_mfcc means, then the upper triangle of the covariance row by row,
        shape (windows, n_mfcc + n_mfcc * (n_mfcc + 1) / 2).
    """
    mean = features.mean(axis=1)
    around = features - mean[:, None]
    covariance = np.einsum("wfi,wfj->wij", around, around) / features.shape[1]
    rows, columns = np.triu_indices(features.shape[2])
    return np.concatenate([mean, covariance[:, rows, columns]], axis=1).astype(np.float32)


def window_summaries(archive: Archive, front_end: FrontEnd = FRONT_END) -> tuple[Summaries, NDArray[np.intp]]:
    """Summaries of every window that a listener hears, and the track of each."""
    parts, tracks = [], []
    for track in range(len(archive)):
        part = summaries(front_end.cepstra(archive.windows(track, front_end)))
        parts.append(part)
        tracks.extend([track] * len(part))
    return np.concatenate(parts), np.array(tracks, np.intp)


def track_summaries(archive: Archive, front_end: FrontEnd = FRONT_END) -> Summaries:
    """Summaries of whole tracks: the mean of those of their windows."""
    windows, tracks = window_summaries(archive, front_end)
    sums = np.zeros((len(archive), windows.shape[1]))
    np.add.at(sums, tracks, windows)
    return (sums / np.bincount(tracks)[:, None]).astype(np.float32)
