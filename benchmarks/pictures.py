"""The three pictures of docs/performance.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.document import colours

_STYLE = {"svg.hashsalt": "headnod", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
_PIECES = ("#2a7f9e", "#5aa7bf", "#8fc7d6", "#c4e2ea", "#d9a441", "#b9b4a9", "#7d7a70")


def draw(rows: Mapping[str, Any], folder: Path) -> None:
    """Draw what was measured of them."""
    with mpl.rc_context(_STYLE):
        if "P1" in rows:
            _window(rows["P1"], folder / "window.svg")
        if "P2" in rows and rows["P2"]["ours"]:
            _instructions(rows["P2"], folder / "instructions.svg")
        if {"P3", "P4"} <= rows.keys():
            _daemon(rows["P3"], rows["P4"], folder / "daemon.svg")


def _window(row: Mapping[str, Any], path: Path) -> None:
    more = row["more"]
    bars = {"script path": more["script"]["median"], "fair path": more["fair"]["median"]}
    for name, model in more["models"].items():
        bars[f"{name}, whole listener"] = model["whole listener"]["median"]
        bars[name] = model["median"]
    figure, axes = plt.subplots(figsize=(7.0, 0.5 + 0.42 * len(bars)), layout="constrained")
    _bars(axes, bars, "ms of CPU for 3 s of music (logarithmic)")
    axes.set_xscale("log")
    _save(figure, path)


def _instructions(row: Mapping[str, Any], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7.0, 1.1 + 0.5 * len(row["more"]["models"])), layout="constrained")
    pieces = dict(row["more"]["pieces"])
    if pieces:
        pieces["mel and decibels"] = pieces.pop("log-mel") - pieces["FFT"]
    for place, model in enumerate(row["more"]["models"].values()):
        rest = model["front end and listener"] - sum(pieces.values())
        left = 0.0
        parts = {"network": model["network"], **pieces, "everything else": max(rest, 0.0)}
        for (part, value), colour in zip(parts.items(), ("#44546a", *_PIECES), strict=False):
            axes.barh(place, value, left=left, color=colour, label=part if not place else None)
            left += value
        axes.text(left, place, f" {left:.1f}", va="center")
    axes.set_yticks(range(len(row["more"]["models"])), list(row["more"]["models"]))
    axes.set_xlabel("million AArch64 instructions for 3 s of music (Cortex-A53)")
    axes.margins(x=0.12)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    _save(figure, path)


def _daemon(start: Mapping[str, Any], memory: Mapping[str, Any], path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 1.6), layout="constrained")
    _bars(left, {"script path": start["baseline"], "headnod": start["ours"]}, "s to the first estimate")
    _bars(right, {"script path": memory["baseline"], "headnod": memory["ours"]}, "MiB of memory")
    _save(figure, path)


def _bars(axes: Axes, bars: Mapping[str, float], label: str) -> None:
    names = list(bars)[::-1]
    axes.barh(names, [bars[name] for name in names], color=colours(names))
    for place, name in enumerate(names):
        axes.text(bars[name], place, f" {bars[name]:.3g}", va="center")
    axes.margins(x=0.18)
    axes.set_xlabel(label)


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib's own
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
