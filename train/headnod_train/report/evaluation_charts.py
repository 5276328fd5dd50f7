"""The figures on the page of an evaluation, and the confusion matrix of a taught model."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headnod_train.evaluation.results import DegradedResult, GenreChanges, GenreResult
from headnod_train.report.plots import (
    Axes,
    Figure,
    MaxNLocator,
    Rectangle,
    Theme,
    contrast,
    genre_marks,
    new_figure,
    rgb,
    style_axes,
)

Points = Sequence[tuple[float, float]]
_LONGEST_DELAY, _STEP = 30.0, 1.5
_CELL, _LETTER, _WRAP, _FAINTEST = 0.55, 0.06, 24, 0.18
"""Of the confusion matrix: inches of a cell and of a letter at 45 degrees, letters of a line, faintest colour."""


def accuracy_curves(
    theme: Theme, across: str, curves: Sequence[tuple[str, Points]], *, shares: bool = True, diagonal: bool = False
) -> Figure:
    """Accuracy over some quantity.

    Args:
        theme: Colours.
        across: Name of the quantity.
        curves: Name and points of one or two curves.
        shares: The quantity is a share (0-1).
        diagonal: Draw the line where both axes are equal.
    """
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
        _legend(figure, theme)
    return figure


def genre_bars(theme: Theme, genres: Sequence[GenreResult], labels: Sequence[str]) -> Figure:
    """Accuracy of tracks as bars in the colours of genres, and of windows as diamonds."""
    marks = genre_marks(labels, theme)
    figure = new_figure(theme, 5.2, 0.9 + 0.34 * len(genres))
    axes = style_axes(figure.subplots(), theme, grid="x")
    places = range(len(genres))
    colours = [marks[genre.label].colour for genre in genres]
    axes.barh(places, [genre.tracks for genre in genres], color=colours, height=0.62)
    axes.scatter(
        [genre.windows for genre in genres], places, marker="D", s=26, color=theme.ink, zorder=3, clip_on=False
    )
    _rows(axes, [genre.label for genre in genres])
    for place, genre in zip(places, genres, strict=True):
        text = f"{genre.tracks:.0%} of {genre.count}"
        axes.annotate(text, (1.03, place), va="center", fontsize=8, color=theme.ink, annotation_clip=False)
    return figure


def condition_bars(theme: Theme, clean: float, degraded: DegradedResult) -> Figure:
    """Accuracy of windows under each condition with its interval, and a line for clean music."""
    rows = degraded.conditions
    figure = new_figure(theme, 7.2, 0.9 + 0.32 * len(rows))
    axes = style_axes(figure.subplots(), theme, grid="x")
    places, values = range(len(rows)), [row.windows.accuracy for row in rows]
    below, above = zip(
        *((row.windows.accuracy - row.windows.ci95[0], row.windows.ci95[1] - row.windows.accuracy) for row in rows),
        strict=True,
    )
    bars = {"ecolor": theme.ink, "elinewidth": 1.4}
    axes.barh(places, values, xerr=(below, above), color=theme.first, height=0.62, error_kw=bars)
    axes.axvline(clean, color=theme.second, linewidth=1.6)
    _rows(axes, [row.name for row in rows])
    for place, row in zip(places, rows, strict=True):
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


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), list(names))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(_percent)


def _legend(figure: Figure, theme: Theme) -> None:
    figure.legend(loc="outside upper center", ncols=2, frameon=False, labelcolor=theme.ink, fontsize=9)


def _percent(value: float, _: float) -> str:
    return f"{value:.0%}"
