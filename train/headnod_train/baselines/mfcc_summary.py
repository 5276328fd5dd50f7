"""Timbre features: mean and covariance of the MFCCs of a window, without their order in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import Features, FrontEnd
from headnod_train.dataset.archive import Archive

Summaries = NDArray[np.float32]
"""Mean and covariance of MFCCs, shape (windows or tracks, numbers)."""

FRONT_END = FrontEnd(n_mfcc=20)
"""Front end of the classical methods, with the usual number of coefficients."""


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
    """Summaries of every window, and the track of each."""
    parts, tracks = [], []
    for track in range(len(archive)):
        part = summaries(front_end.cepstra(archive.windows(track, front_end)))
        parts.append(part)
        tracks.extend([track] * len(part))
    return np.concatenate(parts), np.array(tracks, np.intp)


def track_summaries(archive: Archive, front_end: FrontEnd = FRONT_END) -> Summaries:
    """Summaries of whole tracks: the mean over their windows."""
    windows, tracks = window_summaries(archive, front_end)
    sums = np.zeros((len(archive), windows.shape[1]))
    np.add.at(sums, tracks, windows)
    return (sums / np.bincount(tracks)[:, None]).astype(np.float32)
