"""The comparison as a chart: a dot and an interval for each method."""

from __future__ import annotations

from pathlib import Path

from headnod_train.baselines.method_comparison import LEAKY, Comparison
from headnod_train.report.plots import Figure, Theme, new_figure, save_png, style_axes

NAME = "baselines"
_WINDOWS, _TRACKS = 0.14, -0.14


def draw(comparison: Comparison, folder: Path) -> Path:
    """Draw the accuracies of windows and tracks with their 95 % intervals in both themes.

    Returns:
        The light picture.
    """
    return folder / save_png(folder, NAME, lambda theme: _draw(theme, comparison))


def _draw(theme: Theme, comparison: Comparison) -> Figure:
    rows = comparison.rows
    figure = new_figure(theme, 8.0, 1.5 + 0.5 * len(rows))
    axes = style_axes(figure.subplots(), theme, grid="x")
    for shift, unit, shape in ((_TRACKS, "tracks", "o"), (_WINDOWS, "windows of 3 s", "D")):
        shares = [row.tracks if unit == "tracks" else row.windows for row in rows]
        colour = theme.ink if unit == "tracks" else theme.first
        places = [place + shift for place in range(len(rows))]
        axes.hlines(
            places, [100 * share.ci95[0] for share in shares], [100 * share.ci95[1] for share in shares],
            color=colour, linewidth=2.2,
        )  # fmt: skip
        axes.scatter(
            [100 * share.accuracy for share in shares], places, color=colour, marker=shape, s=42, label=unit, zorder=3
        )
        for share, place in zip(shares, places, strict=True):
            axes.annotate(
                f"{share.accuracy:.1%}", (100 * share.ci95[1], place), (6, 0), textcoords="offset points",
                va="center", fontsize=8, color=colour,
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.method for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy (%), with 95 % interval by track")
    title = f"{comparison.data}, {comparison.split}"
    axes.set_title(f"{title}\n{LEAKY}" if comparison.leaky else title, fontsize=10, color=theme.ink)
    axes.legend(frameon=False, labelcolor=theme.ink, fontsize=9, loc="best")
    return figure
