"""Batches of training windows with their targets: labels, a tagger's tags, and scores of earlier networks.

A label describes 30 s of a track. A tagger trained on a million songs gives fifty tags per second, and a network that
was not trained on a track gives its similarity to other genres. Both are stored once per second of every track; a
window gets the targets of the second in which it starts. Windows are cropped, augmented and mixed anew each epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.features.frontend import Features, FrontEnd, LogMel
from headnod.inference.manifest import softmax
from headnod_train.acoustics import Bands
from headnod_train.dataset.archive import Archive, read_archive, window_starts
from headnod_train.dataset.split import components
from headnod_train.storage import open_npz
from headnod_train.training import run_folder
from headnod_train.training.augment import LEAD, MelAugmentation, augment, through_rooms
from headnod_train.training.genre_network import load
from headnod_train.training.run_folder import Recipe, RunError

NOT_MUSIC = 0.12
"""Windows of other sounds per window of music."""

SOFT = 0.5
"""Weight of a tagger's or teacher's scores in the target of a window; the rest is its label."""


class TagsError(HeadnodError, ValueError):
    """A file of tags cannot be used."""


@dataclass(frozen=True)
class SoftTargets:
    """Targets for every second of every track."""

    genres: NDArray[np.float32]
    """Probabilities, shape (tracks, seconds, labels)."""

    tags: NDArray[np.float32]
    """Probabilities of a tagger, shape (tracks, seconds, tags); there may be no tags."""

    tagged: NDArray[np.float32]
    """1 where tags are known, else 0, shape (tracks, seconds)."""

    def at(
        self, rows: NDArray[np.intp], starts: NDArray[np.intp], front_end: FrontEnd
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Genres (n, labels), tags (n, tags) and their weight (n,) for windows given by track and first frame."""
        second = np.minimum(
            np.rint(starts * front_end.hop / front_end.sample_rate).astype(int), self.tagged.shape[1] - 1
        )
        return self.genres[rows, second], self.tags[rows, second], self.tagged[rows, second]


def labelled(archive: Archive, labels: tuple[str, ...], front_end: FrontEnd, *, other: bool = False) -> SoftTargets:
    """The label of each track alone; `other` adds an output for "not music"."""
    return _constant(np.eye(len(labels) + other, dtype=np.float32)[archive.targets(labels)], archive, front_end, 0)


def not_music(archive: Archive, labels: tuple[str, ...], front_end: FrontEnd, tags: int) -> SoftTargets:
    """The output for "not music" as the target of every second."""
    last = np.eye(len(labels) + 1, dtype=np.float32)[-1]
    return _constant(np.tile(last, (len(archive), 1)), archive, front_end, tags)


def _constant(genres: NDArray[np.float32], archive: Archive, front_end: FrontEnd, tags: int) -> SoftTargets:
    """The same genres, (tracks, labels), in every second of a track, and unknown tags."""
    seconds = 1 + int(archive.levels.shape[1] * front_end.hop / front_end.sample_rate)
    unknown = np.zeros((len(archive), seconds, tags), np.float32)
    return SoftTargets(
        np.repeat(genres[:, None], seconds, axis=1), unknown, np.zeros((len(archive), seconds), np.float32)
    )


def with_tags(targets: SoftTargets, archive: Archive, path: Path) -> SoftTargets:
    """Add a tagger's tags, and blend the genres predicted from them into the labels.

    Args:
        targets: Targets so far.
        archive: Their tracks, in the same order.
        path: npz file with `tags` (n, tags), `track` (n,) and optionally `time` (n,) in seconds; without it the rows
            of a track are one second apart.

    Raises:
        TagsError: The file is malformed, or has no track of the archive.
    """
    tags, rows, seconds = _read_tags(path, archive, targets.tagged.shape[1])
    all_tags = np.zeros((*targets.tagged.shape, tags.shape[1]), np.float32)
    tagged = np.zeros_like(targets.tagged)
    all_tags[rows, seconds], tagged[rows, seconds] = tags, 1.0
    labels = targets.genres[:, 0].argmax(axis=1)
    predicted = np.zeros_like(targets.genres)
    predicted[rows, seconds] = _genres_by_tags(tags, labels[rows], components(archive)[rows], targets.genres.shape[2])
    share = SOFT * tagged[..., None]
    return SoftTargets(targets.genres * (1 - share) + predicted * share, all_tags, tagged)


def with_teacher_scores(targets: SoftTargets, teacher_scores: NDArray[np.float32]) -> SoftTargets:
    """Blend the scores of other networks, (tracks, seconds, labels), into the targets."""
    # Teachers have no output for "not music".
    more = targets.genres.shape[2] - teacher_scores.shape[2]
    teacher_scores = np.pad(teacher_scores, ((0, 0), (0, 0), (0, more)))
    return SoftTargets(targets.genres * (1 - SOFT) + teacher_scores * SOFT, targets.tags, targets.tagged)


@dataclass(frozen=True)
class WindowSource:
    """An archive to cut windows from, with their targets."""

    archive: Archive
    targets: SoftTargets

    share: float = 1.0
    """Windows per window of the first source; ignored for the first source itself."""


@dataclass(frozen=True)
class ExtraTargets:
    """Optional sources of targets beside labels."""

    tags: Path | None = None
    """Tags of the tracks, from `headnod-train tag`."""

    other: Path | None = None
    """An archive of other sounds, such as speech and machines; the network gets an output for "not music"."""

    teachers: tuple[Path, ...] = ()
    """Run folders of earlier networks."""

    def sources(self, learning: Archive, labels: tuple[str, ...], front_end: FrontEnd) -> list[WindowSource]:
        """Archives to cut windows from with their targets, the music first.

        Raises:
            ArchiveError: The archive of other sounds cannot be used.
            TagsError: The tags cannot be used.
            RunError: A teacher cannot be used.
        """
        targets = labelled(learning, labels, front_end, other=self.other is not None)
        if self.tags is not None:
            targets = with_tags(targets, learning, self.tags)
        if self.teachers:
            targets = with_teacher_scores(
                targets, teacher_scores(self.teachers, learning, labels, targets.tagged.shape[1])
            )
        sources = [WindowSource(learning, targets)]
        if self.other is not None:
            noises = read_archive(self.other, front_end)
            sources.append(WindowSource(noises, not_music(noises, labels, front_end, targets.tags.shape[2]), NOT_MUSIC))
        return sources


def teacher_scores(
    teachers: Sequence[Path], archive: Archive, labels: tuple[str, ...], seconds: int
) -> NDArray[np.float32]:
    """Mean scores of teachers for the window that starts in each second of each track.

    Teachers see the clean tracks. A track that some teachers were trained on gets the scores of the others only,
    so teachers of different folds score what they have not seen.

    Returns:
        Probabilities, shape (tracks, seconds, labels).
    """
    scores = np.zeros((len(teachers), len(archive), seconds, len(labels)), np.float32)
    unseen = np.zeros((len(teachers), len(archive)), bool)
    for place, run in enumerate(teachers):
        recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
        if recipe.labels != labels:
            raise RunError(f"{run}: its genres are {', '.join(recipe.labels)}, the student's {', '.join(labels)}")
        scores[place] = _track_scores(run, recipe, archive, seconds, len(labels))
        unseen[place] = ~np.isin(archive.tracks, run_folder.training_tracks(run))
    unseen |= ~unseen.any(axis=0)
    weight = unseen[..., None, None].astype(np.float32)
    return (scores * weight).sum(axis=0) / weight.sum(axis=0)


def _track_scores(run: Path, recipe: Recipe, archive: Archive, seconds: int, labels: int) -> NDArray[np.float32]:
    network, front_end = load(run / run_folder.WEIGHTS), recipe.front_end
    mean, deviation = np.array(recipe.mean, np.float32), np.array(recipe.deviation, np.float32)
    scores = []
    for track in range(len(archive)):
        log_mel = archive.log_mel(track)
        last = len(log_mel) - front_end.frames
        starts = [min(round(second * front_end.sample_rate / front_end.hop), last) for second in range(seconds)]
        windows = np.stack([log_mel[start : start + front_end.frames] for start in starts])
        features = (front_end.cepstra(windows) - mean) / deviation
        scores.append(softmax(np.asarray(network(features, training=False))[:, :labels]))
    return np.stack(scores)


def _read_tags(
    path: Path, archive: Archive, most: int
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    with open_npz(path, "a file of tags (make it with 'headnod-train tag')", TagsError) as arrays:
        tags = np.asarray(arrays["tags"], np.float32)
        names = np.asarray(arrays["track"], np.str_)
        times = np.asarray(arrays["time"], np.float32) if "time" in arrays else None
    if tags.ndim != 2 or len(tags) != len(names):  # noqa: PLR2004 - rows and tags
        raise TagsError(f"{path}: tags has shape {tags.shape}, track {names.shape}")
    if not (np.isfinite(tags).all() and (tags >= 0).all() and (tags <= 1).all()):
        raise TagsError(f"{path}: tags has a value that is not a probability")
    places = {str(name): place for place, name in enumerate(archive.tracks)}
    rows = np.array([places.get(str(name), -1) for name in names], np.intp)
    seconds = np.rint(times).astype(np.intp) if times is not None else _since_first(names)
    kept = (rows >= 0) & (seconds < most)
    if not kept.any():
        raise TagsError(f"{path}: has no track of the archive (its first is '{names[0] if len(names) else ''}')")
    return tags[kept], rows[kept], seconds[kept]


def _since_first(names: NDArray[np.str_]) -> NDArray[np.intp]:
    """Number of rows of the same track before each row."""
    new = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    return np.arange(len(names)) - np.repeat(new, np.diff(np.r_[new, len(names)]))


def _genres_by_tags(
    tags: NDArray[np.float32], targets: NDArray[np.intp], groups: NDArray[np.intp], labels: int
) -> NDArray[np.float32]:
    """Genres predicted from tags by logistic regression, each row by one that was fitted on other artists."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - only where there are tags
    from sklearn.model_selection import GroupKFold  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    scaled = StandardScaler().fit_transform(tags)
    teacher_scores = np.zeros((len(tags), labels), np.float32)
    for train, test in GroupKFold(min(5, len(np.unique(groups)))).split(scaled, targets, groups):
        regression = LogisticRegression(C=0.01, max_iter=300).fit(scaled[train], targets[train])
        teacher_scores[np.ix_(test, regression.classes_)] = regression.predict_proba(scaled[test])
    return teacher_scores


_T = TypeVar("_T")


def prefetched(make: Callable[[int], _T], places: Iterable[int]) -> Iterator[_T]:
    """What `make` returns for each place, in order; the next is made in a thread while the last is used."""
    with ThreadPoolExecutor(1) as ahead:
        coming = None
        for place in places:
            last, coming = coming, ahead.submit(make, place)
            if last is not None:
                yield last.result()
        if coming is not None:
            yield coming.result()


class TrainingBatch(NamedTuple):
    """Windows and their targets."""

    features: Features
    """Standardised MFCCs, shape (n, frames, n_mfcc)."""

    genres: NDArray[np.float32]
    """Probabilities, shape (n, labels)."""

    tags: NDArray[np.float32]
    """Probabilities, shape (n, tags)."""

    tagged: NDArray[np.float32]
    """Weight of the tags: 1 known, 0 unknown, shape (n,)."""


class DistillationBatch(NamedTuple):
    """Windows with the predictions of a large network."""

    features: Features
    genres: NDArray[np.float32]
    tags: NDArray[np.float32]
    tagged: NDArray[np.float32]

    embedding: NDArray[np.float32]
    """Standardised, shape (n, numbers)."""

    embedded: NDArray[np.float32]
    """Weight of the embedding: 1 known, 0 unknown, shape (n,)."""


class ArchiveBatches:
    """Windows cut at random places of random tracks.

    An epoch draws as many windows of each track of the first source as an evaluation has; windows of the other
    sources are added. A batch depends only on the seed, its epoch and its step, so an interrupted training continues
    with the same windows.
    """

    def __init__(
        self,
        sources: Sequence[WindowSource],
        *,
        front_end: FrontEnd,
        spread: tuple[NDArray[np.float32], NDArray[np.float32]],
        augmentation: MelAugmentation,
        batch: int,
        seed: int,
        balance: bool = False,
    ) -> None:
        """Draw from sources; each batch has `batch` windows of the first one, with `balance` of each genre alike."""
        self._sources, self._front_end, self._bands = sources, front_end, Bands(front_end)
        self._mean, self._deviation = spread
        self._augmentation, self._batch, self._seed = augmentation, batch, seed
        windows = [len(window_starts(int(frames), front_end)) for frames in sources[0].archive.frames]
        self._rows = np.repeat(np.arange(len(windows)), windows)
        self._genres = sources[0].archive.genres if balance else None

    def __len__(self) -> int:
        """Steps in an epoch."""
        return max(len(self._rows) // self._batch, 1)

    def epoch(self, number: int) -> Iterator[TrainingBatch]:
        """The batches of one epoch; the next is made in a thread while the last is used."""
        rng = np.random.default_rng((self._seed, number))
        rows = rng.permutation(self._rows if self._genres is None else self._balanced(self._genres, rng))
        return prefetched(lambda step: self._made(rows, number, step), range(len(self)))

    def _balanced(self, genres: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.intp]:
        """As many rows as an epoch has, equally many of each genre: some rows are repeated, or left out."""
        names, kinds = np.unique(genres[self._rows], return_inverse=True)
        counts = np.full(len(names), len(self._rows) // len(names))
        counts[: len(self._rows) % len(names)] += 1
        return np.concatenate(
            [np.resize(rng.permutation(self._rows[kinds == kind]), count) for kind, count in enumerate(counts)]
        )

    def _made(self, shuffled: NDArray[np.intp], number: int, step: int) -> TrainingBatch:
        rng = np.random.default_rng((self._seed, number, step))
        first = shuffled[step * self._batch : (step + 1) * self._batch]
        parts = [self._cut(self._sources[0], first, rng)]
        for source in self._sources[1:]:
            rows = rng.integers(len(source.archive), size=round(self._batch * source.share))
            parts.append(self._cut(source, rows, rng))
        crops, genres, tags, tagged = (np.concatenate(part) for part in zip(*parts, strict=True))
        augmented = augment(through_rooms(crops, self._augmentation, self._bands, rng), self._augmentation, rng)
        features = (self._front_end.cepstra(augmented) - self._mean) / self._deviation
        return mixup_batch(TrainingBatch(features, genres, tags, tagged), self._augmentation.mixup, rng)

    def _cut(
        self, source: WindowSource, rows: NDArray[np.intp], rng: np.random.Generator
    ) -> tuple[LogMel, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Windows in decibels with the frames before them, (n, LEAD + frames, mels), and their targets."""
        archive, frames = source.archive, source.archive.frames[rows, None]
        starts = rng.integers(frames[:, 0] + 1 - self._front_end.frames)
        places = np.clip(starts[:, None] + np.arange(-LEAD, self._front_end.frames), 0, frames - 1)
        levels = archive.levels[rows[:, None], places] + np.float32(0.5)
        step = archive.range_db[rows] / np.float32(256.0)
        crops = archive.floor_db[rows][:, None, None] + levels * step[:, None, None]
        return crops, *source.targets.at(rows, starts, self._front_end)


def mixup_batch(batch: TrainingBatch, shape: float, rng: np.random.Generator) -> TrainingBatch:
    """Mixup (Zhang and others, 2018): blend each row with another, with weights of a Beta distribution."""
    if not shape:
        return batch
    weight = rng.beta(shape, shape, len(batch.features)).astype(np.float32)
    weight = np.maximum(weight, 1.0 - weight)
    other = rng.permutation(len(weight))

    def blend(one: NDArray[np.float32]) -> NDArray[np.float32]:
        share = weight.reshape(-1, *[1] * (one.ndim - 1))
        return one * share + one[other] * (1.0 - share)

    return TrainingBatch(*map(blend, batch))
