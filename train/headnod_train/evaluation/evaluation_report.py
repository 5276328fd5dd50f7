"""The report of an evaluation: one HTML file with charts and without network access, and the figures as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from headnod_train.evaluation.metrics import Share
from headnod_train.evaluation.results import DegradedResult, Evaluation, GenreChanges
from headnod_train.evaluation.tables import facts, interval, paired_rows, title, warning
from headnod_train.report import (
    Axes,
    Figure,
    MaxNLocator,
    Rectangle,
    SourceFiles,
    Theme,
    contrast,
    genre_marks,
    inline_svg,
    new_figure,
    render,
    rgb,
    style_axes,
)
from headnod_train.storage import write_file, write_json

Points = Sequence[tuple[float, float]]
_LONGEST_DELAY, _STEP = 30.0, 1.5
_CELL, _LETTER, _WRAP, _FAINTEST = 0.55, 0.06, 24, 0.18
"""Of the confusion matrix: inches of a cell and of a letter at 45 degrees, letters of a line, faintest colour."""


def accuracy_curves(
    theme: Theme, across: str, curves: Sequence[tuple[str, Points]], *, shares: bool = True, diagonal: bool = False
) -> Figure:
    """Accuracy over some quantity."""
    figure = new_figure(theme, 5.2, 3.6)
    axes = style_axes(figure.subplots(), theme, grid="y")
    if diagonal:
        axes.plot((0, 1), (0, 1), color=theme.ink, linewidth=0.8, linestyle=(0, (4, 4)))
    for (name, points), colour, marker in zip(curves, (theme.first, theme.second), ("o", "s"), strict=False):
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, markersize=4, linewidth=1.8, label=name)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(_percent)
    if shares:
        axes.set_xlim(0, 1.03)
        axes.xaxis.set_major_formatter(_percent)
    axes.set_xlabel(across)
    axes.set_ylabel("accuracy")
    if len(curves) > 1:
        figure.legend(loc="outside upper center", ncols=2, frameon=False, labelcolor=theme.ink, fontsize=9)
    return figure


def genre_bars(
    theme: Theme, genres: Mapping[str, Share], labels: Sequence[str], windows: Sequence[float] = ()
) -> Figure:
    """Accuracy by genre as bars in the colours of genres with their intervals, and of windows as diamonds."""
    marks = genre_marks(labels, theme)
    figure = share_bars(theme, genres, [marks[genre].colour for genre in genres])
    # On the upper edge of the bars, away from the lines of the intervals.
    edges = [place - 0.31 for place in range(len(windows))]
    figure.axes[0].scatter(windows, edges, marker="D", s=26, color=theme.ink, zorder=3, clip_on=False)
    return figure


def share_bars(theme: Theme, shares: Mapping[str, Share], colours: Sequence[str] = ()) -> Figure:
    """Accuracies by name as bars with their intervals and counts."""
    figure = new_figure(theme, 5.2, 0.9 + 0.34 * len(shares))
    axes = style_axes(figure.subplots(), theme, grid="x")
    rows = list(shares.values())
    _bars(axes, [each.accuracy for each in rows], [each.ci95 for each in rows], colours or theme.first, theme)
    _rows(axes, list(shares))
    for place, share in enumerate(rows):
        text = f"{share.accuracy:.0%} of {share.count}"
        axes.annotate(text, (1.03, place), va="center", fontsize=8, color=theme.ink, annotation_clip=False)
    return figure


def condition_bars(theme: Theme, clean: float, degraded: DegradedResult) -> Figure:
    """Accuracy of windows under each condition with its interval, and a line for clean music."""
    rows = degraded.conditions
    figure = new_figure(theme, 7.2, 0.9 + 0.32 * len(rows))
    axes = style_axes(figure.subplots(), theme, grid="x")
    windows = [row.windows for row in rows]
    _bars(axes, [each.accuracy for each in windows], [each.ci95 for each in windows], theme.first, theme)
    axes.axvline(clean, color=theme.second, linewidth=1.6)
    _rows(axes, [row.name for row in rows])
    for place, row in enumerate(rows):
        text = f"{row.windows.accuracy:.1%}, {0.0 - row.loss_points.windows:+.1f}"
        axes.annotate(text, (1.03, place), va="center", fontsize=8, color=theme.ink, annotation_clip=False)
    return figure


def delay_histogram(theme: Theme, changes: GenreChanges) -> Figure:
    """Number of changes by the delay until the new genre is named; the last bar holds all longer delays."""
    figure = new_figure(theme, 5.2, 3.0)
    axes = style_axes(figure.subplots(), theme, grid="y")
    edges = [step * _STEP for step in range(round(_LONGEST_DELAY / _STEP) + 1)]
    axes.hist([min(delay, _LONGEST_DELAY) for delay in changes.seconds], edges, color=theme.first, rwidth=0.9)
    axes.set_xlim(0, _LONGEST_DELAY)
    axes.set_xlabel("seconds after the change")
    axes.set_ylabel("changes")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


def confusion_matrix(theme: Theme, labels: Sequence[str], counts: NDArray[np.intp]) -> Figure:
    """Tracks by label (rows) and answer (columns), in the colour of the answer; stronger for a larger share of the row.

    Args:
        theme: Colours.
        labels: All labels of the model.
        counts: Tracks by label and answer; labels without tracks and answers are left out.
    """
    rows = np.flatnonzero(counts.sum(axis=1)).tolist()
    columns = np.flatnonzero(counts.sum(axis=1) + counts.sum(axis=0)).tolist()
    marks = genre_marks(labels, theme)
    names = [textwrap.fill(label, _WRAP) for label in labels]
    above = _LETTER * max(len(labels[column]) for column in columns)
    figure = new_figure(theme, 2.4 + _CELL * len(columns) + above, 1.0 + _CELL * len(rows) + above)
    axes = style_axes(figure.subplots(), theme)
    ground = rgb(theme.ground)
    for place, row in enumerate(rows):
        for answer, column in enumerate(columns):
            count, own = int(counts[row, column]), bool(row == column)
            strength = _FAINTEST + (1 - _FAINTEST) * count / counts[row].sum() if count else 0.0
            fill = ground + strength * (rgb(marks[labels[column]].colour) - ground)
            edge, width = (theme.ink, 1.4) if own else (theme.faint, 0.7)
            axes.add_patch(
                Rectangle((answer - 0.46, place - 0.46), 0.92, 0.92, facecolor=fill, edgecolor=edge, linewidth=width)
            )
            if count:
                ink, other = (float(contrast(rgb(colour), fill)) for colour in (theme.ink, theme.ground))
                colour = theme.ink if ink >= other else theme.ground
                axes.annotate(str(count), (answer, place), ha="center", va="center", fontsize=10, color=colour)
    axes.set_xticks(
        range(len(columns)),
        [labels[column] for column in columns],
        rotation=45,
        ha="left",
        va="center",
        rotation_mode="anchor",
    )
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(rows)), [f"{names[row]} ({counts[row].sum()})" for row in rows])
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xlabel("tracks by label (rows) and answer (columns)", fontsize=9)
    return figure


def _bars(
    axes: Axes,
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    colour: str | Sequence[str],
    theme: Theme,
) -> None:
    # An interval may end at the value itself, and rounding may move it beyond.
    below = [max(value - low, 0.0) for value, (low, _) in zip(values, intervals, strict=True)]
    above = [max(high - value, 0.0) for value, (_, high) in zip(values, intervals, strict=True)]
    whiskers = {"ecolor": theme.ink, "elinewidth": 1.4}
    axes.barh(range(len(values)), values, xerr=(below, above), color=colour, height=0.62, error_kw=whiskers)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), list(names))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(_percent)


def _percent(value: float, _: float) -> str:
    return f"{value:.0%}"


Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings and rows."""


def write_report(evaluation: Evaluation, folder: Path, music: Path | None = None) -> Path:
    """Write index.html, and evaluation.json beside it.

    Returns:
        The page.
    """
    return write_page(evaluation, page(evaluation, SourceFiles(music, folder) if music else None), folder)


def write_page(figures: msgspec.Struct, html: str, folder: Path) -> Path:
    """Write a page as index.html, and its figures as evaluation.json; returns the path of the page."""
    write_json(folder / "evaluation.json", figures)
    written = folder / "index.html"
    write_file(written, html.encode())
    return written


def page(evaluation: Evaluation, files: SourceFiles | None = None) -> str:
    """The page as HTML, with players of the audio files if they are given."""
    confusion = evaluation.confusion
    return render(
        "evaluation.html",
        title=title(evaluation),
        warning=warning(evaluation),
        summary=f"{evaluation.tracks.count:,} tracks, {evaluation.windows.count:,} windows of 3 s; "
        "95 % intervals by bootstrap over tracks.",
        headline_cards=list(_cards(evaluation)),
        labels=confusion.labels,
        track_counts=confusion.tracks,
        window_counts=confusion.windows,
        figures=list(_figures(evaluation)),
        degraded=_degraded(evaluation),
        table_sections=[*_doubtful(evaluation, files), *_table_sections(evaluation)],
        facts=[("method", evaluation.how), *facts(evaluation), *_settings(evaluation)],
    )


def _cards(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    """Figure, name and note of each headline."""

    def card(name: str, share: Share) -> tuple[str, str, str]:
        return f"{share.accuracy:.1%}", name, interval(share)

    yield card("of whole tracks right", evaluation.tracks)
    yield card("of windows of 3 s right", evaluation.windows)
    if evaluation.stream.after_12s:
        yield card("of the stream after 12 s", evaluation.stream.after_12s)
    if evaluation.unsaid.accuracy_of_80:
        yield card("of its most confident 80 %", evaluation.unsaid.accuracy_of_80)
    calibration, degraded = evaluation.calibration, evaluation.degraded
    yield f"{calibration.ece:.3f}", "calibration error", f"clean; noise floor {calibration.honest:.3f}"
    if degraded:
        loss = degraded.mean_loss_points
        yield f"{0.0 - loss.windows:+.1f}", "points of windows", "mean loss under conditions"
        yield f"{0.0 - loss.tracks:+.1f}", "points of tracks", "mean loss under conditions"
        yield f"{degraded.calibration.ece:.3f}", "calibration error", "of the stream, under conditions"


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, str, Markup]]:
    """Title, note and SVG of each chart."""
    labels, degraded, coverage = evaluation.confusion.labels, evaluation.degraded, evaluation.unsaid.curve
    draw = partial(
        genre_bars,
        genres={each.label: Share(each.tracks, each.tracks_ci95, each.count) for each in evaluation.genres},
        labels=labels,
        windows=[each.windows for each in evaluation.genres],
    )
    yield (
        "By genre",
        "Bars are tracks with 95 % intervals, diamonds are windows.",
        inline_svg("Accuracy by genre", draw, labels),
    )
    curves = [("clean", [(each.confidence, each.accuracy) for each in evaluation.calibration.curve])]
    if degraded:
        curves.append(("under conditions", [(each.confidence, each.accuracy) for each in degraded.calibration.curve]))
    yield (
        "Calibration",
        "On the dashed line, 70 % of the estimates with a confidence of 70 % are right.",
        inline_svg(
            "Accuracy by confidence",
            partial(accuracy_curves, across="confidence of the stream", curves=curves, diagonal=True),
        ),
    )
    if coverage:
        yield (
            "Risk and coverage",
            "Accuracy after 12 s if the least confident estimates are rejected.",
            inline_svg(
                "Accuracy by coverage",
                partial(accuracy_curves, across="share of estimates that is kept", curves=[("", coverage)]),
            ),
        )
    moments = [("clean", evaluation.stream.moments)]
    if degraded:
        moments.append(("under conditions", degraded.stream.moments))
    yield (
        "Accuracy over time",
        "Accuracy of the stream at each time of a track.",
        inline_svg(
            "Accuracy by seconds",
            partial(accuracy_curves, across="seconds since the start of the track", curves=moments, shares=False),
        ),
    )
    if (changes := evaluation.changes) is not None:
        median = "mostly never" if changes.median_seconds is None else f"median {changes.median_seconds:.1f} s"
        note = (
            f"Delay until the new genre is named: {median}, of {changes.changes} changes between correctly classified "
            f"tracks; {changes.never:.0%} are never named. {changes.spurious_per_10_min:.1f} spurious changes in 10 "
            "minutes."
        )
        yield "Changes of genre", note, inline_svg("Delays", partial(delay_histogram, changes=changes))


def _degraded(evaluation: Evaluation) -> dict[str, Any] | None:
    degraded = evaluation.degraded
    if degraded is None:
        return None
    clean, mean, worst = evaluation.windows.accuracy, degraded.mean_loss_points, degraded.worst_loss_points
    draw = partial(condition_bars, clean=clean, degraded=degraded)
    return {
        "note": f"Accuracy of windows and its loss under each condition; the line is clean music ({clean:.1%}). Mean "
        f"loss {mean.windows:.1f} points of windows and {mean.tracks:.1f} of tracks, worst {worst.windows:.1f} and "
        f"{worst.tracks:.1f} ({degraded.worst}).",
        "figure": inline_svg("Accuracy of windows by condition", draw),
        "headings": ("", "tracks", "loss", "after 12 s", "loss", "calibration error", "refused"),
        "rows": [
            (
                row.name,
                f"{row.tracks.accuracy:.1%}",
                f"{row.loss_points.tracks:.1f}",
                f"{row.stream.after_12s.accuracy:.1%}" if row.stream.after_12s else "",
                f"{row.loss_points.stream_after_12s:.1f}" if row.loss_points.stream_after_12s is not None else "",
                f"{row.calibration.ece:.3f}",
                f"{row.refused:.1%}",
            )
            for row in degraded.conditions
        ],
        "conditions": [(row.name, row.how) for row in degraded.conditions],
    }


def _table_sections(evaluation: Evaluation) -> Iterator[tuple[str, str, list[Table]]]:
    """Title, note and tables of each section."""
    model, other, sounds, level = evaluation.model, evaluation.against, evaluation.not_music, evaluation.level
    if other:
        note = (
            f"{other.model}: {other.windows.accuracy:.1%} of windows, {other.tracks.accuracy:.1%} of tracks. Exact "
            "McNemar test. Windows of one track are not independent: decide by the first two rows."
        )
        tests = (("", f"only {model} right", "only the other", "p"), paired_rows(other))
        yield f"Against {other.model}", note, [tests]
    if sounds:
        rows = [
            (sound.name, f"{sound.named}", f"{sound.windows}", f"{sound.named / max(sound.windows, 1):.1%}")
            for sound in sounds.sounds
        ]
        parts: list[Table] = [(("sound", "with a genre", "windows", "share"), rows)]
        if sounds.music:
            music = [
                (
                    "clean" if each.snr is None else f"{each.snr:.0f} dB over noise",
                    f"{each.refused}",
                    f"{each.silent}",
                    f"{each.windows}",
                    f"{each.refused / max(each.windows, 1):.1%}",
                )
                for each in sounds.music
            ]
            parts.append((("music", "rejected", "as silence", "windows", "share"), music))
        note = "Through the whole listener, with its gates for silence and steady noise."
        yield "Other sounds than music", note, parts
    if level:
        gains = [
            (f"{gain.decibels:+.0f} dB", f"{gain.windows}", f"{gain.flips}", f"{gain.flips_16_bit}", f"{gain.silent}")
            for gain in level.gains
        ]
        headings = ("level", "windows", "other genre", "after rounding to 16 bits", "silent")
        yield "Softer and louder", f"{level.clips} clips; windows whose genre changes.", [(headings, gains)]


def _doubtful(evaluation: Evaluation, files: SourceFiles | None) -> Iterator[tuple[str, str, list[Table]]]:
    if not evaluation.doubtful:
        return
    rows = [
        (
            each.track, each.label, each.answer, f"{each.probability:.0%}", f"{each.second:.0f} s",
            *([files.player(each.track, each.second, each.length)] if files else []),
        )
        for each in evaluation.doubtful
    ]  # fmt: skip
    headings = ("track", "label", "recognised as", "its label", "from", *(["listen"] if files else []))
    note = "Tracks whose label has the lowest probability, and where it is lowest. A wrong label is found by listening."
    yield "Doubtful tracks", note, [(headings, rows)]


def _settings(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    single = evaluation.single
    alone = f", of single windows {single.temperature:g}" if single else ""
    yield "temperature", f"{evaluation.temperature:g}{alone}"
    alone = f", of single windows {single.threshold:g}" if single else ""
    yield "threshold", f"{evaluation.certainty:g}{alone}"
    yield "model file", f"sha256 {evaluation.sha256}" if evaluation.sha256 else "not packed yet"
