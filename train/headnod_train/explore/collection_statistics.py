"""Statistics of the tracks and genres of a collection, and tracks as points of a plane (PCA, UMAP)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.errors import MissingExtraError
from headnod.extras import how_to_install_package
from headnod.features.frontend import Features, FrontEnd, LogMel
from headnod_train.baselines.mfcc_summary import Summaries, track_summaries
from headnod_train.console import tracked
from headnod_train.dataset.archive import Archive

BEFORE, AFTER = 8, 24
"""Frames before and after an onset."""
_ONSETS = 12

Points = NDArray[np.float64]
"""Coordinates of tracks, shape (tracks, 2)."""

_MOST = 3.0
"""Standardised values are clipped at this many deviations."""


@dataclass(frozen=True)
class CollectionStatistics:
    """Arrays of tracks and of genres."""

    labels: tuple[str, ...]
    """Genres in alphabetical order."""

    targets: NDArray[np.intp]
    """Genre of each track, shape (tracks,)."""

    seconds: NDArray[np.float64]
    """Length of each track, shape (tracks,)."""

    loudness: NDArray[np.float64]
    """Mean power of each track over all bands in decibels, shape (tracks,)."""

    swing: NDArray[np.float64]
    """Decibels between the 10th and 90th percentile of the loudness of each track's frames, shape (tracks,)."""

    summaries: Summaries
    """Mean and covariance of the MFCCs of each track."""

    bands: NDArray[np.float64]
    """Mean level of each mel band in each track, less the track's mean, shape (tracks, mels)."""

    spectrograms: LogMel
    """Mean log-mel of each genre around onsets, less its mean, shape (labels, BEFORE + 1 + AFTER, mels)."""

    images: Features
    """MFCCs of the same, shape (labels, BEFORE + 1 + AFTER, n_mfcc)."""

    covariances: NDArray[np.float64]
    """Covariance of MFCCs within windows, in units of their deviation in the collection, (labels, n_mfcc, n_mfcc)."""


def collection_statistics(archive: Archive, front_end: FrontEnd, *, console: Console) -> CollectionStatistics:
    """Compute the statistics of an archive."""
    labels, tracks = archive.labels, range(len(archive))
    targets = archive.targets(labels)
    loudness, swing, seconds, bands, around = [], [], [], [], []
    for track in tracked(tracks, "computing statistics", console):
        log_mel = archive.log_mel(track)
        frames = 10 * np.log10((10.0 ** (log_mel.astype(np.float64) / 10)).sum(axis=1))
        loudness.append(10 * np.log10((10.0 ** (frames / 10)).mean()))
        swing.append(float(np.diff(np.percentile(frames, (10, 90)))[0]))
        seconds.append(((len(log_mel) - 1) * front_end.hop + front_end.n_fft) / front_end.sample_rate)
        heard = np.maximum(log_mel, log_mel.max() - front_end.range_db)
        heard = heard - heard.mean()
        bands.append(heard.mean(axis=0))
        around.append(_around_onsets(heard))
    summaries = track_summaries(archive, front_end)
    spectrograms = _by_genre(np.stack(around), targets)
    return CollectionStatistics(
        labels,
        targets,
        np.array(seconds),
        np.array(loudness),
        np.array(swing),
        summaries,
        np.stack(bands).astype(np.float64),
        spectrograms.astype(np.float32),
        front_end.cepstra(spectrograms.astype(np.float32)),
        _covariances(summaries, targets, front_end.n_mfcc),
    )


def onsets(log_mel: LogMel) -> NDArray[np.intp]:
    """Frames of the strongest onsets, the strongest first, none within `BEFORE` frames of a stronger one.

    Spectral flux with peak picking (Bello and others, 2005), without frames too near to the ends.
    """
    flux = np.maximum(np.diff(log_mel, axis=0, prepend=log_mel[:1]), 0).sum(axis=1)
    flux[:BEFORE] = flux[len(flux) - AFTER :] = -1.0
    found: list[int] = []
    for frame in np.argsort(-flux, kind="stable"):
        if flux[frame] < 0 or len(found) == _ONSETS:
            break
        if all(abs(int(frame) - other) >= BEFORE for other in found):
            found.append(int(frame))
    return np.array(found, np.intp)


def _around_onsets(log_mel: LogMel) -> LogMel:
    pieces = [log_mel[frame - BEFORE : frame + AFTER + 1] for frame in onsets(log_mel)]
    return np.asarray(np.mean(pieces, axis=0), np.float32)


def _by_genre(tracks: NDArray[np.float32], targets: NDArray[np.intp]) -> NDArray[np.float32]:
    return np.stack([tracks[targets == genre].mean(axis=0) for genre in range(int(targets.max()) + 1)])


def _covariances(summaries: Summaries, targets: NDArray[np.intp], size: int) -> NDArray[np.float64]:
    rows, columns = np.triu_indices(size)
    matrices = np.zeros((int(targets.max()) + 1, size, size))
    triangles = _by_genre(summaries[:, size:], targets)
    matrices[:, rows, columns] = matrices[:, columns, rows] = triangles
    spread = np.sqrt(np.maximum(np.diagonal(matrices, axis1=1, axis2=2).mean(axis=0), 1e-9))
    return matrices / (spread[:, None] * spread)


def principal(summaries: Summaries) -> tuple[Points, NDArray[np.float64]]:
    """The first two principal components of standardised summaries.

    Returns:
        Points, and the share of the variance along each of the two axes.
    """
    scaled = _scaled(summaries)
    scaled -= scaled.mean(axis=0)
    left, sizes, _ = np.linalg.svd(scaled, full_matrices=False)
    points = np.zeros((len(scaled), 2))
    shares = np.zeros(2)
    found = min(2, len(sizes))
    points[:, :found] = left[:, :found] * sizes[:found]
    shares[:found] = sizes[:found] ** 2 / max(float((sizes**2).sum()), 1e-12)
    return points, shares


def umap(summaries: Summaries, *, seed: int) -> Points:
    """Uniform manifold approximation (McInnes, Healy and Melville, 2018), which keeps neighbours together.

    Raises:
        MissingExtraError: umap-learn is not installed.
    """
    try:
        from umap import UMAP  # noqa: PLC0415 - optional, and takes seconds
    except ImportError as error:
        message = f"--umap needs umap-learn: {how_to_install_package('umap-learn')} ({error})"
        raise MissingExtraError(message) from error
    near = max(2, min(15, len(summaries) - 1))
    # Random initialisation: the spectral one needs more points than some collections have.
    return np.asarray(
        UMAP(n_neighbors=near, init="random", random_state=seed).fit_transform(_scaled(summaries)), np.float64
    )


def _scaled(summaries: Summaries) -> NDArray[np.float64]:
    centred = summaries.astype(np.float64) - summaries.mean(axis=0)
    # Covariances have long tails: without clipping a few tracks would determine the axes.
    return np.clip(centred / np.maximum(centred.std(axis=0), 1e-9), -_MOST, _MOST)
