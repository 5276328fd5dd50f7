"""Accuracy of classical methods against the number of tracks and against their settings, on other artists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from headnod_train.baselines.classical import NEAREST_NEIGHBOURS, REGRESSION, Folds, Settings, pipeline
from headnod_train.baselines.mfcc_summary import Summaries
from headnod_train.dataset.archive import Archive
from headnod_train.dataset.split import components, folds
from headnod_train.report.plots import Axes, Figure, Theme, new_figure, style_axes

_FOLDS = 5
_SHARES = (0.1, 0.2, 0.35, 0.6, 1.0)
_NEIGHBOURS = (1, 3, 5, 10, 20, 40, 80)
_STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_DIMENSIONS = (2, 5, 10, 20, 40, 100, 200)
_PCA, _STRENGTH = 40, 0.03


@dataclass(frozen=True)
class Curve:
    """Accuracy on left-out folds."""

    title: str
    across: str
    values: tuple[float, ...]
    accuracy: NDArray[np.float64]
    """Of each value and fold, (values, folds)."""


def method_curves(archive: Archive, summaries: Summaries, *, seed: int) -> list[Curve]:
    """The curves of a collection; none if it has too few genres or artists.

    Args:
        archive: Tracks with labels and artists.
        summaries: Mean and covariance of each track's MFCCs.
        seed: Seed of the folds and of the choice of tracks.
    """
    labels, count = archive.labels, int(components(archive).max()) + 1
    if len(labels) < 2 or count < 2:  # noqa: PLR2004 - nothing to tell apart, or nothing to leave out
        return []
    targets, parts = archive.targets(labels), folds(archive, min(_FOLDS, count), seed=seed)
    fewest = min(int(train.sum()) for train, _ in parts)
    most = min(fewest - 1, summaries.shape[1])

    def graded(
        title: str, across: str, values: Sequence[float], made: Callable[[float], tuple[Pipeline, float]]
    ) -> Curve:
        rows = []
        for value in values:
            model, share = made(value)
            rows.append(_accuracy(model, summaries, targets, parts, share=share, seed=seed))
        return Curve(title, across, tuple(values), np.array(rows))

    def regression(pca: int, strength: float) -> Pipeline:
        return pipeline(REGRESSION, {"pca": min(pca, most), "last__C": strength})

    def nearest(neighbours: float) -> tuple[Pipeline, float]:
        settings: Settings = {"pca": min(20, most), "last__n_neighbors": int(neighbours)}
        return pipeline(NEAREST_NEIGHBOURS, settings), 1.0

    small = min(_PCA, max(int(_SHARES[0] * fewest) - 1, 1))
    dimensions = sorted({min(each, most) for each in _DIMENSIONS})
    return [
        graded(
            "Learning curve (logistic regression)", "training tracks",
            [max(round(share * fewest), 2) for share in _SHARES],
            lambda tracks: (regression(small, _STRENGTH), tracks / fewest),
        ),
        graded("Number of neighbours", "k", [each for each in _NEIGHBOURS if each <= fewest], nearest),
        graded(
            "Inverse strength of regularisation", "C", _STRENGTHS, lambda strength: (regression(_PCA, strength), 1.0)
        ),
        graded("Dimensions of the PCA", "dimensions", dimensions, lambda pca: (regression(int(pca), _STRENGTH), 1.0)),
    ]  # fmt: skip


def _accuracy(
    model: Pipeline, summaries: Summaries, targets: NDArray[np.intp], parts: Folds, *, share: float, seed: int
) -> list[float]:
    """Share of the left-out tracks that is right, by fold, with a share of the training tracks of each genre."""
    found = []
    for place, (train, valid) in enumerate(parts):
        rng, rows = np.random.default_rng((seed, place)), []
        for label in np.unique(targets[train]):
            own = np.flatnonzero(train & (targets == label))
            rows.append(rng.permutation(own)[: max(round(share * own.size), 1)])
        chosen = np.sort(np.concatenate(rows))
        if len(rows) == 1:
            found.append(float((targets[valid] == targets[chosen[0]]).mean()))
            continue
        steps = dict(model.named_steps)
        components_, neighbours = steps["pca"].n_components, getattr(steps["last"], "n_neighbors", 1)
        limits = {"pca__n_components": min(components_, len(chosen) - 1)}
        if hasattr(steps["last"], "n_neighbors"):
            limits["last__n_neighbors"] = min(neighbours, len(chosen))
        with threadpool_limits(1):
            found.append(float(model.set_params(**limits).fit(summaries[chosen], targets[chosen])
                               .score(summaries[valid], targets[valid])))  # fmt: skip
        model.set_params(pca__n_components=components_)
    return found


def curves_picture(theme: Theme, curves: Sequence[Curve]) -> Figure:
    """One plot for each curve: the mean over folds, and their range."""
    figure = new_figure(theme, 8.0, 5.6)
    for axes, curve in zip(figure.subplots(2, 2, sharey=True).ravel(), curves, strict=True):
        style_axes(axes, theme, grid="y").set_title(curve.title, fontsize=10)
        mean = curve.accuracy.mean(axis=1)
        axes.fill_between(curve.values, curve.accuracy.min(axis=1), curve.accuracy.max(axis=1),
                          color=theme.first, alpha=0.25, linewidth=0)  # fmt: skip
        axes.plot(curve.values, mean, color=theme.first, marker="o", markersize=4, linewidth=1.8)
        axes.set_xscale("log")
        axes.set_xlabel(curve.across)
        axes.set_ylim(0.0, 1.03)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xticks(curve.values, [f"{value:g}" for value in curve.values], fontsize=8)
        axes.minorticks_off()
    return figure


def history_picture(theme: Theme, history: Sequence[dict[str, float]]) -> Figure:
    """Loss, and held-out accuracy if there is any, by epoch."""
    held_out = [name for name in ("windows", "tracks") if name in history[-1]]
    figure = new_figure(theme, 8.0, 3.0)
    grid = figure.subplots(1, 2 if held_out else 1, squeeze=False)[0]
    epochs = [each["epoch"] for each in history]
    _line(grid[0], theme, epochs, {"loss": [each["loss"] for each in history]})
    if held_out:
        _line(grid[1], theme, epochs, {name: [each[name] for each in history] for name in held_out})
        grid[1].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        grid[1].set_ylabel("right on tracks that are left out")
    return figure


def _line(axes: Axes, theme: Theme, epochs: Sequence[float], series: dict[str, list[float]]) -> None:
    style_axes(axes, theme, grid="y")
    for (name, values), colour in zip(series.items(), (theme.first, theme.second), strict=False):
        axes.plot(epochs, values, color=colour, linewidth=1.8, label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel(next(iter(series)))
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=theme.ink, fontsize=9)
