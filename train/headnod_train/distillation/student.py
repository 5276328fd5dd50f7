"""Training of `genre-small` on prepared windows, with the predictions of the teachers as targets.

The predictions are for the clean sound; the input is that or the degraded copy, so the output should not depend on the
room.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.features.frontend import FrontEnd, LogMel
from headnod.inference.manifest import sigmoid, softmax
from headnod_train.acoustics import Bands
from headnod_train.backend import keras, repeatable
from headnod_train.dataset.archive import Archive
from headnod_train.distillation.recordings import Kind, RecordingError
from headnod_train.distillation.window_sets import WindowSet
from headnod_train.training import run_folder
from headnod_train.training.archive_batches import TrainingBatch, labelled, mixup_batch, prefetched, with_tags
from headnod_train.training.augment import LEAD, MelAugmentation, augment, through_rooms
from headnod_train.training.genre_network import build, multiply_adds, with_embedding, with_tag_head
from headnod_train.training.loop import TrainingLoop, train_epochs
from headnod_train.training.run_folder import Recipe, TrainingSettings

COEFFICIENTS = 64
"""Cepstral coefficients in the input of the small network."""

SHARES: dict[Kind, float] = {"music": 0.45, "gtzan": 0.35, "speech": 0.08, "noise": 0.12}
"""Share of each kind of recording in a batch."""

_DEGRADED = 0.6
"""Share of degraded windows."""

_TEACHER = 0.5
"""Share of the teachers' prediction in the target of a labelled window; the rest is its label."""

_ARCHIVE_EVERY = 1.5
"""Seconds from one window of an archive's track to the next."""

_IS_MUSIC = 0.5
"""Noise recordings with a higher YAMNet score for music are left out: some are jingles."""


@dataclass(frozen=True)
class TeacherAnswers:
    """Predictions of the teachers for the clean windows of a `WindowSet`."""

    genre: NDArray[np.float32]
    """Log-probability of each genre, shape (n, labels)."""

    music: NDArray[np.float32]
    """Probability that it is music, shape (n,)."""

    tags: NDArray[np.float32]
    """Logits of the tagger's tags, shape (n, 50)."""


@dataclass(frozen=True)
class TrainingSet:
    """Windows for the small front end, with their targets."""

    clean: NDArray[np.float16]
    """Decibels, shape (n, frames, mels)."""

    degraded: NDArray[np.float16]
    """The same sound through loudspeaker, room and microphone, shape (n, frames, mels)."""

    kind: NDArray[np.str_]
    """`music`, `gtzan`, `speech` or `noise`, shape (n,)."""

    answers: NDArray[np.float32]
    """Probability of each genre and of `not music`, shape (n, labels + 1)."""

    tags: NDArray[np.float32]
    """Probability of each tag, shape (n, 50)."""

    names: tuple[str, ...]
    """Names of the recordings."""

    archived: int = 0
    """Number of tracks of an archive among them."""

    def __len__(self) -> int:
        """Windows."""
        return len(self.kind)


def from_windows(windows: WindowSet, teachers: TeacherAnswers) -> TrainingSet:
    """Prepared windows with their targets, without jingles among the noises."""
    answers, useful = targets(windows, teachers)
    tags = sigmoid(teachers.tags)
    return TrainingSet(
        windows.clean22[useful],
        windows.degraded22[useful],
        windows.kind[useful],
        answers[useful],
        tags[useful],
        tuple(map(str, windows.names)),
    )


def from_archive(
    archive: Archive, tags: Path, labels: tuple[str, ...], front_end: FrontEnd, *, rng: np.random.Generator
) -> TrainingSet:
    """Windows of labelled tracks in a log-mel archive, degraded in mel power.

    Raises:
        TagsError: The tags cannot be used.
    """
    known = with_tags(labelled(archive, labels, front_end, other=True), archive, tags)
    every = round(_ARCHIVE_EVERY * front_end.sample_rate / front_end.hop)
    clean, degraded, rows, starts = [], [], [], []
    rooms, bands = MelAugmentation(rooms=1.0), Bands(front_end)
    for track in range(len(archive)):
        log_mel = archive.log_mel(track)
        first = np.arange(0, len(log_mel) - front_end.frames + 1, every)
        places = np.clip(first[:, None] + np.arange(-LEAD, front_end.frames), 0, None)
        clean.append(log_mel[places[:, LEAD:]].astype(np.float16))
        degraded.append(through_rooms(log_mel[places], rooms, bands, rng).astype(np.float16))
        rows.append(np.full(len(first), track))
        starts.append(first)
    genres, likely, _ = known.at(np.concatenate(rows), np.concatenate(starts), front_end)
    kind = np.full(len(genres), "gtzan")
    names = tuple(map(str, archive.tracks))
    return TrainingSet(np.concatenate(clean), np.concatenate(degraded), kind, genres, likely, names, len(names))


def joined(first: TrainingSet, second: TrainingSet) -> TrainingSet:
    """The windows of both."""
    return TrainingSet(
        np.concatenate([first.clean, second.clean]),
        np.concatenate([first.degraded, second.degraded]),
        np.concatenate([first.kind, second.kind]),
        np.concatenate([first.answers, second.answers]),
        np.concatenate([first.tags, second.tags]),
        (*first.names, *second.names),
        first.archived + second.archived,
    )


def targets(
    windows: WindowSet,
    teachers: TeacherAnswers,
    *,
    teacher_share: float = _TEACHER,
    music_gain: float = 2.0,
    smoothing: float = 0.0,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Target probabilities of genres and "not music".

    The target of music is the teachers' genre, mixed with the label if there is one; that of speech and noise is the
    last output, `not music`.

    Args:
        windows: Prepared windows.
        teachers: Predictions of the teachers.
        teacher_share: Share of the teachers' prediction in the target of a labelled window.
        music_gain: Multiplies YAMNet's score for music, which gives the probability that unlabelled music is music.
        smoothing: Share of each target that is spread evenly over all outputs.

    Returns:
        Probabilities, shape (n, labels + 1), and whether each window is used, shape (n,).
    """
    genre = softmax(teachers.genre)
    labelled_rows = windows.genre >= 0
    certain = np.eye(genre.shape[1], dtype=np.float32)[np.maximum(windows.genre, 0)]
    genre[labelled_rows] = teacher_share * genre[labelled_rows] + (1.0 - teacher_share) * certain[labelled_rows]
    listed_as_music = np.isin(windows.kind, ("music", "gtzan"))
    music = listed_as_music.astype(np.float32)
    # Game music contains machines and voices.
    unlabelled = windows.kind == "music"
    music[unlabelled] = np.clip(music_gain * teachers.music[unlabelled], 0.0, 1.0)
    useful = listed_as_music | (teachers.music < _IS_MUSIC)
    answers = np.column_stack([genre * music[:, None], 1.0 - music])
    return ((1.0 - smoothing) * answers + smoothing / answers.shape[1]).astype(np.float32), useful


class StudentBatches:
    """Batches of prepared windows, each determined by the seed, the epoch and the step."""

    def __init__(
        self,
        windows: TrainingSet,
        *,
        front_end: FrontEnd,
        spread: tuple[NDArray[np.float32], NDArray[np.float32]],
        augmentation: MelAugmentation,
        settings: TrainingSettings,
    ) -> None:
        """Draw from windows.

        Args:
            windows: What to learn from.
            front_end: How log-mel becomes features.
            spread: Mean and deviation of the features, each (n_mfcc,).
            augmentation: Equalisation, noise, masks and mixing, applied to every window anew.
            settings: Batch size and seed.
        """
        self._windows = windows
        self._front_end, self._mean, self._deviation = front_end, *spread
        self._augmentation, self._settings = augmentation, settings
        rows = {kind: np.flatnonzero(windows.kind == kind) for kind in SHARES}
        self._rows = {kind: found for kind, found in rows.items() if len(found)}
        if not {"music", "gtzan"} & self._rows.keys():
            raise RecordingError("there is no music among the prepared windows (name --clips or --music to `prepare`)")
        whole = sum(SHARES[kind] for kind in self._rows)
        self._counts = {kind: max(round(settings.batch * SHARES[kind] / whole), 1) for kind in self._rows}
        self._steps = max(sum(map(len, self._rows.values())) // settings.batch, 1)

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self._steps

    def epoch(self, number: int) -> Iterator[TrainingBatch]:
        """The batches of one epoch, made in parallel with the training."""
        return prefetched(lambda step: self._made(number, step), range(len(self)))

    def _made(self, number: int, step: int) -> TrainingBatch:
        rng = np.random.default_rng((self._settings.seed, number, step))
        rows = np.concatenate([rng.choice(found, self._counts[kind]) for kind, found in self._rows.items()])
        log_mel = _shown(self._windows, rows, rng.random(len(rows)) < _DEGRADED)
        features = self._front_end.cepstra(augment(log_mel, self._augmentation, rng))
        batch = TrainingBatch(
            ((features - self._mean) / self._deviation).astype(np.float32),
            self._windows.answers[rows],
            self._windows.tags[rows],
            np.ones(len(rows), np.float32),
        )
        return mixup_batch(batch, self._augmentation.mixup, rng)


def fit_student(
    windows: TrainingSet,
    run: Path,
    *,
    data: str,
    labels: tuple[str, ...],
    tag_names: tuple[str, ...],
    front_end: FrontEnd,
    settings: TrainingSettings,
    augmentation: MelAugmentation,
    console: Console,
) -> keras.Model:
    """Train the small network and write its run folder.

    Returns:
        The network with the moving average of its weights: answers, tags and embedding.
    """
    repeatable(settings.seed)
    spread = _spread(windows, front_end)
    recipe = Recipe(
        data, windows.archived, labels, front_end,
        tuple(map(float, spread[0])), tuple(map(float, spread[1])),
        augmentation, settings, tags="musicnn", other="not_music", teachers=("musicnn", "yamnet"),
        prepared=len(windows.names) - windows.archived, tag_names=tag_names,
    )  # fmt: skip
    run_folder.start(run, recipe, windows.names)
    batches = StudentBatches(windows, front_end=front_end, spread=spread, augmentation=augmentation, settings=settings)
    network = build(front_end, windows.answers.shape[1], spread, settings.width)
    console.print(
        f"{len(windows):,} windows of {len(windows.names)} recordings; {network.count_params():,} parameters, "
        f"{multiply_adds(network) / 1e6:.1f} M multiply-adds a window",
        highlight=False,
    )
    with_tags_out = with_tag_head(network, windows.tags.shape[1])
    loop = TrainingLoop(with_tags_out, steps=settings.epochs * len(batches), rate=settings.rate, decay=settings.decay)
    return train_epochs(
        loop, with_embedding(with_tags_out), batches, None, settings,
        run=run, console=console,
    )  # fmt: skip


def _shown(windows: TrainingSet, rows: NDArray[np.intp], degraded: NDArray[np.bool_]) -> LogMel:
    """Windows by their rows, clean or degraded, in decibels, shape (n, frames, mels)."""
    shown = np.empty((len(rows), *windows.clean.shape[1:]), np.float32)
    shown[~degraded] = windows.clean[rows[~degraded]]
    shown[degraded] = windows.degraded[rows[degraded]]
    return shown


def _spread(windows: TrainingSet, front_end: FrontEnd) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of each coefficient over some thousand windows, each (n_mfcc,)."""
    rows = np.unique(np.linspace(0, len(windows) - 1, 4000).astype(np.intp))
    features = front_end.cepstra(_shown(windows, rows, np.arange(len(rows)) % 2 == 0))
    return features.mean(axis=(0, 1)), np.maximum(features.std(axis=(0, 1)), np.float32(1e-3))
