"""What a network is taught to answer: genres, a tagger's tags, and what other networks think.

A label says one thing of 30 seconds. A tagger that heard a million songs says
fifty things of each second, and a network that never saw a track says how its
genre blends into others: both are known once a second of every track, and a
window is taught what is known of the second that it starts in.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import Archive
from headnod_train.dataset.split import components

SOFT = 0.5
"""How much of a window's answer is somebody's opinion; the rest is its label."""


class TagsError(HeadnodError, ValueError):
    """A file of tags cannot be used."""


@dataclass(frozen=True)
class SoftTargets:
    """What is known of every second of every track."""

    genres: NDArray[np.float32]
    """Probabilities, shape (tracks, seconds, labels)."""

    tags: NDArray[np.float32]
    """A tagger's probabilities, shape (tracks, seconds, tags); tags may be 0."""

    tagged: NDArray[np.float32]
    """1 where the tagger was asked, 0 elsewhere, shape (tracks, seconds)."""

    def at(
        self, rows: NDArray[np.intp], starts: NDArray[np.intp], front_end: FrontEnd
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Genres (n, labels), tags (n, tags) and whether they are known (n,) of windows by track and first frame."""
        second = np.minimum(
            np.rint(starts * front_end.hop / front_end.sample_rate).astype(int), self.tagged.shape[1] - 1
        )
        return self.genres[rows, second], self.tags[rows, second], self.tagged[rows, second]


def labelled(archive: Archive, labels: tuple[str, ...], front_end: FrontEnd, *, other: bool = False) -> SoftTargets:
    """Nothing but the label of each track; `other` leaves room for the answer that it is no music."""
    seconds = 1 + int(archive.levels.shape[1] * front_end.hop / front_end.sample_rate)
    sure = np.eye(len(labels) + other, dtype=np.float32)[archive.targets(labels)]
    return SoftTargets(
        np.repeat(sure[:, None], seconds, axis=1),
        np.zeros((len(archive), seconds, 0), np.float32),
        np.zeros((len(archive), seconds), np.float32),
    )


def not_music(archive: Archive, labels: tuple[str, ...], front_end: FrontEnd, tags: int) -> SoftTargets:
    """That nothing in an archive is music: the answer behind the labels."""
    seconds = 1 + int(archive.levels.shape[1] * front_end.hop / front_end.sample_rate)
    genres = np.zeros((len(archive), seconds, len(labels) + 1), np.float32)
    genres[..., -1] = 1.0
    return SoftTargets(
        genres, np.zeros((len(archive), seconds, tags), np.float32), np.zeros((len(archive), seconds), np.float32)
    )


def with_tags(answers: SoftTargets, archive: Archive, path: Path) -> SoftTargets:
    """Add a tagger's answers, and blend what they say of genre into the labels.

    Args:
        answers: What was known before.
        archive: The tracks that it is about, in the same order.
        path: npz with `tags` (n, tags), `track` (n,) and perhaps `time` (n,) in
            seconds; without it the rows of a track are one second apart.

    Raises:
        TagsError: The file is none, or knows no track of the archive.
    """
    tags, rows, seconds = _read_tags(path, archive, answers.tagged.shape[1])
    all_tags = np.zeros((*answers.tagged.shape, tags.shape[1]), np.float32)
    tagged = np.zeros_like(answers.tagged)
    all_tags[rows, seconds], tagged[rows, seconds] = tags, 1.0
    sure = answers.genres[:, 0].argmax(axis=1)
    teacher_scores = np.zeros_like(answers.genres)
    teacher_scores[rows, seconds] = _genres_by_tags(
        tags, sure[rows], components(archive)[rows], answers.genres.shape[2]
    )
    share = SOFT * tagged[..., None]
    return SoftTargets(answers.genres * (1 - share) + teacher_scores * share, all_tags, tagged)


def with_teacher_scores(answers: SoftTargets, teacher_scores: NDArray[np.float32]) -> SoftTargets:
    """Blend the scores of other networks, (tracks, seconds, labels), into the answers."""
    # Music is music, whatever else the pupil may answer.
    more = answers.genres.shape[2] - teacher_scores.shape[2]
    teacher_scores = np.pad(teacher_scores, ((0, 0), (0, 0), (0, more)))
    return SoftTargets(answers.genres * (1 - SOFT) + teacher_scores * SOFT, answers.tags, answers.tagged)


def _read_tags(
    path: Path, archive: Archive, most: int
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            tags = np.asarray(arrays["tags"], np.float32)
            names = np.asarray(arrays["track"], np.str_)
            times = np.asarray(arrays["time"], np.float32) if "time" in arrays else None
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise TagsError(message) from error
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        message = f"{path}: is no file of tags, or damaged: {error} (make it with 'headnod-train tag')"
        raise TagsError(message) from error
    if tags.ndim != 2 or len(tags) != len(names):  # noqa: PLR2004 - rows and tags
        message = f"{path}: tags has shape {tags.shape}, track {names.shape}"
        raise TagsError(message)
    if not (np.isfinite(tags).all() and (tags >= 0).all() and (tags <= 1).all()):
        message = f"{path}: tags holds a number that is no probability"
        raise TagsError(message)
    places = {str(name): place for place, name in enumerate(archive.tracks)}
    rows = np.array([places.get(str(name), -1) for name in names], np.intp)
    seconds = np.rint(times).astype(np.intp) if times is not None else _since_first(names)
    kept = (rows >= 0) & (seconds < most)
    if not kept.any():
        message = f"{path}: knows no track of the archive (its first is '{names[0] if len(names) else ''}')"
        raise TagsError(message)
    return tags[kept], rows[kept], seconds[kept]


def _since_first(names: NDArray[np.str_]) -> NDArray[np.intp]:
    """How many rows of the same track stand before each row."""
    new = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    return np.arange(len(names)) - np.repeat(new, np.diff(np.r_[new, len(names)]))


def _genres_by_tags(
    tags: NDArray[np.float32],
    targets: NDArray[np.intp],
    groups: NDArray[np.intp],
    labels: int,
) -> NDArray[np.float32]:
    """What logistic regression makes of tags, each row answered by one that learned from other artists."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - only where there are tags
    from sklearn.model_selection import GroupKFold  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    scaled = StandardScaler().fit_transform(tags)
    teacher_scores = np.zeros((len(tags), labels), np.float32)
    for learned, asked in GroupKFold(min(5, len(np.unique(groups)))).split(scaled, targets, groups):
        regression = LogisticRegression(C=0.01, max_iter=300).fit(scaled[learned], targets[learned])
        teacher_scores[np.ix_(asked, regression.classes_)] = regression.predict_proba(scaled[asked])
    return teacher_scores
