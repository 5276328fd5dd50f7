"""Classical methods with scikit-learn on timbre features: nearest neighbours, logistic regression, support vectors.

The features of a window are mean and covariance of its MFCCs, without their order in time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headnod.errors import MissingExtraError
from headnod.features.frontend import Features, FrontEnd
from headnod.inference.manifest import softmax
from headnod.system import how_to_install
from headnod_train.dataset.archive import Archive

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

Summaries = NDArray[np.float32]
"""Mean and covariance of MFCCs, shape (windows or tracks, numbers)."""

FRONT_END = FrontEnd(n_mfcc=20)
"""Front end of the classical methods, with the usual number of coefficients."""


def summaries(features: Features) -> Summaries:
    """Mean and covariance of each window.

    Args:
        features: MFCCs, shape (windows, frames, n_mfcc).

    Returns:
        n_mfcc means, then the upper triangle of the covariance row by row,
        shape (windows, n_mfcc + n_mfcc * (n_mfcc + 1) / 2).
    """
    mean = features.mean(axis=1)
    around = features - mean[:, None]
    covariance = np.einsum("wfi,wfj->wij", around, around) / features.shape[1]
    rows, columns = np.triu_indices(features.shape[2])
    return np.concatenate([mean, covariance[:, rows, columns]], axis=1).astype(np.float32)


def window_summaries(archive: Archive, front_end: FrontEnd = FRONT_END) -> tuple[Summaries, NDArray[np.intp]]:
    """Summaries of every window, and the track of each."""
    parts, tracks = [], []
    for track in range(len(archive)):
        part = summaries(front_end.cepstra(archive.windows(track, front_end)))
        parts.append(part)
        tracks.extend([track] * len(part))
    return np.concatenate(parts), np.array(tracks, np.intp)


def track_summaries(archive: Archive, front_end: FrontEnd = FRONT_END) -> Summaries:
    """Summaries of whole tracks: the mean over their windows."""
    windows, tracks = window_summaries(archive, front_end)
    sums = np.zeros((len(archive), windows.shape[1]))
    np.add.at(sums, tracks, windows)
    return (sums / np.bincount(tracks)[:, None]).astype(np.float32)


Folds = Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Masks over windows, (train, valid) for each fold."""
Settings = dict[str, int | float]
"""Hyperparameters by step and name."""
Advance = Callable[[int], None]
"""Called after each fit with the total number of fits."""


@dataclass(frozen=True)
class Method:
    """A classifier and its grid of hyperparameters."""

    name: str
    last: BaseEstimator
    """The last step, after standardisation and PCA."""

    grid: dict[str, tuple[int | float, ...]]


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


@dataclass(frozen=True)
class FittedMethod:
    """A fitted method."""

    pipeline: Pipeline
    """Standardisation, PCA and the classifier."""

    settings: Settings
    labels: int
    """Number of genres."""

    def probabilities(self, summaries: Summaries) -> NDArray[np.float32]:
        """Probabilities, shape (windows, labels)."""
        last = self.pipeline.named_steps["last"]
        if isinstance(last, SVC):
            # Its own probabilities would need an inner calibration; the ranking does not.
            scores = softmax(np.asarray(self.pipeline.decision_function(summaries), np.float32))
        else:
            scores = np.asarray(self.pipeline.predict_proba(summaries), np.float32)
        if isinstance(last, KNeighborsClassifier):
            # Smoothing: a genre that none of the neighbours has is unlikely, not impossible.
            scores = (scores * last.n_neighbors + 1 / self.labels) / (last.n_neighbors + 1)
        probabilities = np.zeros((len(summaries), self.labels), np.float32)
        probabilities[:, last.classes_] = scores
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
    """Choose hyperparameters by cross-validation, then fit on all windows."""
    fewest = min(int(train.sum()) for train, _ in folds)
    grid = _possible(method.grid, pca=min(fewest - 1, summaries.shape[1]), last__n_neighbors=fewest)
    asked = [(settings, train, valid) for settings in grid for train, valid in folds]
    graded = joblib.Parallel(n_jobs=jobs, return_as="generator")(
        joblib.delayed(_grade)(pipeline(method, settings), summaries, targets, train, valid)
        for settings, train, valid in asked
    )
    right = np.zeros(len(grid))
    for place, share in enumerate(graded):
        right[place // len(folds)] += share
        advance(len(asked))
    settings = grid[int(right.argmax())]
    return FittedMethod(_fitted(pipeline(method, settings), summaries, targets), settings, labels)


def cross_validated(
    summaries: Summaries, targets: NDArray[np.intp], folds: Folds, *, labels: int
) -> NDArray[np.float32]:
    """Probabilities of each row by a logistic regression fitted on other artists, shape (rows, labels)."""
    probabilities = np.zeros((len(summaries), labels), np.float32)
    pca = min(40, min(int(train.sum()) for train, _ in folds) - 1, summaries.shape[1])
    for train, valid in folds:
        present = np.unique(targets[train])
        if len(present) == 1:
            probabilities[valid, present[0]] = 1.0
            continue
        fitted = _fitted(pipeline(REGRESSION, {"pca": pca, "last__C": 0.03}), summaries[train], targets[train])
        probabilities[np.ix_(valid, present)] = fitted.predict_proba(summaries[valid])
    return probabilities


def neighbours(summaries: Summaries, groups: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Indices of the nearest rows of other groups, nearest first, shape (rows, count); -1 if there are fewer."""
    scaled = StandardScaler().fit_transform(summaries)
    asked = min(count + int(np.bincount(groups).max()), len(scaled))
    near = NearestNeighbors(n_neighbors=asked).fit(scaled).kneighbors(scaled, return_distance=False)
    found = np.full((len(scaled), count), -1, np.intp)
    for row, others in enumerate(near):
        outside = others[groups[others] != groups[row]][:count]
        found[row, : len(outside)] = outside
    return found


def _possible(grid: dict[str, tuple[int | float, ...]], **most: int) -> list[Settings]:
    """Every combination, with values limited to what the number of rows allows."""
    bounded = {name: sorted({min(value, most.get(name, value)) for value in values}) for name, values in grid.items()}
    return [dict(settings) for settings in ParameterGrid(bounded)]


def pipeline(method: Method, settings: Settings) -> Pipeline:
    """Standardisation, PCA and the classifier of a method, not fitted."""
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
    # One thread per fit: on matrices this small, synchronisation takes longer than the work.
    with threadpool_limits(1):
        return pipeline.fit(summaries, targets)
