"""Evaluation: what a bundle is worth on music whose genre is known.

Without TensorFlow: the int8 file is run as the device runs it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from headnod.model import GenreModel
from headnod_train.archive import Archive, ArchiveError
from headnod_train.measure.listening import hear
from headnod_train.measure.metrics import Share, by_track, calibration_error, confusion, share_right

SETTLED = 12.0
"""Seconds after which the stream is judged: smoothing has little to add then."""

HOW = (
    "the file of the bundle through headnod.model and headnod.smoothing; windows of 3 s every 3 s; "
    "tracks by mean log score of their windows; stream from 12 s on, smoothed as the listener does; "
    "ci95 by bootstrap over tracks"
)


class Settled(Share, frozen=True, forbid_unknown_fields=True):
    """The stream once it has heard enough."""

    named: float
    """Share of estimates that reached the bundle's certainty."""

    accuracy_of_named: float
    """How often those were right."""


class Stream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the listener would show while a track plays."""

    after_12s: Settled
    """Every estimate from 12 s of a track on."""


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far scores are from chances."""

    ece: float
    """Expected calibration error of the stream, 15 bins."""

    ece_of_windows: float
    """The same of single windows, unsmoothed."""


class Confusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts by what was played (rows) and what was said (columns)."""

    labels: tuple[str, ...]
    """Genres, in the order of rows and columns."""

    windows: list[list[int]]
    """Windows of 3 s."""

    tracks: list[list[int]]
    """Whole tracks."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What was measured, of what, on what, and how."""

    model: str
    """Name and version of the bundle."""

    data: str
    """The archive."""

    split: str
    """The side of it that was heard."""

    how: str = msgspec.field(default_factory=lambda: HOW)
    """How every figure came about."""

    windows: Share
    """3 s windows."""

    tracks: Share
    """Whole tracks."""

    stream: Stream
    """The listener's own smoothed estimates."""

    calibration: Calibration
    """How far scores are from chances."""

    confusion: Confusion
    """What was taken for what."""

    float_agreement: float | None = None
    """Share of windows on which the float network names the same genre, where it was at hand."""


def evaluate(
    model: GenreModel,
    archive: Archive,
    *,
    data: str,
    split: str,
    console: Console,
    float_model: GenreModel | None = None,
) -> Evaluation:
    """Measure a model.

    Args:
        model: The model of a bundle.
        archive: Tracks to hear.
        data: What the archive is called.
        split: The side of it to hear.
        console: Where progress is shown.
        float_model: The same network before quantising, to compare with.

    Raises:
        ArchiveError: The split is empty, its tracks are too short, or a genre
            is none of the model's.
    """
    heard = hear(model, archive.subset(split), console=console)
    temperature, labels = model.manifest.temperature, model.labels
    scores, stream = heard.scores(temperature), heard.stream(temperature)
    guesses = scores.argmax(axis=1)
    played = heard.targets[np.unique(heard.tracks, return_index=True)[1]]
    named_tracks = by_track(scores, heard.tracks).argmax(axis=1)
    late = heard.seconds >= SETTLED
    if not late.any():
        message = f"{data}: no {split} track fills {SETTLED:g} s, which the stream is judged after"
        raise ArchiveError(message)
    agreement = None
    if float_model is not None:
        exact = hear(float_model, archive.subset(split), console=console)
        agreement = round(float((exact.logits.argmax(axis=1) == guesses).mean()), 4)
    return Evaluation(
        model=model.manifest.id,
        data=data,
        split=split,
        windows=share_right(guesses == heard.targets, heard.tracks),
        tracks=share_right(named_tracks == played, np.arange(len(played))),
        stream=Stream(judge(stream[late], heard.targets[late], heard.tracks[late], model.manifest.rejection.certainty)),
        calibration=Calibration(
            round(calibration_error(stream, heard.targets), 4), round(calibration_error(scores, heard.targets), 4)
        ),
        confusion=Confusion(
            labels,
            confusion(heard.targets, guesses, len(labels)).tolist(),
            confusion(played, named_tracks, len(labels)).tolist(),
        ),
        float_agreement=agreement,
    )


def judge(
    stream: NDArray[np.float32], targets: NDArray[np.intp], tracks: NDArray[np.intp], certainty: float
) -> Settled:
    """Smoothed scores, one row an estimate, against what was played."""
    right = stream.argmax(axis=1) == targets
    named = stream.max(axis=1) >= certainty
    share = share_right(right, tracks)
    of_named = float(right[named].mean()) if named.any() else 0.0
    return Settled(share.accuracy, share.ci95, share.count, round(float(named.mean()), 4), round(of_named, 4))


def table(evaluation: Evaluation) -> Table:
    """The figures for a person."""
    shown = Table(title=f"{evaluation.model} on {evaluation.data}, {evaluation.split}", title_justify="left")
    for heading in ("", "right", "95 % interval", "of"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for name, share in figures(evaluation):
        shown.add_row(name, f"{share.accuracy:.1%}", f"{share.ci95[0]:.1%} to {share.ci95[1]:.1%}", f"{share.count:,}")
    shown.caption = (
        f"calibration error {evaluation.calibration.ece:.3f}; "
        f"{evaluation.stream.after_12s.named:.1%} of the stream is named"
    )
    shown.caption_justify = "left"
    return shown


def figures(evaluation: Evaluation) -> list[tuple[str, Share]]:
    """Each accuracy with its name."""
    return [
        ("windows of 3 s", evaluation.windows),
        ("whole tracks", evaluation.tracks),
        ("stream after 12 s", evaluation.stream.after_12s),
    ]


def save(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(evaluation), indent=2) + b"\n")
