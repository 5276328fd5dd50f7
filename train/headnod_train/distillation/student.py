"""Training of `genre-small` on prepared windows and mixtures of them, with the predictions of the teachers as targets.

The predictions are for the clean sound; the input is that or the degraded copy, so the output should not depend on the
room. The embedding of the large network is a target too, through a linear layer that is not part of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.features.frontend import Features, FrontEnd
from headnod.inference.manifest import sigmoid, softmax
from headnod_train.acoustics import Bands
from headnod_train.backend import keras, repeatable
from headnod_train.dataset.archive import Archive
from headnod_train.distillation.mixtures import Mixtures
from headnod_train.distillation.recordings import RecordingError
from headnod_train.distillation.window_sets import WindowSet
from headnod_train.training import run_folder
from headnod_train.training.archive_batches import DistillationBatch, labelled, prefetched, with_tags
from headnod_train.training.augment import LEAD, MelAugmentation, cosine_deviations, through_rooms
from headnod_train.training.fit import StartingWeights, apply, spread_of
from headnod_train.training.genre_network import (
    build,
    multiply_adds,
    with_embedding,
    with_tag_head,
    with_teacher_embedding,
)
from headnod_train.training.loop import TrainingLoop, train_epochs
from headnod_train.training.run_folder import Recipe, TrainingSettings

COEFFICIENTS = 64
"""Cepstral coefficients in the input of the small network."""

SHARES = {"music": 0.2, "gtzan": 0.25, "mixture": 0.41, "speech": 0.05, "noise": 0.09}
"""Share of each kind of recording in a batch."""

DROPOUT = (0.0, 0.1)
"""Shares of dropout in the network, which is too small to learn its windows by heart."""

_DEGRADED = 0.5
"""Share of degraded windows."""

_FLAT = 0.05
"""Added to the deviation of each number of the embedding: some are almost constant."""

_WAVES = np.arange(1, 6)
"""Cosines over the bands in the equalisation; each is a coefficient of the transform."""

_TEACHER = 0.5
"""Share of the teachers' prediction in the target of a labelled window; the rest is its label."""

_ARCHIVE_EVERY = 1.5
"""Seconds from one window of an archive's track to the next."""

_IS_MUSIC = 0.5
"""Noise recordings with a higher YAMNet score for music are left out: some are jingles."""

_HARDLY_MUSIC = 0.2
"""Unlabelled music with a lower YAMNet score for music is not mixed: game music contains machines and voices."""


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
    """Features for the small network, not standardised, with their targets."""

    clean: NDArray[np.float16]
    """MFCCs, shape (n, frames, n_mfcc)."""

    degraded: NDArray[np.float16]
    """The same sound through loudspeaker, room and microphone, shape (n, frames, n_mfcc)."""

    kind: NDArray[np.str_]
    """`music`, `gtzan`, `speech`, `noise` or `mixture`, shape (n,)."""

    answers: NDArray[np.float32]
    """Probability of each genre and of `not music`, shape (n, labels + 1)."""

    tags: NDArray[np.float32]
    """Probability of each tag, shape (n, 50)."""

    embedding: NDArray[np.float32]
    """Embedding of the large network, NaN where it is unknown, shape (n, numbers)."""

    names: tuple[str, ...]
    """Names of the recordings."""

    archived: int = 0
    """Number of tracks of an archive among them."""

    def __len__(self) -> int:
        """Windows."""
        return len(self.kind)


def from_windows(
    windows: WindowSet, teachers: TeacherAnswers, embedding: NDArray[np.float32], front_end: FrontEnd
) -> TrainingSet:
    """Prepared windows with their targets, without jingles among the noises."""
    answers, useful = targets(windows, teachers)
    return TrainingSet(
        mfccs(windows.clean22[useful], front_end),
        mfccs(windows.degraded22[useful], front_end),
        windows.kind[useful],
        answers[useful],
        sigmoid(teachers.tags)[useful],
        embedding[useful],
        tuple(map(str, windows.names)),
    )


def mixable(windows: WindowSet, teachers: TeacherAnswers) -> NDArray[np.bool_]:
    """Whether each window may be part of a mixture, (n,)."""
    _, useful = targets(windows, teachers)
    return useful & ~((windows.kind == "music") & (teachers.music < _HARDLY_MUSIC))


def from_mixtures(mixtures: Mixtures) -> TrainingSet:
    """Mixtures of prepared windows with their targets."""
    predictions = mixtures.predictions
    return TrainingSet(
        mixtures.clean, mixtures.degraded, np.full(len(mixtures.clean), "mixture"),
        predictions.answers, predictions.tags, predictions.embedding, (),
    )  # fmt: skip


def from_archive(
    archive: Archive,
    tags: Path,
    labels: tuple[str, ...],
    front_end: FrontEnd,
    *,
    numbers: int,
    rng: np.random.Generator,
) -> TrainingSet:
    """Windows of labelled tracks in a log-mel archive, degraded in mel power.

    Args:
        archive: The tracks.
        tags: Their stored tags.
        labels: Genres.
        front_end: Front end of the small network.
        numbers: Size of the large network's embedding, which is unknown for these windows.
        rng: Random numbers.

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
        clean.append(mfccs(log_mel[places[:, LEAD:]], front_end))
        degraded.append(mfccs(through_rooms(log_mel[places], rooms, bands, rng), front_end))
        rows.append(np.full(len(first), track))
        starts.append(first)
    genres, likely, _ = known.at(np.concatenate(rows), np.concatenate(starts), front_end)
    unknown = np.full((len(genres), numbers), np.nan, np.float32)
    names = tuple(map(str, archive.tracks))
    return TrainingSet(
        np.concatenate(clean), np.concatenate(degraded), np.full(len(genres), "gtzan"),
        genres, likely, unknown, names, len(names),
    )  # fmt: skip


def joined(*sets: TrainingSet) -> TrainingSet:
    """The windows of all sets."""
    return TrainingSet(
        np.concatenate([each.clean for each in sets]),
        np.concatenate([each.degraded for each in sets]),
        np.concatenate([each.kind for each in sets]),
        np.concatenate([each.answers for each in sets]),
        np.concatenate([each.tags for each in sets]),
        np.concatenate([each.embedding for each in sets]),
        tuple(name for each in sets for name in each.names),
        sum(each.archived for each in sets),
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
        bands: int,
        spread: tuple[NDArray[np.float32], NDArray[np.float32]],
        equalise: float,
        settings: TrainingSettings,
    ) -> None:
        """Draw from windows.

        Args:
            windows: What to learn from.
            bands: Mel bands of the front end.
            spread: Mean and deviation of the features, each (n_mfcc,).
            equalise: Standard deviation of the equalisation, which is drawn anew for every window, in decibels.
            settings: Batch size and seed.
        """
        self._windows = windows
        self._mean, self._deviation = spread
        self._settings = settings
        # A cosine of height 1 over all bands is a coefficient of sqrt(bands / 2).
        self._equalise = (cosine_deviations(_WAVES, equalise) * np.sqrt(bands / 2.0)).astype(np.float32)
        known = np.isfinite(windows.embedding[:, 0])
        self._known = known.astype(np.float32)
        self._centre = windows.embedding[known].mean(axis=0)
        self._scale = windows.embedding[known].std(axis=0) + _FLAT
        self._music = (~np.isin(windows.kind, ("speech", "noise"))).astype(np.float32)
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

    def epoch(self, number: int) -> Iterator[DistillationBatch]:
        """The batches of one epoch, made in parallel with the training."""
        return prefetched(lambda step: self._made(number, step), range(len(self)))

    def _made(self, number: int, step: int) -> DistillationBatch:
        rng, windows = np.random.default_rng((self._settings.seed, number, step)), self._windows
        rows = np.concatenate([rng.choice(found, self._counts[kind]) for kind, found in self._rows.items()])
        features = _shown(windows, rows, rng.random(len(rows)) < _DEGRADED)
        heights = rng.standard_normal((len(rows), _WAVES.size), np.float32) * self._equalise
        features[:, :, _WAVES] += heights[:, None]
        embedding = (windows.embedding[rows] - self._centre) / self._scale
        return DistillationBatch(
            (features - self._mean) / self._deviation,
            windows.answers[rows],
            windows.tags[rows],
            self._music[rows],
            np.nan_to_num(embedding),
            self._known[rows] * self._music[rows],
        )


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
    teacher: str,
    start: StartingWeights | None = None,
    console: Console,
) -> keras.Model:
    """Train the small network and write its run folder.

    Returns:
        The network with the moving average of its weights: answers, tags and embedding.
    """
    repeatable(settings.seed)
    spread = _spread(windows) if start is None else spread_of(start)
    recipe = Recipe(
        data, windows.archived, labels, front_end,
        tuple(map(float, spread[0])), tuple(map(float, spread[1])),
        augmentation, settings, tags="musicnn", other="not_music", teachers=("musicnn", "yamnet", teacher),
        prepared=len(windows.names) - windows.archived, tag_names=tag_names,
        mixtures=int((windows.kind == "mixture").sum()),
    )  # fmt: skip
    run_folder.start(run, recipe, windows.names)
    batches = StudentBatches(
        windows, bands=front_end.n_mels, spread=spread, equalise=augmentation.equalise, settings=settings
    )
    network = build(front_end, windows.answers.shape[1], spread, settings.width, dropout=DROPOUT)
    console.print(
        f"{len(windows):,} windows of {len(windows.names)} recordings; {network.count_params():,} parameters, "
        f"{multiply_adds(network) / 1e6:.1f} M multiply-adds a window",
        highlight=False,
    )
    if start is not None:
        shown = windows.clean[:: max(len(windows) // 1000, 1)].astype(np.float32)
        apply(start, network, (shown - spread[0]) / spread[1], labels)
    with_tags_out = with_tag_head(network, windows.tags.shape[1])
    taught = with_teacher_embedding(with_tags_out, windows.embedding.shape[1])
    loop = TrainingLoop(taught, steps=settings.epochs * len(batches), rate=settings.rate, decay=settings.decay)
    return train_epochs(
        loop, with_embedding(with_tags_out), batches, None, settings,
        run=run, console=console,
    )  # fmt: skip


def _shown(windows: TrainingSet, rows: NDArray[np.intp], degraded: NDArray[np.bool_]) -> Features:
    """Windows by their rows, clean or degraded, (n, frames, n_mfcc)."""
    shown = np.empty((len(rows), *windows.clean.shape[1:]), np.float32)
    shown[~degraded] = windows.clean[rows[~degraded]]
    shown[degraded] = windows.degraded[rows[degraded]]
    return shown


def mfccs(log_mel: NDArray[np.floating], front_end: FrontEnd) -> NDArray[np.float16]:
    """MFCCs as a `TrainingSet` has them, (n, frames, n_mfcc), of windows of (n, frames, n_mels)."""
    return front_end.cepstra(log_mel.astype(np.float32)).astype(np.float16)


def _spread(windows: TrainingSet) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation of each coefficient over some thousand windows, each (n_mfcc,)."""
    rows = np.unique(np.linspace(0, len(windows) - 1, 4000).astype(np.intp))
    features = _shown(windows, rows, np.arange(len(rows)) % 2 == 0)
    return features.mean(axis=(0, 1)), np.maximum(features.std(axis=(0, 1)), np.float32(1e-3))
