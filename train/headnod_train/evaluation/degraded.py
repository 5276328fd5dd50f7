"""A model under conditions that recordings do not have: what each costs, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from headnod.inference.model import GenreModel
from headnod_train.dataset.archive import Archive
from headnod_train.evaluation.answer_metrics import reliability_of, stream_of, tracks_share, windows_share
from headnod_train.evaluation.comparison import agreement, stated_agreement
from headnod_train.evaluation.conditions import AcousticCondition
from headnod_train.evaluation.predictions import Predictions, predict
from headnod_train.evaluation.result_parts import ConditionLoss, ConditionResult, DegradedResult


def degraded(
    model: GenreModel,
    played: Archive,
    clean: Predictions,
    conditions: Sequence[AcousticCondition],
    *,
    float_model: GenreModel | None,
    console: Console,
) -> DegradedResult:
    """Hear the same tracks under each condition.

    Args:
        model: What is measured.
        played: The tracks.
        clean: What it said of them as they are.
        conditions: What happens to them, one after another.
        float_model: The same network before quantising, if at hand.
        console: Where progress is shown.
    """
    hearings, rows, agreeing = [], [], []
    for condition in conditions:
        heard = predict(model, played, through=condition, console=console)
        agrees = None
        if float_model is not None:
            agrees = agreement(heard, predict(float_model, played, through=condition, console=console))
            agreeing.append(agrees)
        hearings.append(heard)
        rows.append(_row(model, heard, clean, condition, agrees))
    worst = max(rows, key=lambda row: row.loss_points.windows)
    temperature = model.manifest.temperature
    return DegradedResult(
        windows=windows_share(hearings),
        tracks=tracks_share(hearings, temperature),
        stream=stream_of(hearings, model.manifest),
        calibration=reliability_of(hearings, model.manifest),
        float_agreement=round(sum(agreeing) / len(agreeing), 4)
        if agreeing
        else stated_agreement(model.manifest, degraded=True),
        mean_loss_points=_loss(model, hearings, clean),
        worst_loss_points=worst.loss_points,
        worst=worst.name,
        conditions=tuple(rows),
    )


def _row(
    model: GenreModel, heard: Predictions, clean: Predictions, condition: AcousticCondition, agrees: float | None
) -> ConditionResult:
    manifest = model.manifest
    shown = heard.shown(manifest.temperature, manifest.rejection.threshold)
    return ConditionResult(
        name=condition.name,
        how=condition.how,
        windows=windows_share([heard]),
        tracks=tracks_share([heard], manifest.temperature),
        stream=stream_of([heard], manifest),
        calibration=reliability_of([heard], manifest),
        loss_points=_loss(model, [heard], clean),
        refused=round(float((shown < 0).mean()), 4),
        float_agreement=agrees,
    )


def _loss(model: GenreModel, hearings: Sequence[Predictions], clean: Predictions) -> ConditionLoss:
    """Every condition has as many answers, so the loss of all is the mean of each."""
    manifest = model.manifest
    before, after = stream_of([clean], manifest).after_12s, stream_of(hearings, manifest).after_12s
    return ConditionLoss(
        windows=_points(windows_share([clean]).accuracy - windows_share(hearings).accuracy),
        tracks=_points(
            tracks_share([clean], manifest.temperature).accuracy - tracks_share(hearings, manifest.temperature).accuracy
        ),
        stream_after_12s=_points(before.accuracy - after.accuracy) if before and after else None,
    )


def _points(share: float) -> float:
    return round(100.0 * share, 2)
