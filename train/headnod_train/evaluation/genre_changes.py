"""Songs one after another: how soon the listener names a new genre, and how often it wavers within a song."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headnod.inference.model import GenreModel
from headnod_train.dataset.archive import Archive, window_starts
from headnod_train.evaluation.predictions import naming_of
from headnod_train.evaluation.result_parts import GenreChanges

SONGS = 300
"""Most tracks that are played: enough for every figure, and they fit into memory."""

_SEED = 20_261_122


def song_changes(model: GenreModel, played: Archive, *, named: NDArray[np.intp]) -> GenreChanges | None:
    """Play tracks of ever another genre as one stream, through the listener's smoothing and certainty.

    Args:
        model: What names genres.
        played: The tracks; each is cut at its start by up to one window, so
            that songs change anywhere within a window.
        named: What the model calls each track by the whole of it, shape (tracks,).

    Returns:
        Figures, or None where there are not two genres.
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
    """Tracks at random, none after one of its genre, as far as they go."""
    left = {genre: list(rng.permutation(np.flatnonzero(targets == genre))) for genre in np.unique(targets)}
    order: list[int] = []
    while len(order) < SONGS:
        others = [genre for genre, tracks in left.items() if tracks and not (order and targets[order[-1]] == genre)]
        if not others:
            break
        # The fuller ones first, or the last tracks would all be of one genre.
        weights = np.array([len(left[genre]) for genre in others], float)
        genre = others[int(rng.choice(len(others), p=weights / weights.sum()))]
        order.append(int(left[genre].pop()))
    return order


def _shown(model: GenreModel, log_mel: NDArray[np.float32]) -> tuple[NDArray[np.float64], list[int | None]]:
    """When each estimate is made, in seconds, and what it names; None where it is not certain enough."""
    front_end = model.front_end
    naming = naming_of(model.manifest.rejection.threshold)
    starts = window_starts(len(log_mel), front_end)

    def names() -> Iterator[int | None]:
        for start in starts:
            window = front_end.cepstra(log_mel[start : start + front_end.frames])
            said = naming.update(model.scores(window))
            yield said.answer if said.above_threshold and said.answer < len(model.labels) else None

    ends = (np.array(starts) + front_end.frames) * (front_end.hop / front_end.sample_rate)
    return ends, list(names())


def _wavering(before: int | None, shown: list[int | None]) -> int:
    """Changes of the genre shown during a song, but for the one that the song made; unknown is no change."""
    genres = [genre for genre in (before, *shown) if genre is not None]
    changes = sum(one != other for one, other in pairwise(genres))
    return changes - (1 if changes and genres[0] != genres[-1] else 0)


def _median(delays: list[float]) -> float | None:
    middle = float(np.median(delays)) if delays else np.inf
    return round(middle, 2) if np.isfinite(middle) else None
