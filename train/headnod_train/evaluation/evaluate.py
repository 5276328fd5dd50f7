"""Evaluation of a bundle on an archive of known genres, clean and under acoustic conditions.

Runs the int8 file through the device's own classes; TensorFlow is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from headnod.inference.manifest import MODEL, Manifest
from headnod.inference.model import GenreModel
from headnod_train.dataset.archive import Archive
from headnod_train.evaluation import predictions as of
from headnod_train.evaluation.comparison import against, agreement, compare_to_float, stated_agreement
from headnod_train.evaluation.conditions import AcousticCondition
from headnod_train.evaluation.listener_sounds import SECONDS, level_flips, matching_clips, not_music
from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.predictions import Predictions, predict
from headnod_train.evaluation.results import ConditionLoss, ConditionResult, DegradedResult, Evaluation, StreamResult
from headnod_train.evaluation.song_naming import song_changes
from headnod_train.packaging.provenance import TRACK_HASHES, is_gtzan_name, training_names

HOW = (
    "the file of the bundle through headnod.inference.model and headnod.pipeline.smoothing; windows of 3 s every 3 s; "
    "tracks by mean log score of their windows; stream after 12 s: every estimate from then on, smoothed as in the "
    "listener; ci95 by bootstrap over tracks"
)


@dataclass(frozen=True)
class SoundFolders:
    """Folders of audio for tests of the whole listener."""

    music: Path | None = None
    """Clips with the names of tracks of the archive."""

    other: Path | None = None
    """Sounds other than music, one folder for each kind."""

    seconds: int = SECONDS
    """Length of each synthetic sound."""


def evaluate(
    model: GenreModel,
    archive: Archive,
    *,
    data: str,
    split: str,
    console: Console,
    conditions: Sequence[AcousticCondition] = (),
    float_model: GenreModel | None = None,
    other: GenreModel | None = None,
    sounds: SoundFolders | None = None,
    learned: bool = False,
) -> Evaluation:
    """Measure a model.

    Args:
        model: The model of a bundle.
        archive: Tracks.
        data: Name of the archive.
        split: Split to evaluate on.
        console: Shows progress.
        conditions: Acoustic conditions, each measured separately.
        float_model: The network before quantisation, to compare with.
        other: Another model to compare with.
        sounds: Audio for tests of the whole listener.
        learned: The model was trained on these tracks, so every figure is labelled.

    Raises:
        ArchiveError: The split is empty, or a genre is not a label of the model.
        EvaluationError: The other model has windows of another length.
        AudioError: A folder has no matching sound, or a file cannot be read.
    """
    tracks, manifest, labels = archive.subset(split), model.manifest, model.labels
    clean = predict(model, tracks, console=console)
    beside = compare_to_float(clean, predict(float_model, tracks, console=console)) if float_model else None
    stated = None if beside else stated_agreement(manifest)
    clips = matching_clips(sounds.music, set(map(str, tracks.tracks)), model) if sounds and sounds.music else []
    return Evaluation(
        model=manifest.id,
        sha256=manifest.sha256.get(MODEL, ""),
        recipe={name: value for name, value in manifest.training.recipe.items() if name != TRACK_HASHES},
        data=data,
        split=split,
        leaky=archive.leaky or learned,
        learned=learned,
        how=HOW,
        temperature=manifest.temperature,
        certainty=manifest.rejection.threshold,
        single=manifest.single,
        windows=of.windows_share([clean]),
        tracks=of.tracks_share([clean], manifest.temperature),
        tracks_by_artist=of.tracks_by_artist(clean, manifest.temperature, tracks.artists),
        stream=of.stream_result([clean], manifest),
        calibration=of.calibration_result([clean], manifest),
        unsaid=of.risk_coverage(clean, manifest),
        genres=of.genre_results(clean, labels, manifest.temperature),
        confusion=of.confusion_of(clean, labels, manifest.temperature),
        changes=song_changes(model, tracks, named=clean.by_track(manifest.temperature)[1]),
        float_agreement=beside.agreement if beside else stated,
        float_agreement_of="measured here" if beside else _stated_by(manifest.id) if stated is not None else None,
        floating=beside,
        degraded=_degraded(model, tracks, clean, conditions, float_model, console) if conditions else None,
        against=against(model, clean, tracks, other, console=console) if other else None,
        level=level_flips(model, clips) if clips else None,
        not_music=not_music(model, sounds.other, clips, seconds=sounds.seconds) if sounds else None,
        doubtful=of.doubtful_tracks(clean, tracks, model.front_end, labels, manifest.temperature),
    )


def _stated_by(bundle: str) -> str:
    return f"from the manifest of {bundle}; --float measures it"


def _degraded(
    model: GenreModel,
    tracks: Archive,
    clean: Predictions,
    conditions: Sequence[AcousticCondition],
    float_model: GenreModel | None,
    console: Console,
) -> DegradedResult:
    """The same tracks under each condition, and all conditions together."""
    manifest = model.manifest
    before = _accuracy([clean], manifest)
    parts, rows, agreeing = [], [], []
    for condition in conditions:
        degraded = predict(model, tracks, through=condition, console=console)
        agrees = None
        if float_model is not None:
            agrees = agreement(degraded, predict(float_model, tracks, through=condition, console=console))
            agreeing.append(agrees)
        shown = degraded.shown(manifest.temperature, manifest.rejection.threshold)
        parts.append(degraded)
        after = _accuracy([degraded], manifest)
        rows.append(
            ConditionResult(
                name=condition.name,
                how=condition.how,
                windows=after.windows,
                tracks=after.tracks,
                stream=after.stream,
                calibration=of.calibration_result([degraded], manifest),
                loss_points=_loss(before, after),
                refused=round(float((shown < 0).mean()), 4),
                float_agreement=agrees,
            )
        )
    worst = max(rows, key=lambda row: row.loss_points.windows)
    mean_agreement = round(sum(agreeing) / len(agreeing), 4) if agreeing else stated_agreement(manifest, degraded=True)
    together = _accuracy(parts, manifest)
    return DegradedResult(
        windows=together.windows,
        tracks=together.tracks,
        stream=together.stream,
        calibration=of.calibration_result(parts, manifest),
        float_agreement=mean_agreement,
        mean_loss_points=_loss(before, together),
        worst_loss_points=worst.loss_points,
        worst=worst.name,
        conditions=tuple(rows),
    )


class _Accuracy(NamedTuple):
    windows: Share
    tracks: Share
    stream: StreamResult


def _accuracy(parts: Sequence[Predictions], manifest: Manifest) -> _Accuracy:
    """Accuracy over all parts, which is the mean of each: every condition has equally many predictions."""
    return _Accuracy(
        of.windows_share(parts), of.tracks_share(parts, manifest.temperature), of.stream_result(parts, manifest)
    )


def _loss(before: _Accuracy, after: _Accuracy) -> ConditionLoss:
    clean, degraded = before.stream.after_12s, after.stream.after_12s
    return ConditionLoss(
        windows=_points(before.windows.accuracy - after.windows.accuracy),
        tracks=_points(before.tracks.accuracy - after.tracks.accuracy),
        stream_after_12s=_points(clean.accuracy - degraded.accuracy) if clean and degraded else None,
    )


def _points(share: float) -> float:
    return round(100.0 * share, 2)


def training_splits(manifest: Manifest) -> list[str]:
    """The splits of its archive that a model was trained on."""
    return str(manifest.training.recipe.get("sides", "train")).split(", ")


def trained_on(manifest: Manifest, archive: Archive, *, data: str, split: str) -> bool:
    """Whether a model was trained on tracks of a split of an archive.

    Names of GTZAN tracks are compared in every archive, other names in an archive with the name of the training data.
    Otherwise an archive with that name, or with as many tracks in those splits, is taken for the training data.
    """
    recipe, splits = manifest.training.recipe, training_splits(manifest)
    known = training_names(recipe, map(str, archive.tracks[archive.splits == split]))
    if known is not None and (recipe.get("data") == data or any(map(is_gtzan_name, known))):
        return bool(known)
    same = recipe.get("data") == data or recipe.get("tracks") == int(np.isin(archive.splits, splits).sum())
    return same and split in splits


def training_files(manifest: Manifest, files: Iterable[Path]) -> list[str] | None:
    """Names of audio files that are training tracks of a model; None if its manifest has no hashes of track names."""
    return training_names(manifest.training.recipe, (file.stem for file in files))


def may_be_training_data(manifest: Manifest, files: Iterable[Path]) -> bool:
    """Whether audio files have names of GTZAN tracks, and the model was trained on GTZAN."""
    return "GTZAN" in manifest.training.data and any(is_gtzan_name(file.stem) for file in files)
