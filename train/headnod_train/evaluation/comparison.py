"""A model against another on the same music: its own float network, or another bundle."""

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
from headnod_train.evaluation.metrics import exact_binomial
from headnod_train.evaluation.predictions import Predictions, predict, tracks_share, windows_share
from headnod_train.evaluation.results import EvaluationError, FloatComparison, ModelComparison, PairedTest
from headnod_train.packaging.output_tensors import with_outputs


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
    """McNemar's test by tracks and by windows.

    Raises:
        EvaluationError: The other model has windows of another length.
    """
    ours, theirs = model.front_end, other.front_end
    if (ours.frames, ours.hop, ours.n_mels) != (theirs.frames, theirs.hop, theirs.n_mels):
        message = (
            f"{other.manifest.id} has windows of {theirs.frames} frames and {theirs.n_mels} bands, {model.manifest.id} "
            f"of {ours.frames} and {ours.n_mels} (compare them on audio files: --audio without --data)"
        )
        raise EvaluationError(message)
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
    return PairedTest(this_only=one, other_only=other, p=float(f"{exact_binomial(one, other):.3g}"))


def float_model_of(model: GenreModel, file: Path) -> GenreModel:
    """The float network in a file, with the manifest of the bundle that was converted from it.

    Raises:
        EvaluationError: The file cannot be read.
        ManifestError: The network has another shape.
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
