"""An evaluation: everything that was measured, as it is written to JSON, shown in a report and kept in a bundle.

Shares are between 0 and 1, points are hundredths of that. `null` means that the figure was not measured.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from headnod.errors import HeadnodError
from headnod.inference.manifest import Calibration
from headnod_train.evaluation.metrics import Bin, Share, wilson_interval


class EvaluationError(HeadnodError, ValueError):
    """An evaluation cannot be made or read as requested."""


class ResultPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of an evaluation: frozen, without unknown fields in JSON."""


class StreamAccuracy(Share, frozen=True, forbid_unknown_fields=True):
    """Accuracy of the smoothed stream from some second of each track on."""

    named: float
    """Share of estimates above the threshold."""

    accuracy_of_named: float
    """Accuracy of the estimates above the threshold."""


class StreamResult(ResultPart, frozen=True, kw_only=True):
    """What the listener would show while a track plays. A field is `null` if no track is long enough."""

    after_3s: StreamAccuracy | None = None
    after_6s: StreamAccuracy | None = None
    after_12s: StreamAccuracy | None = None

    moments: tuple[tuple[float, float], ...] = ()
    """Seconds since the start of a track, and accuracy of the estimates at that time."""


class CalibrationResult(ResultPart, frozen=True, kw_only=True):
    """Calibration of probabilities."""

    ece: float
    """Expected calibration error of the stream, 15 bins."""

    honest: float
    """Noise floor: the error that perfectly calibrated probabilities would show on these tracks."""

    ece_of_windows: float
    """Expected calibration error of single windows, without smoothing."""

    curve: tuple[Bin, ...] = ()
    """Reliability diagram of the stream."""


class RiskCoverage(ResultPart, frozen=True, kw_only=True):
    """Risk and coverage: the stream after 12 s if the least confident estimates are rejected."""

    accuracy_of_80: Share | None
    """Accuracy at 80 % coverage; `null` if no track is long enough."""

    curve: tuple[tuple[float, float], ...]
    """Coverage, and accuracy at that coverage."""


class GenreResult(ResultPart, frozen=True, kw_only=True):
    """One genre."""

    label: str
    windows: float
    """Accuracy of its windows."""

    tracks: float
    """Accuracy of its tracks."""

    count: int
    """Number of its tracks."""

    @property
    def tracks_ci95(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy of its tracks."""
        return wilson_interval(self.tracks, self.count)


class Confusion(ResultPart, frozen=True, kw_only=True):
    """Confusion matrices: rows are the true genre, columns the predicted one, both in the order of `labels`."""

    labels: tuple[str, ...]
    windows: list[list[int]]
    tracks: list[list[int]]


class ConditionLoss(ResultPart, frozen=True, kw_only=True):
    """Loss under a condition against clean music, in points."""

    windows: float
    tracks: float
    stream_after_12s: float | None


class ConditionResult(ResultPart, frozen=True, kw_only=True):
    """The same tracks under one acoustic condition."""

    name: str
    how: str
    """Transforms and their ranges."""

    windows: Share
    tracks: Share
    stream: StreamResult
    calibration: CalibrationResult
    loss_points: ConditionLoss
    refused: float
    """Share of the estimates below the threshold."""

    float_agreement: float | None = None


class DegradedResult(ResultPart, frozen=True, kw_only=True):
    """All conditions together, and each of them."""

    windows: Share
    tracks: Share
    stream: StreamResult
    calibration: CalibrationResult
    float_agreement: float | None
    mean_loss_points: ConditionLoss
    worst_loss_points: ConditionLoss
    worst: str
    """Condition with the largest loss of windows."""

    conditions: tuple[ConditionResult, ...]


class PairedTest(ResultPart, frozen=True, kw_only=True):
    """Exact McNemar test (1947) of two models on the same music."""

    this_only: int
    """Predictions that only this model has right."""

    other_only: int
    """Predictions that only the other model has right."""

    p: float
    """Two-sided p-value."""


class ModelComparison(ResultPart, frozen=True, kw_only=True):
    """A second model on the same music."""

    model: str
    windows: Share
    tracks: Share
    by_tracks: PairedTest
    """By whole tracks."""

    by_windows_of_tracks: PairedTest
    """Sign test: tracks of which one model has more windows right than the other."""

    by_windows: PairedTest
    """By windows. Windows of a track are not independent, so this p-value is too small to decide by."""


class FloatComparison(ResultPart, frozen=True, kw_only=True):
    """The int8 file against the float network that it was converted from."""

    agreement: float
    """Share of windows with the same prediction."""

    float_windows: Share
    """Accuracy of the float network."""

    lost_points: float
    """Points of windows that int8 loses."""


class GenreChanges(ResultPart, frozen=True, kw_only=True):
    """Tracks of alternating genres played as one stream."""

    changes: int
    """Changes between two tracks that the model classifies correctly as a whole."""

    median_seconds: float | None
    """Delay from a change to the first estimate of the new genre; `null` if most are never named."""

    median_seconds_of_all: float | None
    """The same over every change."""

    never: float
    """Share of `changes` whose new genre was not named before the next change."""

    seconds: tuple[float, ...]
    """Delays of the changes that were named, sorted."""

    spurious_per_10_min: float
    """Changes of the shown genre beyond the one per track."""


class Gain(ResultPart, frozen=True, kw_only=True):
    """Clips played at another level."""

    decibels: float
    windows: int
    """Windows that are neither clipped nor silent at either level."""

    flips: int
    """Windows whose unsmoothed prediction changes."""

    flips_16_bit: int
    """The same with audio rounded to 16 bits, as from a microphone."""

    silent: int
    """Windows that become silent for the listener."""


class Level(ResultPart, frozen=True, kw_only=True):
    """Dependence of predictions on the level."""

    clips: int
    gains: tuple[Gain, ...]


class SoundResult(ResultPart, frozen=True, kw_only=True):
    """One kind of sound other than music."""

    name: str
    windows: int
    named: int
    """Estimates with a genre."""


class Refusal(ResultPart, frozen=True, kw_only=True):
    """Music in noise without a genre."""

    snr: float | None
    """Signal-to-noise ratio in decibels; `null` for clean music."""

    windows: int
    refused: int
    """Windows classified as unknown or silence."""

    silent: int
    """Windows of these that were rejected before the network, as silence or steady noise."""


class NotMusic(ResultPart, frozen=True, kw_only=True):
    """The whole listener on sounds other than music."""

    named: float
    """Share of their windows with a genre."""

    sounds: tuple[SoundResult, ...]
    music: tuple[Refusal, ...] = ()
    """Clips in noise; empty without clips."""


class DoubtfulTrack(ResultPart, frozen=True, kw_only=True):
    """A track whose answer fits its label least."""

    track: str
    label: str
    answer: str
    """Most likely genre of the whole track."""

    probability: float
    """Of its label, over the whole track (0-1)."""

    second: float
    """Where the window begins whose probability of the label is the lowest."""

    length: float
    """Of the track in the archive, in seconds."""


class Evaluation(ResultPart, frozen=True, kw_only=True):
    """A model measured on an archive."""

    model: str
    """Name and version of the bundle."""

    sha256: str
    """SHA-256 of the model file; empty for a network that is not packed yet."""

    recipe: dict[str, str | int | float | bool]
    """Training recipe, from the manifest."""

    data: str
    """Name of the archive."""

    split: str

    leaky: bool
    """Segments of one track are in several splits, or `learned`: the figures do not apply to other music."""

    how: str
    """Method, in one line."""

    temperature: float
    certainty: float
    """Threshold of the stream."""

    single: Calibration | None
    """Temperature and threshold of single windows."""

    windows: Share
    tracks: Share
    stream: StreamResult
    calibration: CalibrationResult
    unsaid: RiskCoverage
    genres: tuple[GenreResult, ...]
    confusion: Confusion
    changes: GenreChanges | None
    """`null` if there is only one genre."""

    float_agreement: float | None
    """Share of windows on which the float network predicts the same genre."""

    float_agreement_of: str | None
    """Source of that figure: measured here, or from the manifest."""

    tracks_by_artist: Share | None = None
    """Accuracy of whole tracks with an interval by artist; `null` if no artist is known."""

    learned: bool = False
    """This model, or the one that it is compared with, was trained on the evaluated tracks."""

    floating: FloatComparison | None = None
    degraded: DegradedResult | None = None
    against: ModelComparison | None = None
    level: Level | None = None
    not_music: NotMusic | None = None
    doubtful: tuple[DoubtfulTrack, ...] = ()
    """The worst first."""


def load(path: Path) -> Evaluation:
    """Read an evaluation."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Evaluation)
    except OSError as error:
        raise EvaluationError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path}: {error} (it must be what 'headnod-train evaluate --json' writes)") from error
