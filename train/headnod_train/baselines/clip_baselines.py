"""Baselines on audio clips: YAMNet's own labels, and the MusiCNN tagger with logistic regression.

Both need waveforms, so they are evaluated on clips of the tracks of an archive, beside bundles on the same clips.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.errors import AudioError
from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.pipeline.listener import score_file
from headnod_train.baselines.method_comparison import LEARNED, ComparisonError, Row, Scorer
from headnod_train.console import print_line, progress_bar
from headnod_train.dataset.archive import Archive
from headnod_train.distillation.degradation import read_all
from headnod_train.distillation.yamnet import GENRES, RATE, Yamnet, genre_scores, read_classes
from headnod_train.evaluation.listener_sounds import audio_files
from headnod_train.tagger.tagger_output import FRONT_END

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
        message = f"{folder}: no file has the name of one of the {len(rows)} tracks"
        raise ComparisonError(message)
    return found


def compare_on_clips(
    archive: Archive,
    clips: Mapping[int, Path],
    methods: Sequence[ClipMethod],
    *,
    labels: tuple[str, ...],
    console: Console,
    clock: Callable[[], float] = time.monotonic,
) -> list[Row]:
    """Evaluate methods on audio clips of the tracks of an archive.

    Args:
        archive: The evaluated tracks.
        clips: Audio file of some of its rows.
        methods: What is evaluated.
        labels: Order of the genres in the scores.
        console: Shows progress, and names files that a method cannot read.
        clock: Monotonic clock in seconds.

    Raises:
        ComparisonError: No clip can be read.
    """
    rows = []
    with progress_bar(console, transient=True) as progress:
        for method in methods:
            task, began = progress.add_task(f"{method.name} on clips", total=len(clips)), clock()
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
                message = f"{method.name}: none of the {len(clips)} clips could be read"
                raise ComparisonError(message)
            of_clip = np.repeat(np.arange(len(scores)), [len(each) for each in scores])
            scorer = Scorer(archive.chosen(np.array(tracks, np.intp)), labels)
            rows.append(
                scorer.row(method.name, dict(method.settings), np.concatenate(scores), of_clip, clock() - began)
            )
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
        message = f"YAMNet has no class for {', '.join(unknown)} (it has {', '.join(GENRES)})"
        raise ComparisonError(message)
    network, names = Yamnet(model), read_classes(classes)
    size = round(SECONDS * RATE)

    def scores(path: Path) -> NDArray[np.float32]:
        windows = cut(read_all(path, RATE), size, size)
        found = genre_scores(np.stack([network.scores(window) for window in windows]), names, labels) + _FAINT
        return np.asarray(found / found.sum(axis=1, keepdims=True), np.float32)

    return ClipMethod("YAMNet, without training", scores, {})


def tagger_method(train: Archive, tags: Path, wheel: Path) -> ClipMethod:
    """The MusiCNN tagger with a logistic regression from its tags to genres, fitted on the train split.

    Args:
        train: Tracks of the train split; stored tags of others are ignored.
        tags: Stored tags, as `headnod-train tag` writes them.
        wheel: The wheel of musicnn 0.1.0.

    Raises:
        TaggerError: The wheel or the file of tags cannot be used.
    """
    from headnod_train.pretrained.head import choose_strength, fit_head, read_tags  # noqa: PLC0415 - scikit-learn
    from headnod_train.tagger.tagger_network import Tagger  # noqa: PLC0415 - TensorFlow takes seconds
    from headnod_train.tagger.wheel import read_weights  # noqa: PLC0415

    rows, genres, artists = read_tags(tags, train, train.labels)
    strength = choose_strength(rows, genres, artists)
    head, network = fit_head(rows, genres, inverse_strength=strength), Tagger(read_weights(wheel))
    every = round(SECONDS * FRONT_END.sample_rate)

    def scores(path: Path) -> NDArray[np.float32]:
        windows = cut(read_all(path, FRONT_END.sample_rate), FRONT_END.window_samples, every)
        found = network.predict(np.stack([FRONT_END.log_mel(window) for window in windows])).tags
        return np.exp(head.log_probabilities(found)).astype(np.float32)

    return ClipMethod("MusiCNN tags, logistic regression", scores, {"C": strength})


def bundle_method(model: GenreModel, *, learned: bool) -> ClipMethod:
    """A bundle, by the code of the device; "not music" is left out of its scores.

    Args:
        model: The model of the bundle.
        learned: It was trained on tracks of the clips.
    """
    rate, labels = model.front_end.sample_rate, len(model.labels)

    def scores(path: Path) -> NDArray[np.float32]:
        found = score_file(path.name, [read_all(path, rate)], model)
        return np.stack(found.scores or [found.whole])[:, :labels]

    name = f"{model.manifest.id} (int8)"
    return ClipMethod(f"{name}, {LEARNED}" if learned else name, scores, {})
