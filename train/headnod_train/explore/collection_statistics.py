"""Statistics of the tracks and genres of a collection, tracks as points of a plane, and suspicious labels.

A label is suspicious if two methods assign the track to the same other genre: a regression trained on other artists,
and the nearest tracks of other artists. The label may be wrong, the track unusual, or the genres may overlap: a person
should listen to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.errors import MissingExtraError
from headnod.features.frontend import Features, FrontEnd, LogMel
from headnod.system import how_to_install_package
from headnod_train.console import tracked
from headnod_train.dataset.archive import Archive, window_starts
from headnod_train.dataset.split import components, folds
from headnod_train.explore.classical import FRONT_END, Summaries, cross_validated, neighbours, track_summaries

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
        levels = np.maximum(log_mel, log_mel.max() - front_end.range_db)
        levels = levels - levels.mean()
        bands.append(levels.mean(axis=0))
        pieces = [levels[frame - BEFORE : frame + AFTER + 1] for frame in onsets(levels)]
        around.append(np.asarray(np.mean(pieces, axis=0), np.float32))
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
    """Uniform manifold approximation (McInnes, Healy and Melville, 2018), which keeps neighbours together."""
    try:
        from umap import UMAP  # noqa: PLC0415 - optional, and takes seconds
    except ImportError as error:
        raise MissingExtraError(f"--umap needs umap-learn: {how_to_install_package('umap-learn')} ({error})") from error
    near = max(2, min(15, len(summaries) - 1))
    # Random initialisation: the spectral one needs more points than some collections have.
    return np.asarray(
        UMAP(n_neighbors=near, init="random", random_state=seed).fit_transform(_scaled(summaries)), np.float64
    )


def _scaled(summaries: Summaries) -> NDArray[np.float64]:
    centred = summaries.astype(np.float64) - summaries.mean(axis=0)
    # Covariances have long tails: without clipping a few tracks would determine the axes.
    return np.clip(centred / np.maximum(centred.std(axis=0), 1e-9), -_MOST, _MOST)


NEAR = 10
"""Number of nearest tracks."""
_FOLDS = 5
_LEAST_PROBABILITY, _LEAST_NEIGHBOURS = 0.5, 0.4
_COLUMNS = (
    "track",
    "genre",
    "sounds_like",
    "chance_of_genre",
    "chance_of_other",
    "near_genre",
    "near_other",
    "suspicious",
)


@dataclass(frozen=True)
class LabelCheck:
    """What both methods find for one track."""

    track: str
    genre: str
    """Its label."""

    other: str
    """The most likely other genre."""

    own_probability: float
    """Probability of the label by the regression (0-1)."""

    other_probability: float
    """Probability of the other genre."""

    own_neighbours: int
    """Number of nearest tracks with the label."""

    other_neighbours: int
    """Number of nearest tracks with the other genre."""

    @property
    def suspicious(self) -> bool:
        """Whether both methods clearly prefer the other genre."""
        return (
            self.other_probability >= _LEAST_PROBABILITY
            and self.other_neighbours >= _LEAST_NEIGHBOURS * NEAR
            and self.other_neighbours > self.own_neighbours
            and self.other_probability > 2 * self.own_probability
        )

    @property
    def doubt(self) -> float:
        """Preference of both methods for the other genre, from -2 to 2."""
        return self.other_probability - self.own_probability + (self.other_neighbours - self.own_neighbours) / NEAR


def check_labels(archive: Archive, summaries: Summaries, *, seed: int) -> list[LabelCheck]:
    """Check the label of each track; the most suspicious first.

    Returns:
        One entry per track; empty if there is only one genre or one artist.
    """
    labels, groups = archive.labels, components(archive)
    count = int(groups.max()) + 1
    if len(labels) < 2 or count < 2:  # noqa: PLR2004
        return []
    targets = archive.targets(labels)
    probabilities = cross_validated(
        summaries, targets, folds(archive, min(_FOLDS, count), seed=seed), labels=len(labels)
    )
    near = neighbours(summaries, groups, NEAR)
    votes = np.stack([np.bincount(targets[row[row >= 0]], minlength=len(labels)) for row in near])
    found = []
    for track, own in enumerate(targets):
        rest = np.where(np.arange(len(labels)) == own, -1.0, probabilities[track])
        other = int(rest.argmax())
        found.append(
            LabelCheck(
                str(archive.tracks[track]),
                labels[own],
                labels[other],
                float(probabilities[track, own]),
                float(probabilities[track, other]),
                int(votes[track, own]),
                int(votes[track, other]),
            )
        )
    return sorted(found, key=lambda check: (not check.suspicious, -check.doubt, check.track))


def doubtful_places(archive: Archive, checks: Sequence[LabelCheck]) -> list[tuple[float, float]]:
    """For each check the second of the window that is most like the other genre, and the length of the track.

    Windows are compared along the difference of the mean MFCCs of both genres, in units of their variance.
    """
    windows = [FRONT_END.cepstra(archive.windows(track, FRONT_END)).mean(axis=1) for track in range(len(archive))]
    everything = np.concatenate(windows)
    genres = np.repeat(archive.genres, [len(each) for each in windows])
    variance = np.maximum(everything.var(axis=0), 1e-9)
    means = {label: everything[genres == label].mean(axis=0) for label in archive.labels}
    second, found = FRONT_END.hop / FRONT_END.sample_rate, []
    numbers = {str(name): place for place, name in enumerate(archive.tracks)}
    for check in checks:
        track = numbers[check.track]
        place = int((windows[track] @ ((means[check.other] - means[check.genre]) / variance)).argmax())
        frames = int(archive.frames[track])
        found.append((window_starts(frames, FRONT_END)[place] * second, frames * second))
    return found


def csv_table(found: list[LabelCheck]) -> str:
    """The checks as CSV, in their order."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    for each in found:
        rows.writerow((
            each.track, each.genre, each.other, f"{each.own_probability:.3f}", f"{each.other_probability:.3f}",
            each.own_neighbours, each.other_neighbours, "yes" if each.suspicious else "no",
        ))  # fmt: skip
    return text.getvalue()
