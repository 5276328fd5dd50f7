"""A model beside another on the same music: its own float network, or any other bundle."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.errors import ManifestError
from headnod.inference.manifest import Manifest
from headnod.inference.model import GenreModel
from headnod_train.dataset.archive import Archive
from headnod_train.evaluation.answer_metrics import tracks_named, tracks_share, windows_right, windows_share
from headnod_train.evaluation.metrics import exact_binomial
from headnod_train.evaluation.predictions import Predictions, predict
from headnod_train.evaluation.result_parts import FloatComparison, ModelComparison, PairedTest
from headnod_train.evaluation.results import EvaluationError
from headnod_train.packaging.output_tensors import with_outputs


def compare_to_float(heard: Predictions, exact: Predictions) -> FloatComparison:
    """What int8 changes: the same music through both networks."""
    share = windows_share([exact])
    return FloatComparison(
        agreement=agreement(heard, exact),
        float_windows=share,
        lost_points=round(100.0 * float(windows_right(exact).mean() - windows_right(heard).mean()), 2),
    )


def agreement(heard: Predictions, exact: Predictions) -> float:
    """Share of windows on which both name the same genre."""
    return round(float((exact.guesses == heard.guesses).mean()), 4)


def stated_agreement(manifest: Manifest, *, degraded: bool = False) -> float | None:
    """What a bundle says of its agreement with its float network, which it does not carry."""
    measured = manifest.measured.get("degraded") if degraded else manifest.measured
    found = measured.get("float_agreement") if isinstance(measured, dict) else None
    return float(found) if isinstance(found, int | float) else None


def against(
    model: GenreModel, heard: Predictions, played: Archive, other: GenreModel, *, console: Console
) -> ModelComparison:
    """McNemar's test, by tracks and by windows.

    Raises:
        EvaluationError: The other hears windows of another length.
    """
    ours, theirs = model.front_end, other.front_end
    if (ours.frames, ours.hop, ours.n_mels) != (theirs.frames, theirs.hop, theirs.n_mels):
        message = (
            f"{other.manifest.id} hears {theirs.frames} frames of {theirs.n_mels} bands, {model.manifest.id} "
            f"{ours.frames} of {ours.n_mels} (compare models that hear the same windows)"
        )
        raise EvaluationError(message)
    second = predict(other, played, console=console)
    windows = windows_right(heard), windows_right(second)
    tracks = (
        np.equal(*tracks_named(heard, model.manifest.temperature)),
        np.equal(*tracks_named(second, other.manifest.temperature)),
    )
    counts = [np.bincount(heard.tracks, weights=right) for right in windows]
    return ModelComparison(
        model=other.manifest.id,
        windows=windows_share([second]),
        tracks=tracks_share([second], other.manifest.temperature),
        by_tracks=_paired(*tracks),
        by_windows_of_tracks=_paired(counts[0] > counts[1], counts[1] > counts[0]),
        by_windows=_paired(*windows),
    )


def _paired(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedTest:
    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    return PairedTest(this_only=one, other_only=other, p=float(f"{exact_binomial(one, other):.3g}"))


def float_beside(model: GenreModel, file: Path) -> GenreModel:
    """The float network that a bundle was made of, with everything else as the bundle has it.

    Raises:
        EvaluationError: The file cannot be read.
        ManifestError: It is no network of the same shape.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        message = f"{file}: {error.strerror}"
        raise EvaluationError(message) from error
    ends = model.manifest.input, model.manifest.output
    taken, given = (msgspec.structs.replace(end, type="float32") for end in ends)
    try:
        manifest = msgspec.structs.replace(model.manifest, input=taken, output=given, outputs=())
        return GenreModel(with_outputs(manifest, content), content)
    except ManifestError as error:
        message = f"{file}: {error}"
        raise ManifestError(message) from error
