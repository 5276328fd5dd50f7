"""Tracks played as one stream: delay until a new genre is named, and spurious changes within a track."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headnod.inference.model import GenreModel
from headnod_train.dataset.archive import Archive, window_starts
from headnod_train.evaluation.predictions import genre_tracker
from headnod_train.evaluation.results import GenreChanges

SONGS = 300
"""Largest number of tracks that are played, so that they fit into memory."""

_SEED = 20_261_122


def song_changes(model: GenreModel, played: Archive, *, named: NDArray[np.intp]) -> GenreChanges | None:
    """Play tracks of alternating genres as one stream, through the listener's smoothing and threshold.

    Args:
        model: The model.
        played: The tracks; up to one window is cut off the start of each, so that changes fall anywhere in a window.
        named: Genre that the model predicts for each whole track, shape (tracks,).

    Returns:
        None if there is only one genre.
    """
    targets, rng = played.targets(model.labels), np.random.default_rng(_SEED)
    order = _order(targets, rng)
    if len(order) < 2:  # noqa: PLR2004 - a change needs two songs
        return None
    songs = [played.log_mel(track)[int(rng.integers(model.front_end.frames)) :] for track in order]
    begun = np.cumsum([0] + [len(song) for song in songs]) * (model.front_end.hop / model.front_end.sample_rate)
    times, shown = _shown(model, np.concatenate(songs))
    known = named == targets
    delays, all_delays, wavering = [], [], 0
    for place in range(1, len(order)):
        during = np.flatnonzero((times > begun[place]) & (times <= begun[place + 1]))
        before = shown[during[0] - 1] if during.size and during[0] else None
        right = [float(times[each] - begun[place]) for each in during if shown[each] == targets[order[place]]]
        delay = right[0] if right else np.inf
        all_delays.append(delay)
        if known[order[place]] and known[order[place - 1]]:
            delays.append(delay)
        wavering += _wavering(before, [shown[each] for each in during])
    found = sorted(delay for delay in delays if np.isfinite(delay))
    return GenreChanges(
        changes=len(delays),
        median_seconds=_median(delays),
        median_seconds_of_all=_median(all_delays),
        never=round(1.0 - len(found) / len(delays), 4) if delays else 0.0,
        seconds=tuple(round(delay, 2) for delay in found),
        spurious_per_10_min=round(600.0 * wavering / float(begun[-1] - begun[1]), 3),
    )


def _order(targets: NDArray[np.intp], rng: np.random.Generator) -> list[int]:
    """Tracks at random, none after one of its own genre, until that is impossible."""
    left = {genre: list(rng.permutation(np.flatnonzero(targets == genre))) for genre in np.unique(targets)}
    order: list[int] = []
    while len(order) < SONGS:
        others = [genre for genre, tracks in left.items() if tracks and not (order and targets[order[-1]] == genre)]
        if not others:
            break
        # Weighted by remaining tracks, or the last tracks would all be of one genre.
        weights = np.array([len(left[genre]) for genre in others], float)
        genre = others[int(rng.choice(len(others), p=weights / weights.sum()))]
        order.append(int(left[genre].pop()))
    return order


def _shown(model: GenreModel, log_mel: NDArray[np.float32]) -> tuple[NDArray[np.float64], list[int | None]]:
    """Seconds of each estimate and the genre that it shows; None below the threshold."""
    front_end = model.front_end
    naming = genre_tracker(model.manifest.rejection.threshold)
    starts = window_starts(len(log_mel), front_end)

    def names() -> Iterator[int | None]:
        for start in starts:
            window = front_end.cepstra(log_mel[start : start + front_end.frames])
            said = naming.update(model.scores(window))
            yield said.answer if said.above_threshold and said.answer < len(model.labels) else None

    ends = (np.array(starts) + front_end.frames) * (front_end.hop / front_end.sample_rate)
    return ends, list(names())


def _wavering(before: int | None, shown: list[int | None]) -> int:
    """Changes of the shown genre during a track beyond the one to its genre; "unknown" is not a change."""
    genres = [genre for genre in (before, *shown) if genre is not None]
    changes = sum(one != other for one, other in pairwise(genres))
    return changes - (1 if changes and genres[0] != genres[-1] else 0)


def _median(delays: list[float]) -> float | None:
    middle = float(np.median(delays)) if delays else np.inf
    return round(middle, 2) if np.isfinite(middle) else None
