"""The pictures of docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "headnod",
    "font.size": 10,
    "text.color": "#3c3c3c",
    "axes.labelcolor": "#3c3c3c",
    "axes.edgecolor": "#8a8a8a",
    "xtick.color": "#6a6a6a",
    "ytick.color": "#3c3c3c",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e6e2da",
    "figure.facecolor": "white",
}
_OURS, _THEIRS, _DARK = "#2a7f9e", "#b9b4a9", "#2f3e4e"
_PIECES = (_DARK, "#2a7f9e", "#58a5bd", "#8fc7d6", "#d9a441", "#e7c98b", "#b9b4a9", "#dcd8cf")
_WIDE = 7.2


def draw(rows: Mapping[str, Any], folder: Path) -> None:
    """Draw what was measured of them."""
    measured = {name for name, row in rows.items() if row["ours"] is not None}
    with mpl.rc_context(_STYLE):
        if "P1" in measured:
            _save(window(rows["P1"]), folder / "window.svg")
        if "P2" in measured:
            _save(instructions(rows["P2"]), folder / "instructions.svg")
        if {"P3", "P4"} <= measured:
            _save(daemon(rows["P3"], rows["P4"]), folder / "daemon.svg")
        if "P10" in measured:
            _save(growth(rows["P10"]), folder / "growth.svg")


def window(row: Mapping[str, Any]) -> Figure:
    """CPU time of a window on each path."""
    more = row["more"]
    bars = {"script path": more["script"]["median"], "fair path": more["fair"]["median"]}
    if "yamnet" in more:
        bars["YAMNet"] = more["yamnet"]["median"]
    for name, model in more["models"].items():
        bars[f"{name}, with everything\na listener does"] = model["whole listener"]["median"]
        bars[name] = model["median"]
    figure, axes = plt.subplots(figsize=(_WIDE, 0.8 + 0.45 * len(bars)), layout="constrained")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    _bars(axes, bars, "ms of CPU for 3 s of music, on a logarithmic scale", unit=" ms")
    axes.set_xlim(left=0.1)
    return figure


def instructions(row: Mapping[str, Any]) -> Figure:
    """Instructions of a window, piece by piece, for each model."""
    models = row["more"]["models"]
    figure, axes = plt.subplots(figsize=(_WIDE, 1.5 + 0.55 * len(models)), layout="constrained")
    pieces = dict(row["more"].get("pieces") or {})
    if pieces:
        pieces["mel without FFT"] = pieces.pop("mel") - pieces["FFT"]
    for place, model in enumerate(reversed(models.values())):
        rest = model["front end and listener"] - sum(pieces.values())
        parts = {"network": model["network"], **pieces, "the rest of the listener": max(rest, 0.0)}
        left = 0.0
        for (part, value), colour in zip(parts.items(), _PIECES, strict=False):
            axes.barh(place, value, left=left, height=0.6, color=colour, label=None if place else part)
            left += value
        axes.text(left, place, f"  {left:.1f} M", va="center")
    axes.set_yticks(range(len(models)), list(reversed(models)))
    axes.set_xlabel("million AArch64 instructions for 3 s of music (Cortex-A53)")
    _grid(axes)
    figure.legend(loc="outside upper left", ncols=4, frameon=False, fontsize=9, handlelength=1.0, columnspacing=1.4)
    return figure


def daemon(start: Mapping[str, Any], memory: Mapping[str, Any]) -> Figure:
    """What the script and the daemon take to start and to keep."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(_WIDE, 1.7), layout="constrained")
    _bars(left, {"script path": start["baseline"], "headnod": start["ours"]}, "s to the first estimate", unit=" s")
    _bars(right, {"script path": memory["baseline"], "headnod": memory["ours"]}, "MiB of memory", unit=" MiB")
    right.set_yticklabels([])
    return figure


def growth(row: Mapping[str, Any]) -> Figure:
    """Seconds of imports and of epochs by tracks, with the lines through them."""
    found, trained = row["more"]["import"], row["more"]["training"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(_WIDE, 3.0), layout="constrained")
    ways = [name for name, line in found.items() if isinstance(line, Mapping)]
    for name, colour, dashes in zip(ways, (_OURS, _OURS, "#d9a441", "#d9a441"), ("-", "--", "-", "--"), strict=False):
        _line(left, found[name], colour, name, dashes)
    _line(right, trained, _DARK, "an epoch", "-")
    left.set_ylabel("s of an import")
    right.set_ylabel("s of an epoch")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("tracks of 30 s")
        axes.set_ylim(bottom=0.0)
        axes.set_xlim(left=0.0)
        axes.grid(visible=True)
    return figure


def _line(axes: Axes, line: Mapping[str, Any], colour: str, name: str, dashes: str) -> None:
    tracks = [int(count) for count in line["seconds_by_tracks"]]
    seconds = list(line["seconds_by_tracks"].values())
    fitted = [line["seconds_of_start"] + line["seconds_a_track"] * count for count in (0, *tracks)]
    axes.plot([0, *tracks], fitted, dashes, color=colour, linewidth=1.4, label=name)
    axes.plot(tracks, seconds, "o", color=colour, markersize=4.5)


def _bars(axes: Axes, bars: Mapping[str, float], label: str, *, unit: str) -> None:
    names = list(bars)[::-1]
    colours = [_THEIRS if "path" in name else _OURS for name in names]
    axes.barh(names, [bars[name] for name in names], height=0.62, color=colours)
    for place, name in enumerate(names):
        axes.text(bars[name], place, f"  {_digits(bars[name])}{unit}", va="center")
    axes.margins(x=0.3)
    axes.set_xlabel(label)
    _grid(axes)


def _grid(axes: Axes) -> None:
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    if axes.get_xscale() == "linear":
        axes.margins(x=0.3)


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
