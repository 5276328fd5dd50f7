"""Evaluation: what a bundle is worth on music whose genre is known.

Without TensorFlow: the int8 file is run as the device runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from headnod.inference.manifest import MODEL
from headnod.inference.model import GenreModel
from headnod_train.dataset.archive import Archive
from headnod_train.evaluation import answer_metrics
from headnod_train.evaluation.comparison import against, compare_to_float, stated_agreement
from headnod_train.evaluation.conditions import AcousticCondition
from headnod_train.evaluation.degraded import degraded
from headnod_train.evaluation.genre_changes import song_changes
from headnod_train.evaluation.level_invariance import level_flips
from headnod_train.evaluation.not_music import SECONDS, not_music
from headnod_train.evaluation.predictions import predict
from headnod_train.evaluation.results import Evaluation
from headnod_train.evaluation.sound_sets import clips_of

HOW = (
    "the file of the bundle through headnod.inference.model and headnod.pipeline.smoothing; windows of 3 s every 3 s; "
    "tracks by mean log score of their windows; stream after 12 s: every estimate from then on, smoothed as the "
    "listener does; ci95 by bootstrap over tracks"
)


@dataclass(frozen=True)
class SoundFolders:
    """Folders of audio."""

    music: Path | None = None
    """Clips called as the tracks are."""

    other: Path | None = None
    """What is no music, a folder in it for each kind."""

    seconds: int = SECONDS
    """Of each sound that is made by a formula."""


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
        archive: Tracks to hear.
        data: What the archive is called.
        split: The side of it to hear.
        console: Where progress is shown.
        conditions: What else may happen to the music, each measured for itself.
        float_model: The same network before quantising, to compare with.
        other: Another model, to compare with.
        sounds: Audio to try the whole listener on.
        learned: The model learned from these tracks, so every figure is to be marked.

    Raises:
        ArchiveError: The split is empty, or a genre is none of the model's.
        EvaluationError: The other model hears windows of another length.
        AudioError: A folder of sounds holds nothing that fits, or a file that cannot be read.
    """
    played, manifest, labels = archive.subset(split), model.manifest, model.labels
    heard = predict(model, played, console=console)
    beside = compare_to_float(heard, predict(float_model, played, console=console)) if float_model else None
    stated = None if beside else stated_agreement(manifest)
    clips = clips_of(sounds.music, set(map(str, played.tracks)), model) if sounds and sounds.music else []
    return Evaluation(
        model=manifest.id,
        sha256=manifest.sha256.get(MODEL, ""),
        recipe=manifest.training.recipe,
        data=data,
        split=split,
        leaky=archive.leaky or learned,
        learned=learned,
        how=HOW,
        temperature=manifest.temperature,
        certainty=manifest.rejection.threshold,
        single=manifest.single,
        windows=answer_metrics.windows_share([heard]),
        tracks=answer_metrics.tracks_share([heard], manifest.temperature),
        stream=answer_metrics.stream_of([heard], manifest),
        calibration=answer_metrics.reliability_of([heard], manifest),
        unsaid=answer_metrics.risk_coverage(heard, manifest),
        genres=answer_metrics.genres_of(heard, labels, manifest.temperature),
        confusion=answer_metrics.confusion_of(heard, labels, manifest.temperature),
        changes=song_changes(model, played, named=answer_metrics.tracks_named(heard, manifest.temperature)[1]),
        float_agreement=beside.agreement if beside else stated,
        float_agreement_of="measured here" if beside else _stated_by(manifest.id) if stated is not None else None,
        floating=beside,
        degraded=degraded(model, played, heard, conditions, float_model=float_model, console=console)
        if conditions
        else None,
        against=against(model, heard, played, other, console=console) if other else None,
        level=level_flips(model, clips) if clips else None,
        not_music=not_music(model, sounds.other, clips, seconds=sounds.seconds) if sounds else None,
    )


def _stated_by(bundle: str) -> str:
    return f"as {bundle} says of itself; --float measures it"
