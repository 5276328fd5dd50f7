"""An evaluation: all that was measured, as it is written to JSON, shown on a report and kept in a bundle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from headnod.errors import HeadnodError
from headnod.inference.manifest import Calibration
from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.result_parts import (
    CalibrationResult,
    Confusion,
    DegradedResult,
    FloatComparison,
    GenreChanges,
    GenreResult,
    Level,
    ModelComparison,
    NotMusic,
    ResultPart,
    RiskCoverage,
    StreamResult,
)


class EvaluationError(HeadnodError, ValueError):
    """An evaluation cannot be made or read as asked."""


class Evaluation(ResultPart, frozen=True, kw_only=True):
    """What was measured, of what, on what, and how."""

    model: str
    """Name and version of the bundle."""

    sha256: str
    """Of its model file; empty for a network that is not packed yet."""

    recipe: dict[str, str | int | float | bool]
    """How it was trained, from its manifest."""

    data: str
    """The archive."""

    split: str
    """The side of it that was heard."""

    leaky: bool
    """Windows of one track stand on several sides, or `learned`: then no figure says anything about other music."""

    how: str
    """How every figure came about."""

    temperature: float
    certainty: float
    single: Calibration | None
    """What scores were made and judged with."""

    windows: Share
    tracks: Share
    stream: StreamResult
    calibration: CalibrationResult
    unsaid: RiskCoverage
    genres: tuple[GenreResult, ...]
    confusion: Confusion
    changes: GenreChanges | None
    """`null` where there are not two genres."""

    float_agreement: float | None
    """Share of windows on which the float network names the same genre."""

    float_agreement_of: str | None
    """Where that comes from: measured here, or what the bundle says of itself."""

    learned: bool = False
    """The model, or the one that it is compared with, learned from the tracks that it was measured on."""

    floating: FloatComparison | None = None
    degraded: DegradedResult | None = None
    against: ModelComparison | None = None
    level: Level | None = None
    not_music: NotMusic | None = None


def save(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(evaluation), indent=2) + b"\n")


def load(path: Path) -> Evaluation:
    """Read an evaluation.

    Raises:
        EvaluationError: It is absent, or something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Evaluation)
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise EvaluationError(message) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        message = f"{path}: {error} (it must be what 'headnod-train evaluate --json' writes)"
        raise EvaluationError(message) from error
