"""The classical methods: nearest neighbours, logistic regression, support vectors.

Alone because it is the one place that imports scikit-learn and joblib.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.errors import MissingExtraError
from headnod.extras import how_to_install
from headnod.inference.prediction import softmax
from headnod_train.baselines.mfcc_summary import Summaries

try:
    import joblib
    from sklearn.base import BaseEstimator, clone
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import ParameterGrid
    from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC
    from threadpoolctl import threadpool_limits
except ImportError as error:
    _MESSAGE = f"classical methods need scikit-learn: {how_to_install('train')} ({error})"
    raise MissingExtraError(_MESSAGE) from error

Folds = Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Masks over windows: what to learn from and what to grade on, a few times."""
Settings = dict[str, int | float]
"""What a method was told, by the name of the step and of its setting."""
Advance = Callable[[int], None]
"""Told after each fit how many were asked for in all."""


@dataclass(frozen=True)
class Method:
    """A way to name genres, and the settings to choose from."""

    name: str
    """What it is called in tables."""

    last: BaseEstimator
    """Its last step, after standardising and PCA."""

    grid: dict[str, tuple[int | float, ...]]
    """Settings to choose from."""


NEAREST_NEIGHBOURS = Method(
    "k nearest neighbours",
    KNeighborsClassifier(metric="euclidean"),
    {"pca": (10, 20, 60), "last__n_neighbors": (5, 15, 40, 80)},
)
REGRESSION = Method(
    "logistic regression", LogisticRegression(max_iter=500), {"pca": (40, 100, 200), "last__C": (0.003, 0.03, 0.3)}
)
SUPPORT = Method("support vectors, RBF", SVC(), {"pca": (40, 100), "last__C": (0.3, 1.0, 3.0)})
METHODS = (NEAREST_NEIGHBOURS, REGRESSION, SUPPORT)
"""All of them, the simplest first."""


@dataclass(frozen=True)
class FittedMethod:
    """A method that has learned."""

    pipeline: Pipeline
    """Standardising, PCA and the method itself."""

    settings: Settings
    """What it was told."""

    labels: int
    """How many genres there are."""

    def probabilities(self, summaries: Summaries) -> NDArray[np.float32]:
        """How likely each genre is, shape (windows, labels)."""
        last = self.pipeline.named_steps["last"]
        if isinstance(last, SVC):
            # Its own probabilities would need a calibration inside; the order of its answers needs none.
            said = softmax(np.asarray(self.pipeline.decision_function(summaries), np.float32))
        else:
            said = np.asarray(self.pipeline.predict_proba(summaries), np.float32)
        if isinstance(last, KNeighborsClassifier):
            # A genre that none of the neighbours has is unlikely, not impossible.
            said = (said * last.n_neighbors + 1 / self.labels) / (last.n_neighbors + 1)
        probabilities = np.zeros((len(summaries), self.labels), np.float32)
        probabilities[:, last.classes_] = said
        return probabilities


def fit_method(
    method: Method,
    summaries: Summaries,
    targets: NDArray[np.intp],
    folds: Folds,
    *,
    labels: int,
    jobs: int,
    advance: Advance = lambda _: None,
) -> FittedMethod:
    """Choose the settings by cross-validation, then learn with them from everything.

    Args:
        method: What is to learn.
        summaries: One row a window.
        targets: The genre of each window.
        folds: How to cross-validate, so that no artist is on both sides.
        labels: How many genres there are.
        jobs: How many fits may run at once.
        advance: Shows progress.
    """
    fewest = min(int(train.sum()) for train, _ in folds)
    grid = _possible(method.grid, pca=min(fewest - 1, summaries.shape[1]), last__n_neighbors=fewest)
    asked = [(settings, train, valid) for settings in grid for train, valid in folds]
    graded = joblib.Parallel(n_jobs=jobs, return_as="generator")(
        joblib.delayed(_grade)(_pipeline(method, settings), summaries, targets, train, valid)
        for settings, train, valid in asked
    )
    right = np.zeros(len(grid))
    for place, share in enumerate(graded):
        right[place // len(folds)] += share
        advance(len(asked))
    settings = grid[int(right.argmax())]
    return FittedMethod(_fitted(_pipeline(method, settings), summaries, targets), settings, labels)


def cross_validated(
    summaries: Summaries, targets: NDArray[np.intp], folds: Folds, *, labels: int
) -> NDArray[np.float32]:
    """What a logistic regression says of each row after learning from other artists, shape (rows, labels)."""
    probabilities = np.zeros((len(summaries), labels), np.float32)
    pca = min(40, min(int(train.sum()) for train, _ in folds) - 1, summaries.shape[1])
    for train, valid in folds:
        present = np.unique(targets[train])
        if len(present) == 1:
            probabilities[valid, present[0]] = 1.0
            continue
        told = _fitted(_pipeline(REGRESSION, {"pca": pca, "last__C": 0.03}), summaries[train], targets[train])
        probabilities[np.ix_(valid, present)] = told.predict_proba(summaries[valid])
    return probabilities


def neighbours(summaries: Summaries, groups: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """The nearest rows of other groups, nearest first, shape (rows, count); -1 where there are no more."""
    scaled = StandardScaler().fit_transform(summaries)
    asked = min(count + int(np.bincount(groups).max()), len(scaled))
    near = NearestNeighbors(n_neighbors=asked).fit(scaled).kneighbors(scaled, return_distance=False)
    found = np.full((len(scaled), count), -1, np.intp)
    for row, others in enumerate(near):
        strangers = others[groups[others] != groups[row]][:count]
        found[row, : len(strangers)] = strangers
    return found


def _possible(grid: dict[str, tuple[int | float, ...]], **most: int) -> list[Settings]:
    """Every combination, none of its numbers over what so few rows allow."""
    bounded = {name: sorted({min(value, most.get(name, value)) for value in values}) for name, values in grid.items()}
    return [dict(settings) for settings in ParameterGrid(bounded)]


def _pipeline(method: Method, settings: Settings) -> Pipeline:
    rest = {name: value for name, value in settings.items() if name != "pca"}
    steps = [
        ("standard", StandardScaler()),
        ("pca", PCA(int(settings["pca"]), svd_solver="covariance_eigh")),
        ("last", clone(method.last)),
    ]
    return Pipeline(steps).set_params(**rest)


def _grade(
    pipeline: Pipeline,
    summaries: Summaries,
    targets: NDArray[np.intp],
    train: NDArray[np.bool_],
    valid: NDArray[np.bool_],
) -> float:
    fitted = _fitted(pipeline, summaries[train], targets[train])
    with threadpool_limits(1):
        return float(fitted.score(summaries[valid], targets[valid]))


def _fitted(pipeline: Pipeline, summaries: Summaries, targets: NDArray[np.intp]) -> Pipeline:
    # One thread a fit: on matrices this small, threads that wait for each other take longer than the work.
    with threadpool_limits(1):
        return pipeline.fit(summaries, targets)
