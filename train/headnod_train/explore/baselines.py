"""Comparison of methods on the same windows of the same tracks, and on audio clips of them.

Hyperparameters are chosen by cross-validation by artist inside the train split; the evaluated split is used once.
YAMNet's own labels and the MusiCNN tagger with logistic regression need waveforms, so they are evaluated on clips of
the tracks of an archive, beside bundles on the same clips.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from headnod.errors import AudioError, HeadnodError
from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.pipeline.listener import score_file
from headnod_train.console import print_line, progress_bar, text_table
from headnod_train.dataset.archive import Archive
from headnod_train.dataset.split import folds
from headnod_train.degradation import read_all
from headnod_train.distillation.tagging import FRONT_END as TAGGER_FRONT_END
from headnod_train.distillation.window_sets import GENRES, RATE, Yamnet, genre_scores, read_classes
from headnod_train.evaluation.evaluate import trained_on
from headnod_train.evaluation.listener_sounds import audio_files
from headnod_train.evaluation.metrics import Share, by_track, share_right
from headnod_train.evaluation.predictions import predict
from headnod_train.explore import classical
from headnod_train.explore.classical import FRONT_END, window_summaries

LEAKY = "LEAKY: windows of the same tracks are in both splits, so these figures measure memory"
LEARNED = "LEAKY: trained on these tracks"
HOW = (
    "windows of 3 s every 3 s; tracks by mean log score of their windows; ci95 by bootstrap over tracks; "
    "settings by cross-validation by artist inside the train split"
)
_FOLDS = 3


class ComparisonError(HeadnodError, ValueError):
    """A collection is too small for a comparison."""


class MethodResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Results of one method."""

    method: str
    settings: dict[str, int | float]
    """Hyperparameters, given or chosen by cross-validation."""

    windows: Share
    tracks: Share
    seconds: float
    """Time of fitting and prediction, including the choice of hyperparameters."""


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All methods on one split of one archive."""

    data: str
    split: str
    leaky: bool
    """Splits share tracks, so figures measure memory."""

    learned_from: int
    """Tracks of the train split."""

    how: str
    """Method of the evaluation."""

    rows: list[MethodResult]

    clips: list[MethodResult] = []
    """Results on audio clips of tracks of the split."""


class Scorer:
    """Scores predictions on the evaluated split."""

    def __init__(self, archive: Archive, labels: tuple[str, ...]) -> None:
        """Score on these tracks; `labels` is the order of genres in predictions."""
        self._targets = archive.targets(labels)

    def result(
        self, method: str, settings: dict[str, int | float], probabilities: NDArray[np.float32],
        tracks: NDArray[np.intp], seconds: float,
    ) -> MethodResult:  # fmt: skip
        """The results of a method, from its probabilities for each window and the track of each window."""
        right = probabilities.argmax(axis=1) == self._targets[tracks]
        named = by_track(probabilities, tracks).argmax(axis=1) == self._targets
        return MethodResult(
            method, settings, share_right(right, tracks), share_right(named, np.arange(len(named))), round(seconds, 1)
        )


def compare(
    archive: Archive,
    *,
    data: str,
    split: str,
    bundles: Sequence[GenreModel],
    epochs: int,
    seed: int,
    jobs: int,
    console: Console,
) -> Comparison:
    """Fit every method on the train split and evaluate it on another one.

    Raises:
        ArchiveError: A split is empty, or genres differ.
        ComparisonError: The train split has one genre.
        SplitError: The train split has too few artists.
    """
    train, evaluated = archive.subset("train"), archive.subset(split)
    labels = train.labels
    if len(labels) < 2:  # noqa: PLR2004
        raise ComparisonError(f"{data}: the train split has one genre, {labels[0]}: a comparison needs two")
    scorer, rows = Scorer(evaluated, labels), []
    with progress_bar(console, transient=True) as progress:
        rows += _classical(train, evaluated, scorer, seed=seed, jobs=jobs, progress=progress)
        if epochs:
            rows.append(_script(train, evaluated, scorer, epochs=epochs, seed=seed, progress=progress))
    for model in bundles:
        learned = trained_on(model.manifest, archive, data=data, split=split)
        rows.append(_bundle(model, evaluated, learned=learned, console=console))
    return Comparison(data, split, archive.leaky, len(train), HOW, rows)


def tables(comparison: Comparison) -> list[Table]:
    """The results on the archive, and those on clips."""
    title = f"{comparison.data}, {comparison.split}"
    shown = [_table(comparison, title, comparison.rows, "tracks")]
    if comparison.clips:
        shown.append(_table(comparison, f"audio clips of {title}", comparison.clips, "clips"))
    return shown


def _table(comparison: Comparison, title: str, rows: Sequence[MethodResult], unit: str) -> Table:
    some = rows[0]
    caption = (
        f"accuracy, 95 % interval by track; {some.windows.count:,} windows,\n"
        f"{some.tracks.count:,} {unit}; trained on {comparison.learned_from:,} tracks"
    )
    return text_table(
        "", "windows", unit, "took",
        rows=((row.method, _cell(row.windows), _cell(row.tracks), f"{row.seconds:.0f} s") for row in rows),
        title=title, caption=f"{LEAKY}\n{caption}" if comparison.leaky else caption,
    )  # fmt: skip


def _cell(share: Share) -> str:
    return f"{share.accuracy:.1%} ({100 * share.ci95[0]:.0f} to {100 * share.ci95[1]:.0f})"


def _classical(
    train: Archive, evaluated: Archive, scorer: Scorer, *, seed: int, jobs: int, progress: Progress
) -> list[MethodResult]:
    learned, of_tracks = window_summaries(train)
    asked, tracks = window_summaries(evaluated)
    targets = train.targets(train.labels)[of_tracks]
    divided = [(one[of_tracks], other[of_tracks]) for one, other in folds(train, _FOLDS, seed=seed)]
    rows = []
    for method in classical.METHODS:
        task, began = progress.add_task(method.name, total=None), time.monotonic()

        def advance(total: int, task: TaskID = task) -> None:
            progress.update(task, total=total, advance=1)

        fitted = classical.fit_method(
            method, learned, targets, divided, labels=len(train.labels), jobs=jobs, advance=advance
        )
        probabilities = fitted.probabilities(asked)
        settings: dict[str, int | float] = {name.rpartition("__")[2]: value for name, value in fitted.settings.items()}
        rows.append(scorer.result(method.name, settings, probabilities, tracks, time.monotonic() - began))
        _done(progress, task, rows[-1])
    return rows


def _script(
    train: Archive, evaluated: Archive, scorer: Scorer, *, epochs: int, seed: int, progress: Progress
) -> MethodResult:
    from headnod_train.explore import script_network  # noqa: PLC0415 - TensorFlow takes seconds

    began, targets = time.monotonic(), train.targets(train.labels)
    task = progress.add_task("the script's network, number of epochs", total=epochs)
    fitted, held_out = folds(train, _FOLDS, seed=seed)[0]
    _, accuracies = script_network.train(
        train.chosen(fitted), targets[fitted], FRONT_END, labels=len(train.labels), epochs=epochs, seed=seed,
        held_out=(train.chosen(held_out), targets[held_out]), advance=lambda: progress.advance(task),
    )  # fmt: skip
    needed = script_network.best_epochs(accuracies)
    progress.reset(task, total=needed, description="the script's network")
    network, _ = script_network.train(
        train, targets, FRONT_END, labels=len(train.labels), epochs=needed, seed=seed,
        advance=lambda: progress.advance(task),
    )  # fmt: skip
    probabilities = script_network.probabilities(network, evaluated, FRONT_END)
    windows = [len(evaluated.windows(track, FRONT_END)) for track in range(len(evaluated))]
    settings: dict[str, int | float] = {"epochs": needed, "parameters": network.count_params()}
    row = scorer.result(
        "the script's network",
        settings,
        probabilities,
        np.repeat(np.arange(len(windows)), windows),
        time.monotonic() - began,
    )
    _done(progress, task, row)
    return row


def _bundle(model: GenreModel, evaluated: Archive, *, learned: bool, console: Console) -> MethodResult:
    began = time.monotonic()
    answers = predict(model, evaluated, console=console)
    scores = answers.scores(model.manifest.temperature)
    method = f"{model.manifest.id} (int8)" + (f", {LEARNED}" if learned else "")
    return Scorer(evaluated, model.labels).result(method, {}, scores, answers.tracks, time.monotonic() - began)


def _done(progress: Progress, task: TaskID, row: MethodResult) -> None:
    progress.remove_task(task)
    settings = ", ".join(f"{name} {value:g}" for name, value in row.settings.items())
    progress.console.print(
        f"{row.method} ({settings}): {row.tracks.accuracy:.1%} of tracks after {row.seconds:.0f} s", highlight=False
    )


SECONDS = 3.0
_FAINT = 0.003
"""Added to YAMNet's scores before they are normalised: smaller scores are noise."""

ClipScores = Callable[[Path], NDArray[np.float32]]
"""Probabilities for the windows of an audio file, shape (windows, labels)."""


@dataclass(frozen=True)
class ClipMethod:
    """A method that classifies audio files."""

    name: str
    scores: ClipScores
    settings: Mapping[str, int | float]


def find_track_clips(folder: Path, archive: Archive) -> dict[int, Path]:
    """Audio files with the names of tracks, by row of the archive.

    Raises:
        AudioError: The folder has no audio.
        ComparisonError: No file has the name of a track.
    """
    rows = {str(track): row for row, track in enumerate(archive.tracks)}
    found = {rows[path.stem]: path for path in audio_files(folder) if path.stem in rows}
    if not found:
        raise ComparisonError(f"{folder}: no file has the name of one of the {len(rows)} tracks")
    return found


def compare_on_clips(
    archive: Archive,
    clips: Mapping[int, Path],
    methods: Sequence[ClipMethod],
    *,
    labels: tuple[str, ...],
    console: Console,
) -> list[MethodResult]:
    """Evaluate methods on audio clips of the tracks of an archive."""
    rows = []
    with progress_bar(console, transient=True) as progress:
        for method in methods:
            task, began = progress.add_task(f"{method.name} on clips", total=len(clips)), time.monotonic()
            scores, tracks = [], []
            for track, path in sorted(clips.items()):
                try:
                    found = method.scores(path)
                except AudioError as error:
                    print_line(console, f"left out: {error}")
                else:
                    scores.append(found)
                    tracks.append(track)
                progress.advance(task)
            if not scores:
                raise ComparisonError(f"{method.name}: none of the {len(clips)} clips could be read")
            of_clip = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
            scorer = Scorer(archive.chosen(np.array(tracks, np.intp)), labels)
            took = time.monotonic() - began
            rows.append(scorer.result(method.name, dict(method.settings), np.concatenate(scores), of_clip, took))
            progress.remove_task(task)
    return rows


def cut(audio: Audio, size: int, every: int) -> list[Audio]:
    """Windows of a clip, as the device cuts a file.

    Args:
        audio: Mono samples, shape (n,).
        size: Samples of a window; a shorter clip is repeated.
        every: Samples from one window to the next. A last window ends at the end of the clip if more than a sixth of
            `every` would be left.
    """
    if audio.size < size:
        return [np.resize(audio, size)]
    starts = list(range(0, audio.size - size + 1, every))
    if audio.size - starts[-1] - size > every // 6:
        starts.append(audio.size - size)
    return [audio[start : start + size] for start in starts]


def yamnet_method(model: Path, classes: Path, labels: tuple[str, ...]) -> ClipMethod:
    """YAMNet without training: the highest score among the AudioSet classes of each genre.

    Raises:
        YamnetError: A file cannot be used.
        ComparisonError: A genre has no AudioSet class.
    """
    if unknown := [label for label in labels if label not in GENRES]:
        raise ComparisonError(f"YAMNet has no class for {', '.join(unknown)} (it has {', '.join(GENRES)})")
    network, names = Yamnet(model), read_classes(classes)
    size = round(SECONDS * RATE)

    def scores(path: Path) -> NDArray[np.float32]:
        windows = cut(read_all(path, RATE), size, size)
        found = genre_scores(np.stack([network.scores(window) for window in windows]), names, labels) + _FAINT
        return np.asarray(found / found.sum(axis=1, keepdims=True), np.float32)

    return ClipMethod("YAMNet, without training", scores, {})


def tagger_method(train: Archive, tags: Path, wheel: Path) -> ClipMethod:
    """The MusiCNN tagger with a logistic regression from its tags to genres, fitted on the train split.

    Raises:
        TaggerError: The wheel or the file of tags cannot be used.
    """
    from headnod_train.distillation.tagger import Tagger, read_weights  # noqa: PLC0415 - TensorFlow takes seconds
    from headnod_train.distillation.targets import choose_strength, fit_head, read_tags  # noqa: PLC0415 - scikit-learn

    rows, genres, artists = read_tags(tags, train, train.labels)
    strength = choose_strength(rows, genres, artists)
    head, network = fit_head(rows, genres, inverse_strength=strength), Tagger(read_weights(wheel))
    every = round(SECONDS * TAGGER_FRONT_END.sample_rate)

    def scores(path: Path) -> NDArray[np.float32]:
        windows = cut(read_all(path, TAGGER_FRONT_END.sample_rate), TAGGER_FRONT_END.window_samples, every)
        found = network.predict(np.stack([TAGGER_FRONT_END.log_mel(window) for window in windows])).tags
        return np.exp(head.log_probabilities(found)).astype(np.float32)

    return ClipMethod("MusiCNN tags, logistic regression", scores, {"C": strength})


def bundle_method(model: GenreModel, *, learned: bool) -> ClipMethod:
    """A bundle, by the code of the device; "not music" is left out of its scores."""
    rate, labels = model.front_end.sample_rate, len(model.labels)

    def scores(path: Path) -> NDArray[np.float32]:
        found = score_file(path.name, [read_all(path, rate)], model)
        return np.stack(found.scores or [found.whole])[:, :labels]

    name = f"{model.manifest.id} (int8)"
    return ClipMethod(f"{name}, {LEARNED}" if learned else name, scores, {})
