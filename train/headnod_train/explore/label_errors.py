"""Suspicious labels: tracks that sound like another genre to two different judges.

One judge is a regression that learned from other artists, the other are the
nearest tracks of other artists. Where both name the same other genre the label
may be wrong, the track may be an odd one, or the genres may overlap: a person
listens and decides.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np

from headnod_train.baselines.classical import cross_validated, neighbours
from headnod_train.baselines.mfcc_summary import Summaries
from headnod_train.dataset.archive import Archive
from headnod_train.dataset.split import components, folds

NEAR = 10
"""How many neighbours are asked."""
_FOLDS = 5
_SURE, _MOST = 0.5, 0.4
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
    """What the judges say of one track."""

    track: str
    """Its name."""

    genre: str
    """What its label says."""

    other: str
    """The likeliest other genre."""

    own_chance: float
    """What the regression gives the label (0-1)."""

    other_chance: float
    """What it gives the other genre (0-1)."""

    own_near: int
    """How many of the nearest tracks have the label."""

    other_near: int
    """How many have the other genre."""

    @property
    def suspicious(self) -> bool:
        """Both judges name the other genre, and clearly."""
        return (
            self.other_chance >= _SURE
            and self.other_near >= _MOST * NEAR
            and self.other_near > self.own_near
            and self.other_chance > 2 * self.own_chance
        )

    @property
    def doubt(self) -> float:
        """How far both judges lean to the other genre: from -2, not at all, to 2."""
        return self.other_chance - self.own_chance + (self.other_near - self.own_near) / NEAR


def check_labels(archive: Archive, summaries: Summaries, *, seed: int) -> list[LabelCheck]:
    """What the judges say of each track, the most doubtful first.

    Args:
        archive: Tracks with labels and artists.
        summaries: Mean and covariance of each track's MFCCs.
        seed: Of the folds.

    Returns:
        One opinion a track; none at all where there is one genre, or where all
        tracks are of one artist.
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
    return sorted(found, key=lambda opinion: (not opinion.suspicious, -opinion.doubt, opinion.track))


def table(found: list[LabelCheck]) -> str:
    """Every opinion as CSV, in their order."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    for each in found:
        rows.writerow((
            each.track, each.genre, each.other, f"{each.own_chance:.3f}", f"{each.other_chance:.3f}",
            each.own_near, each.other_near, "yes" if each.suspicious else "no",
        ))  # fmt: skip
    return text.getvalue()
