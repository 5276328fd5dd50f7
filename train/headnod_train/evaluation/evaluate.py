"""Evaluation of a bundle on an archive of known genres, clean and under conditions, alone and against another model.

Runs the int8 file through the device's own classes; TensorFlow is not needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import binomtest

from headnod.errors import ManifestError
from headnod.inference.manifest import MODEL, Manifest
from headnod.inference.model import GenreModel
from headnod_train.dataset.archive import Archive
from headnod_train.evaluation import predictions as of
from headnod_train.evaluation.conditions import AcousticCondition
from headnod_train.evaluation.listener_sounds import SECONDS, level_flips, matching_clips, not_music, song_changes
from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.predictions import Predictions, predict, tracks_share, windows_share
from headnod_train.evaluation.results import (
    ConditionLoss,
    ConditionResult,
    DegradedResult,
    Evaluation,
    EvaluationError,
    FloatComparison,
    ModelComparison,
    PairedTest,
    StreamResult,
)
from headnod_train.training.provenance import TRACK_HASHES, is_gtzan_name, training_names
from headnod_train.training.run_folder import with_outputs


def compare_to_float(quantised: Predictions, exact: Predictions) -> FloatComparison:
    """The int8 network against the float network on the same music."""
    return FloatComparison(
        agreement=agreement(quantised, exact),
        float_windows=windows_share([exact]),
        lost_points=round(100.0 * float(exact.right.mean() - quantised.right.mean()), 2),
    )


def agreement(one: Predictions, other: Predictions) -> float:
    """Share of windows with the same prediction."""
    return round(float((one.guesses == other.guesses).mean()), 4)


def stated_agreement(manifest: Manifest, *, degraded: bool = False) -> float | None:
    """The agreement with the float network that a bundle states; it does not contain that network."""
    measured = manifest.measured.get("degraded") if degraded else manifest.measured
    found = measured.get("float_agreement") if isinstance(measured, dict) else None
    return float(found) if isinstance(found, int | float) else None


def against(
    model: GenreModel, first: Predictions, tracks: Archive, other: GenreModel, *, console: Console
) -> ModelComparison:
    """McNemar's test by tracks and by windows."""
    ours, theirs = model.front_end, other.front_end
    if (ours.frames, ours.hop, ours.n_mels) != (theirs.frames, theirs.hop, theirs.n_mels):
        raise EvaluationError(
            f"{other.manifest.id} has windows of {theirs.frames} frames and {theirs.n_mels} bands, {model.manifest.id} "
            f"of {ours.frames} and {ours.n_mels} (compare them on audio files: --audio without --data)"
        )
    second = predict(other, tracks, console=console)
    by_track = (
        np.equal(*first.by_track(model.manifest.temperature)),
        np.equal(*second.by_track(other.manifest.temperature)),
    )
    counts = [np.bincount(first.tracks, weights=right) for right in (first.right, second.right)]
    return ModelComparison(
        model=other.manifest.id,
        windows=windows_share([second]),
        tracks=tracks_share([second], other.manifest.temperature),
        by_tracks=paired_test(*by_track),
        by_windows_of_tracks=paired_test(counts[0] > counts[1], counts[1] > counts[0]),
        by_windows=paired_test(first.right, second.right),
    )


def paired_test(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedTest:
    """McNemar's test of two models, by what each has right, (n,)."""
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    p = binomtest(one, one + other).pvalue if one + other else 1.0
    return PairedTest(this_only=one, other_only=other, p=float(f"{p:.3g}"))


def float_model_of(model: GenreModel, file: Path) -> GenreModel:
    """The float network in a file, with the manifest of the bundle that was converted from it."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{file}: {error.strerror}") from error
    ends = model.manifest.input, model.manifest.output
    taken, given = (msgspec.structs.replace(end, type="float32") for end in ends)
    try:
        manifest = msgspec.structs.replace(model.manifest, input=taken, output=given, outputs=())
        return GenreModel(with_outputs(manifest, content), content)
    except ManifestError as error:
        raise ManifestError(f"{file}: {error}") from error


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

    Raises:
        ArchiveError: The split is empty, or a genre is not a label of the model.
        EvaluationError: The other model has windows of another length.
        AudioError: A folder has no matching sound, or a file cannot be read.
    """
    tracks, manifest, labels = archive.subset(split), model.manifest, model.labels
    clean = predict(model, tracks, console=console)
    beside = compare_to_float(clean, predict(float_model, tracks, console=console)) if float_model else None
    stated, source = (None, "measured here") if beside else (stated_agreement(manifest), None)
    if stated is not None:
        source = f"from the manifest of {manifest.id}; --float measures it"
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
        float_agreement_of=source,
        floating=beside,
        degraded=_degraded(model, tracks, clean, conditions, float_model, console) if conditions else None,
        against=against(model, clean, tracks, other, console=console) if other else None,
        level=level_flips(model, clips) if clips else None,
        not_music=not_music(model, sounds.other, clips, seconds=sounds.seconds) if sounds else None,
        doubtful=of.doubtful_tracks(clean, tracks, model.front_end, labels, manifest.temperature),
    )


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

    Names of GTZAN tracks are compared in every archive, and so are those of a model that was taught with a folder of
    music; other names in an archive with the name of the training data. Otherwise an archive with that name, or with as
    many tracks in those splits, is taken for the training data.
    """
    recipe, splits = manifest.training.recipe, training_splits(manifest)
    known = training_names(recipe, map(str, archive.tracks[archive.splits == split]))
    if known is not None and (recipe.get("data") in {data, None} or any(map(is_gtzan_name, known))):
        return bool(known)
    same = recipe.get("data") == data or recipe.get("tracks") == int(np.isin(archive.splits, splits).sum())
    return same and split in splits


def may_be_training_data(manifest: Manifest, files: Iterable[Path]) -> bool:
    """Whether audio files have names of GTZAN tracks, and the model was trained on GTZAN."""
    return "GTZAN" in manifest.training.data and any(is_gtzan_name(file.stem) for file in files)
