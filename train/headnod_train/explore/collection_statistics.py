"""The numbers behind the pictures: what is measured of each track and each genre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track as shown

from headnod.features.frontend import Features, FrontEnd, LogMel
from headnod_train.baselines.mfcc_summary import Summaries, track_summaries
from headnod_train.dataset.archive import Archive

BEFORE, AFTER = 8, 24
"""Frames that are drawn before and after an onset."""
_ONSETS = 12


@dataclass(frozen=True)
class CollectionStatistics:
    """What a collection sounds like, in arrays of tracks and of genres."""

    labels: tuple[str, ...]
    """Genres in alphabetical order."""

    targets: NDArray[np.intp]
    """The genre of each track, shape (tracks,)."""

    seconds: NDArray[np.float64]
    """How long each track is, shape (tracks,)."""

    loudness: NDArray[np.float64]
    """Mean power of each track over all bands in decibels, shape (tracks,)."""

    swing: NDArray[np.float64]
    """Decibels between the quiet tenth and the loud tenth of each track's frames, shape (tracks,)."""

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
    """Measure every track of an archive."""
    labels, tracks = archive.labels, range(len(archive))
    targets = archive.targets(labels)
    loudness, swing, seconds, bands, around = [], [], [], [], []
    for track in shown(tracks, "looking at tracks", console=console, transient=True, disable=not console.is_terminal):
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
    """Frames where most bands rise most, with room for what is drawn around them.

    The strongest first, none within `BEFORE` frames of a stronger one (spectral
    flux with peak picking: Bello and others, 2005).
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
