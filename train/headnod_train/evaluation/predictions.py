"""Predictions of a model on an archive, through the device's own classes, and the figures computed from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.features.frontend import Features, FrontEnd
from headnod.inference.manifest import Manifest, softmax
from headnod.inference.model import GenreModel
from headnod.pipeline.listener import ListenerSettings
from headnod.pipeline.smoothing import Decision, GenreTracker
from headnod_train.acoustics import Bands
from headnod_train.console import tracked
from headnod_train.dataset.archive import WINDOW_STEP_SECONDS, Archive, window_starts
from headnod_train.evaluation.conditions import AcousticCondition
from headnod_train.evaluation.metrics import (
    Probabilities,
    Share,
    by_track,
    calibration_error,
    confusion,
    most_confident,
    noise_floor,
    reliability,
    rounded,
    share_right,
    top_confidence,
)
from headnod_train.evaluation.results import (
    CalibrationResult,
    Confusion,
    DoubtfulTrack,
    GenreResult,
    RiskCoverage,
    StreamAccuracy,
    StreamResult,
)

SETTLED = 12.0
"""Seconds of a track after which smoothing has little more to gain."""
COVERAGE = 0.8
"""Share of estimates that remains when the least confident fifth is rejected."""
_DOUBTFUL = 20


@dataclass(frozen=True)
class Predictions:
    """Outputs of a model for every window of an archive."""

    logits: NDArray[np.float32]
    """Shape (windows, outputs): see `GenreModel.answers`."""

    tracks: NDArray[np.intp]
    """Track of each window, in order, shape (windows,)."""

    targets: NDArray[np.intp]
    """True genre of each window, shape (windows,)."""

    labels: int
    """Number of genres; a further output is "not music"."""

    @property
    def guesses(self) -> NDArray[np.intp]:
        """Most likely genre of each window, shape (windows,)."""
        return self.logits[:, : self.labels].argmax(axis=1)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether that is the true genre, shape (windows,)."""
        return np.asarray(self.guesses == self.targets)

    def scores(self, temperature: float) -> NDArray[np.float32]:
        """Probabilities of each window, shape (windows, labels)."""
        return self._outputs(temperature)[:, : self.labels]

    def by_track(self, temperature: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """True genre of each track, and the one predicted by the mean log score of its windows, shape (tracks,)."""
        targets = self.targets[np.unique(self.tracks, return_index=True)[1]]
        return targets, by_track(self.scores(temperature), self.tracks).argmax(axis=1)

    def stream(self, temperature: float) -> NDArray[np.float32]:
        """The listener's smoothed scores after each window, shape (windows, labels); reset at each track."""
        return np.stack([each.scores for each in self._decisions(temperature)])[:, : self.labels]

    def shown(self, temperature: float, certainty: float) -> NDArray[np.intp]:
        """Genre that the listener shows after each window, -1 for none, shape (windows,)."""
        shown = [each.answer if each.above_threshold else -1 for each in self._decisions(temperature, certainty)]
        return np.array([answer if answer < self.labels else -1 for answer in shown], np.intp)

    def kept(self, temperature: float) -> NDArray[np.intp]:
        """Genre that the listener holds after each window whatever its confidence, shape (windows,).

        Where it holds "not music", the most likely genre.
        """
        held = [(each.answer, int(each.scores[: self.labels].argmax())) for each in self._decisions(temperature)]
        return np.array([answer if answer < self.labels else best for answer, best in held], np.intp)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Seconds from the start of the track to the end of each window, shape (windows,)."""
        first = np.flatnonzero(np.diff(self.tracks, prepend=-1))
        since = np.arange(len(self.tracks)) - np.repeat(first, np.diff(first, append=len(self.tracks)))
        return np.asarray((since + 1) * WINDOW_STEP_SECONDS, np.float64)

    def _outputs(self, temperature: float) -> NDArray[np.float32]:
        return softmax(self.logits / np.float32(temperature))

    def _decisions(self, temperature: float, certainty: float = 0.0) -> Iterator[Decision]:
        tracker, former = genre_tracker(certainty), None
        for window, track in zip(self._outputs(temperature), self.tracks, strict=True):
            if track != former:
                tracker.reset()
                former = track
            yield tracker.update(window)


def genre_tracker(certainty: float) -> GenreTracker:
    """The listener's smoothing and hysteresis with default settings, for a window every 3 s."""
    settings = ListenerSettings()
    return GenreTracker(seconds=settings.smoothing, every=WINDOW_STEP_SECONDS, lead=settings.lead, threshold=certainty)


def predict(
    model: GenreModel, archive: Archive, *, through: AcousticCondition | None = None, console: Console
) -> Predictions:
    """Run a model on every window of every track.

    Raises:
        ArchiveError: A genre of the archive is not a label of the model.
    """
    targets, bands = archive.targets(model.labels), Bands(model.front_end)
    description = f"{model.manifest.id}" + (f" ({through.name})" if through else "")
    logits: list[NDArray[np.float32]] = []
    tracks: list[int] = []
    for track in tracked(range(len(archive)), description, console):
        windows = _features(model, archive, track, through, bands)
        logits.extend(model.logits(window) for window in windows)
        tracks.extend([track] * len(windows))
    places = np.array(tracks, np.intp)
    return Predictions(np.stack(logits), places, targets[places], len(model.labels))


def _features(
    model: GenreModel, archive: Archive, track: int, through: AcousticCondition | None, bands: Bands
) -> Features:
    front_end = model.front_end
    if through is None:
        return front_end.cepstra(archive.windows(track, front_end))
    log_mel = through.apply(archive.log_mel(track), str(archive.tracks[track]), bands)
    starts = window_starts(len(log_mel), front_end)
    return front_end.cepstra(np.stack([log_mel[start : start + front_end.frames] for start in starts]))


def windows_share(parts: Sequence[Predictions]) -> Share:
    """Accuracy of windows, over several sets of predictions."""
    return share_right(np.concatenate([each.right for each in parts]), np.concatenate([each.tracks for each in parts]))


def tracks_share(parts: Sequence[Predictions], temperature: float) -> Share:
    """Accuracy of whole tracks, over several sets of predictions."""
    right = [np.equal(*each.by_track(temperature)) for each in parts]
    return share_right(np.concatenate(right), np.concatenate([np.arange(len(each)) for each in right]))


def tracks_by_artist(predictions: Predictions, temperature: float, artists: NDArray[np.int32]) -> Share | None:
    """Accuracy of whole tracks with an interval by artist; None if no artist is known.

    `artists` has the number of the artist of each track, -1 if unknown: such a track is a group of its own.
    """
    if (artists < 0).all():
        return None
    right = np.equal(*predictions.by_track(temperature))
    return share_right(right, np.where(artists < 0, artists.max() + 1 + np.arange(len(artists)), artists))


def stream_result(parts: Sequence[Predictions], manifest: Manifest) -> StreamResult:
    """Accuracy of the smoothed stream from 3, 6 and 12 s of each track on."""
    certainty = manifest.rejection.threshold
    shown = np.concatenate([each.shown(manifest.temperature, certainty) for each in parts])
    kept = np.concatenate([each.kept(manifest.temperature) for each in parts])
    targets, tracks, seconds = _placed(parts)
    settled = {}
    for name, start in (("after_3s", 3.0), ("after_6s", 6.0), ("after_12s", SETTLED)):
        late = seconds >= start
        settled[name] = stream_accuracy(kept[late], shown[late], targets[late], tracks[late]) if late.any() else None
    right = kept == targets
    moments = np.arange(1, int(seconds.max() / WINDOW_STEP_SECONDS) + 1) * WINDOW_STEP_SECONDS
    return StreamResult(
        **settled, moments=tuple((float(each), rounded(right[seconds == each].mean())) for each in moments)
    )


def stream_accuracy(
    kept: NDArray[np.intp], shown: NDArray[np.intp], targets: NDArray[np.intp], tracks: NDArray[np.intp]
) -> StreamAccuracy:
    """Accuracy of `Predictions.kept`, and of the estimates among them that are `shown`."""
    right, named = kept == targets, shown >= 0
    share = share_right(right, tracks)
    of_named = float(right[named].mean()) if named.any() else 0.0
    return StreamAccuracy(share.accuracy, share.ci95, share.count, rounded(named.mean()), rounded(of_named))


def calibration_result(parts: Sequence[Predictions], manifest: Manifest) -> CalibrationResult:
    """Calibration of the stream, and of single windows with their own temperature."""
    stream, targets, tracks, _ = _streamed(parts, manifest.temperature)
    alone = manifest.single.temperature if manifest.single else manifest.temperature
    windows = np.concatenate([each.scores(alone) for each in parts])
    return CalibrationResult(
        ece=rounded(calibration_error(stream, targets)),
        honest=rounded(noise_floor(stream, tracks)),
        ece_of_windows=rounded(calibration_error(windows, targets)),
        curve=reliability(stream, targets),
    )


def risk_coverage(predictions: Predictions, manifest: Manifest) -> RiskCoverage:
    """Accuracy of the settled stream if its least confident estimates are rejected."""
    stream, targets, tracks, seconds = _streamed([predictions], manifest.temperature)
    late = seconds >= SETTLED
    if not late.any():
        return RiskCoverage(accuracy_of_80=None, curve=())
    confidence, right = top_confidence(stream[late]), stream[late].argmax(axis=1) == targets[late]
    covered = most_confident(confidence, COVERAGE)
    coverages = [share / 20 for share in range(20, 1, -1)]
    return RiskCoverage(
        accuracy_of_80=share_right(right[covered], tracks[late][covered]),
        curve=tuple((share, rounded(right[most_confident(confidence, share)].mean())) for share in coverages),
    )


def genre_results(predictions: Predictions, labels: tuple[str, ...], temperature: float) -> tuple[GenreResult, ...]:
    """Accuracy by true genre."""
    right, (targets, named) = predictions.right, predictions.by_track(temperature)
    return tuple(
        GenreResult(
            label=labels[each],
            windows=rounded(right[predictions.targets == each].mean()),
            tracks=rounded((named == each)[targets == each].mean()),
            count=int((targets == each).sum()),
        )
        for each in np.unique(targets)
    )


def confusion_of(predictions: Predictions, labels: tuple[str, ...], temperature: float) -> Confusion:
    """Confusion matrices of windows and tracks."""
    return Confusion(
        labels=labels,
        windows=confusion(predictions.targets, predictions.guesses, len(labels)).tolist(),
        tracks=confusion(*predictions.by_track(temperature), len(labels)).tolist(),
    )


def doubtful_tracks(
    predictions: Predictions, archive: Archive, front_end: FrontEnd, labels: tuple[str, ...], temperature: float
) -> tuple[DoubtfulTrack, ...]:
    """The tracks whose label has the lowest probability, at most 20."""
    scores = predictions.scores(temperature)
    whole = softmax(by_track(scores, predictions.tracks))
    targets, answers = predictions.by_track(temperature)
    own, rate, found = whole[np.arange(len(targets)), targets], front_end.hop / front_end.sample_rate, []
    numbers = np.unique(predictions.tracks)
    for place in np.argsort(own, kind="stable")[:_DOUBTFUL]:
        track, frames = numbers[place], int(archive.frames[numbers[place]])
        worst = int(scores[predictions.tracks == track, targets[place]].argmin())
        found.append(
            DoubtfulTrack(
                track=str(archive.tracks[track]),
                label=labels[targets[place]],
                answer=labels[answers[place]],
                probability=rounded(own[place]),
                second=round(window_starts(frames, front_end)[worst] * rate, 1),
                length=round(frames * rate, 1),
            )
        )
    return tuple(found)


def _streamed(
    parts: Sequence[Predictions], temperature: float
) -> tuple[Probabilities, NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    return np.concatenate([each.stream(temperature) for each in parts]), *_placed(parts)


def _placed(parts: Sequence[Predictions]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    return (
        np.concatenate([each.targets for each in parts]),
        np.concatenate([each.tracks for each in parts]),
        np.concatenate([each.seconds for each in parts]),
    )
