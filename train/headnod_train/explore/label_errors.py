"""Suspicious labels: tracks that two methods assign to another genre.

One method is a regression trained on other artists, the other the nearest tracks of other artists. If both find the
same other genre, the label may be wrong, the track unusual, or the genres may overlap: a person should listen to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headnod_train.baselines.classical import cross_validated, neighbours
from headnod_train.baselines.mfcc_summary import FRONT_END, Summaries
from headnod_train.dataset.archive import Archive, window_starts
from headnod_train.dataset.split import components, folds

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

    Args:
        archive: Tracks with labels and artists.
        summaries: Mean and covariance of each track's MFCCs.
        seed: Seed of the folds.

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
