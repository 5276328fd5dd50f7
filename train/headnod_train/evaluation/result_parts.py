"""The parts of an evaluation; headnod_train.evaluation.results puts them together.

Shares lie between 0 and 1, points are hundredths of that. `null` is what could
not be measured with what was given.
"""

from __future__ import annotations

import msgspec

from headnod_train.evaluation.metrics import Bin, Share


class ResultPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts of an evaluation are."""


class StreamAccuracy(Share, frozen=True, forbid_unknown_fields=True):
    """The stream once it has heard enough."""

    named: float
    """Share of estimates that reached the bundle's certainty."""

    accuracy_of_named: float
    """How often those were right."""


class StreamResult(ResultPart, frozen=True, kw_only=True):
    """What the listener would show while a track plays, from so many seconds of it on."""

    after_3s: StreamAccuracy | None = None
    after_6s: StreamAccuracy | None = None
    after_12s: StreamAccuracy | None = None
    """`null` where no track is long enough."""

    moments: tuple[tuple[float, float], ...] = ()
    """Seconds heard, and the share of estimates made just then that were right."""


class CalibrationResult(ResultPart, frozen=True, kw_only=True):
    """How far scores are from chances."""

    ece: float
    """Expected calibration error of the stream, 15 bins."""

    honest: float
    """What it would be on these tracks if every score were a true chance: less cannot be asked for."""

    ece_of_windows: float
    """The same of single windows, unsmoothed."""

    curve: tuple[Bin, ...] = ()
    """The stream's estimates by how sure they were."""


class RiskCoverage(ResultPart, frozen=True, kw_only=True):
    """The stream after 12 s when the least certain estimates are left unsaid."""

    accuracy_of_80: Share | None
    """Of the rest when a fifth is left unsaid; `null` where no track is long enough."""

    curve: tuple[tuple[float, float], ...]
    """Share said, and how often that was right."""


class GenreResult(ResultPart, frozen=True, kw_only=True):
    """One genre."""

    label: str
    windows: float
    """Share of its windows that were named right."""

    tracks: float
    """Share of its tracks."""

    count: int
    """Tracks played."""


class Confusion(ResultPart, frozen=True, kw_only=True):
    """Counts by what was played (rows) and what was said (columns)."""

    labels: tuple[str, ...]
    """Genres, in the order of rows and columns."""

    windows: list[list[int]]
    """Windows of 3 s."""

    tracks: list[list[int]]
    """Whole tracks."""


class ConditionLoss(ResultPart, frozen=True, kw_only=True):
    """What a condition costs against clean music, in points."""

    windows: float
    tracks: float
    stream_after_12s: float | None


class ConditionResult(ResultPart, frozen=True, kw_only=True):
    """One condition."""

    name: str
    how: str
    """What happened to each track."""

    windows: Share
    tracks: Share
    stream: StreamResult
    calibration: CalibrationResult
    loss_points: ConditionLoss
    refused: float
    """Share of all the stream's estimates that stayed under the certainty."""

    float_agreement: float | None = None


class DegradedResult(ResultPart, frozen=True, kw_only=True):
    """All conditions together: what a clean evaluation has, and what it loses."""

    windows: Share
    tracks: Share
    stream: StreamResult
    calibration: CalibrationResult
    float_agreement: float | None
    mean_loss_points: ConditionLoss
    worst_loss_points: ConditionLoss
    worst: str
    """The condition that costs most windows."""

    conditions: tuple[ConditionResult, ...]


class PairedTest(ResultPart, frozen=True, kw_only=True):
    """Where two models differ on the same music (McNemar, 1947), exact binomial."""

    this_only: int
    """Answers that only this model had right."""

    other_only: int
    """Answers that only the other had right."""

    p: float
    """Chance of a difference as large if both were equally good."""


class ModelComparison(ResultPart, frozen=True, kw_only=True):
    """A second model on the same music."""

    model: str
    windows: Share
    tracks: Share
    by_tracks: PairedTest
    """Whole tracks, one answer each."""

    by_windows_of_tracks: PairedTest
    """Tracks of which one model had more windows right than the other (sign test)."""

    by_windows: PairedTest
    """Windows. They are not independent, so this p is too small: do not decide by it."""


class FloatComparison(ResultPart, frozen=True, kw_only=True):
    """The int8 file beside the float network that it was made of."""

    agreement: float
    """Share of windows on which both name the same genre."""

    float_windows: Share
    """The float network alone."""

    lost_points: float
    """What int8 costs on windows."""


class GenreChanges(ResultPart, frozen=True, kw_only=True):
    """One song after another, of another genre."""

    changes: int
    """Changes of song from and to a track whose genre the model knows by its whole."""

    median_seconds: float | None
    """From the change to the estimate that first names the new genre; `null` if most never do."""

    median_seconds_of_all: float | None
    """The same over every change, a genre that is never named counting as never."""

    never: float
    """Share of `changes` whose new genre was not named while its track played."""

    seconds: tuple[float, ...]
    """Of each change that was named, sorted."""

    spurious_per_10_min: float
    """Changes of the genre shown beyond the one that each song made."""


class Gain(ResultPart, frozen=True, kw_only=True):
    """Clips played louder or softer."""

    decibels: float
    windows: int
    """Windows heard at both levels, none clipped."""

    flips: int
    """How many of them got another genre."""

    flips_16_bit: int
    """The same where both were rounded to 16 bits, as a microphone does: then soft music loses what is softest."""

    silent: int
    """Windows that became too soft for the listener."""


class Level(ResultPart, frozen=True, kw_only=True):
    """Whether loudness matters."""

    clips: int
    gains: tuple[Gain, ...]


class SoundResult(ResultPart, frozen=True, kw_only=True):
    """One kind of sound that is no music."""

    name: str
    windows: int
    named: int
    """Estimates that gave it a genre."""


class Refusal(ResultPart, frozen=True, kw_only=True):
    """Music in noise that got no genre."""

    snr: float | None
    """Decibels over the noise; `null` for none."""

    windows: int
    refused: int
    """Windows that were called unknown, or silence."""

    silent: int
    """How many of them were too soft, or too much like steady noise, for the network to be asked."""


class NotMusic(ResultPart, frozen=True, kw_only=True):
    """What the whole listener makes of sounds that are no music."""

    named: float
    """Share of all those windows that got a genre."""

    sounds: tuple[SoundResult, ...]
    music: tuple[Refusal, ...] = ()
    """Real clips in noise; empty without clips."""
