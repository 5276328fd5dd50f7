"""Pictures of an evaluation; the one place that imports matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headnod.errors import MissingExtraError

if TYPE_CHECKING:
    from headnod_train.measure.evaluate import Evaluation


def draw_confusion(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Draw the confusion matrices of windows and of tracks.

    Returns:
        The PNG files, in an existing folder.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matrices = {"windows": evaluation.confusion.windows, "tracks": evaluation.confusion.tracks}
    return [_draw(evaluation, unit, np.array(counts), folder) for unit, counts in matrices.items()]


def _draw(evaluation: Evaluation, unit: str, counts: np.ndarray, folder: Path) -> Path:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, needed by a report only
    except ImportError as error:
        message = f"a report needs matplotlib: pip install 'headnod[train]' ({error})"
        raise MissingExtraError(message) from error
    labels = evaluation.confusion.labels
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.2 + 0.62 * len(labels)
    figure = Figure(figsize=(size + 1.0, size), dpi=150, layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, labelsize=10)
    axes.set_xlabel("heard as", fontsize=11)
    axes.set_ylabel("played", fontsize=11)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.55 else "#1b2a41"  # noqa: PLR2004 - where Blues turns dark
        weight = "bold" if row == column else "normal"
        text = f"{counts[row, column]}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour, weight=weight)
    axes.set_xticks(np.arange(-0.5, len(labels)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(labels)), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, format=lambda share, _: f"{share:.0%}")
    bar.outline.set_visible(False)
    bar.set_label("share of what was played", fontsize=10)
    right = np.trace(counts) / max(counts.sum(), 1)
    axes.set_title(f"{evaluation.model}, {evaluation.split}: {right:.1%} of {counts.sum():,} {unit}", fontsize=12)
    path = folder / f"confusion-{unit}.png"
    figure.savefig(path)
    return path
