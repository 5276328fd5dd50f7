"""Figures of what a model said: of one hearing of an archive, or of several together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headnod.inference.manifest import Manifest
from headnod_train.dataset.archive import WINDOW_STEP_SECONDS
from headnod_train.evaluation.metrics import (
    Probabilities,
    Share,
    by_track,
    calibration_error,
    confusion,
    most_confident,
    noise_floor,
    reliability,
    share_right,
    top_confidence,
)
from headnod_train.evaluation.predictions import Predictions
from headnod_train.evaluation.result_parts import (
    CalibrationResult,
    Confusion,
    GenreResult,
    RiskCoverage,
    StreamAccuracy,
    StreamResult,
)

SETTLED = 12.0
"""Seconds after which the stream is judged: smoothing has little to add then."""
SAID = 0.8
"""Share of estimates that is left when the least certain fifth is left unsaid."""


def windows_right(heard: Predictions) -> NDArray[np.bool_]:
    """Whether each window was named right, shape (windows,)."""
    return np.asarray(heard.guesses == heard.targets)


def tracks_named(heard: Predictions, temperature: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """What each track was, and what it was named by the mean log score of its windows, shape (tracks,) both."""
    played = heard.targets[np.unique(heard.tracks, return_index=True)[1]]
    return played, by_track(heard.scores(temperature), heard.tracks).argmax(axis=1)


def windows_share(hearings: Sequence[Predictions]) -> Share:
    """Windows named right."""
    return share_right(
        np.concatenate([windows_right(heard) for heard in hearings]),
        np.concatenate([heard.tracks for heard in hearings]),
    )


def tracks_share(hearings: Sequence[Predictions], temperature: float) -> Share:
    """Whole tracks named right."""
    right = [np.equal(*tracks_named(heard, temperature)) for heard in hearings]
    return share_right(np.concatenate(right), np.concatenate([np.arange(len(each)) for each in right]))


def stream_of(hearings: Sequence[Predictions], manifest: Manifest) -> StreamResult:
    """The genres that the listener names, from 3, 6 and 12 s of each track on."""
    certainty = manifest.rejection.threshold
    shown = np.concatenate([heard.shown(manifest.temperature, certainty) for heard in hearings])
    kept = np.concatenate([heard.kept(manifest.temperature) for heard in hearings])
    targets, tracks, seconds = _placed(hearings)
    settled = {}
    for name, start in (("after_3s", 3.0), ("after_6s", 6.0), ("after_12s", SETTLED)):
        late = seconds >= start
        settled[name] = stream_accuracy(kept[late], shown[late], targets[late], tracks[late]) if late.any() else None
    right = kept == targets
    moments = np.arange(1, int(seconds.max() / WINDOW_STEP_SECONDS) + 1) * WINDOW_STEP_SECONDS
    return StreamResult(
        **settled, moments=tuple((float(each), _rounded(right[seconds == each].mean())) for each in moments)
    )


def stream_accuracy(
    kept: NDArray[np.intp], shown: NDArray[np.intp], targets: NDArray[np.intp], tracks: NDArray[np.intp]
) -> StreamAccuracy:
    """Estimates against what was played: see `Predictions.kept` and `Predictions.shown`."""
    right, named = kept == targets, shown >= 0
    share = share_right(right, tracks)
    of_named = float(right[named].mean()) if named.any() else 0.0
    return StreamAccuracy(share.accuracy, share.ci95, share.count, _rounded(named.mean()), _rounded(of_named))


def reliability_of(hearings: Sequence[Predictions], manifest: Manifest) -> CalibrationResult:
    """How far scores are from chances: the stream's, and those of single windows as they are judged alone."""
    stream, targets, tracks, _ = _streamed(hearings, manifest.temperature)
    alone = manifest.single.temperature if manifest.single else manifest.temperature
    windows = np.concatenate([heard.scores(alone) for heard in hearings])
    return CalibrationResult(
        ece=_rounded(calibration_error(stream, targets)),
        honest=_rounded(noise_floor(stream, tracks)),
        ece_of_windows=_rounded(calibration_error(windows, targets)),
        curve=reliability(stream, targets),
    )


def risk_coverage(heard: Predictions, manifest: Manifest) -> RiskCoverage:
    """The settled stream when its least certain estimates are left unsaid (risk and coverage)."""
    stream, targets, tracks, seconds = _streamed([heard], manifest.temperature)
    late = seconds >= SETTLED
    if not late.any():
        return RiskCoverage(accuracy_of_80=None, curve=())
    confidence, right = top_confidence(stream[late]), stream[late].argmax(axis=1) == targets[late]
    said = most_confident(confidence, SAID)
    coverages = [share / 20 for share in range(20, 1, -1)]
    return RiskCoverage(
        accuracy_of_80=share_right(right[said], tracks[late][said]),
        curve=tuple((share, _rounded(right[most_confident(confidence, share)].mean())) for share in coverages),
    )


def genres_of(heard: Predictions, labels: tuple[str, ...], temperature: float) -> tuple[GenreResult, ...]:
    """Each genre that was played."""
    right, (played, named) = windows_right(heard), tracks_named(heard, temperature)
    return tuple(
        GenreResult(
            label=labels[each],
            windows=_rounded(right[heard.targets == each].mean()),
            tracks=_rounded((named == each)[played == each].mean()),
            count=int((played == each).sum()),
        )
        for each in np.unique(played)
    )


def confusion_of(heard: Predictions, labels: tuple[str, ...], temperature: float) -> Confusion:
    """What was taken for what."""
    played, named = tracks_named(heard, temperature)
    return Confusion(
        labels=labels,
        windows=confusion(heard.targets, heard.guesses, len(labels)).tolist(),
        tracks=confusion(played, named, len(labels)).tolist(),
    )


def _streamed(
    hearings: Sequence[Predictions], temperature: float
) -> tuple[Probabilities, NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    return np.concatenate([heard.stream(temperature) for heard in hearings]), *_placed(hearings)


def _placed(hearings: Sequence[Predictions]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    return (
        np.concatenate([heard.targets for heard in hearings]),
        np.concatenate([heard.tracks for heard in hearings]),
        np.concatenate([heard.seconds for heard in hearings]),
    )


def _rounded(value: float) -> float:
    return round(float(value), 4)
