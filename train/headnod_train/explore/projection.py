"""Tracks as points of a plane: principal components, or UMAP where it is installed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headnod.errors import MissingExtraError
from headnod.extras import how_to_install_package
from headnod_train.baselines.mfcc_summary import Summaries

Points = NDArray[np.float64]
"""Places of tracks, shape (tracks, 2)."""

_MOST = 3.0
"""Deviations that a number may have; what is farther away is put there."""


def principal(summaries: Summaries) -> tuple[Points, NDArray[np.float64]]:
    """The two directions in which standardised summaries vary most.

    Returns:
        Points, and the share of all variance along each of the two axes.
    """
    scaled = _scaled(summaries)
    scaled -= scaled.mean(axis=0)
    left, sizes, _ = np.linalg.svd(scaled, full_matrices=False)
    points = np.zeros((len(scaled), 2))
    shares = np.zeros(2)
    found = min(2, len(sizes))
    points[:, :found] = left[:, :found] * sizes[:found]
    shares[:found] = sizes[:found] ** 2 / max(float((sizes**2).sum()), 1e-12)
    return points, shares


def umap(summaries: Summaries, *, seed: int) -> Points:
    """Uniform manifold approximation (McInnes, Healy and Melville, 2018): neighbours stay neighbours.

    Raises:
        MissingExtraError: umap-learn is not installed.
    """
    try:
        from umap import UMAP  # noqa: PLC0415 - optional, and takes seconds
    except ImportError as error:
        message = f"--umap needs umap-learn: {how_to_install_package('umap-learn')} ({error})"
        raise MissingExtraError(message) from error
    near = max(2, min(15, len(summaries) - 1))
    # With a random start: the spectral one needs more points than some collections have.
    return np.asarray(
        UMAP(n_neighbors=near, init="random", random_state=seed).fit_transform(_scaled(summaries)), np.float64
    )


def _scaled(summaries: Summaries) -> NDArray[np.float64]:
    centred = summaries.astype(np.float64) - summaries.mean(axis=0)
    # Covariances have long tails: a few tracks would stretch the plane and huddle the rest.
    return np.clip(centred / np.maximum(centred.std(axis=0), 1e-9), -_MOST, _MOST)
