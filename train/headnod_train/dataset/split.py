"""Splits that cannot leak.

Windows of one track sound alike and so do tracks of one artist or album, and a
near-duplicate is the same music: a network that meets them on both sides is
graded on its memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod_train.dataset.archive import UNKNOWN_ARTIST, Archive

UNUSED = "unused"
"""The side of tracks that are neither learned from nor graded on."""


class LeakError(HeadnodError, ValueError):
    """A track, an artist, an album or a duplicate stands on two sides of a split."""


class SplitError(HeadnodError, ValueError):
    """A collection cannot be split as it was asked."""


def refuse_leaks(archive: Archive) -> None:
    """Check that each track, known artist, known album and duplicate group stands on one side.

    An archive that says of itself that it leaks, as `import --leaky` writes it,
    passes: whoever shows a figure of it labels it.

    Raises:
        LeakError: One does not; it is named with its sides.
    """
    if archive.leaky:
        return
    sides: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row, (track, split) in enumerate(zip(archive.tracks, archive.splits, strict=True)):
        if split == UNUSED:
            continue
        sides["track", str(track)].setdefault(str(split), str(track))
        for kind, numbers in _ties(archive):
            if numbers[row] != UNKNOWN_ARTIST:
                sides[kind, str(numbers[row])].setdefault(str(split), str(track))
    for (kind, name), found in sorted(sides.items()):
        if len(found) > 1:
            standing = ", ".join(sorted(found))
            such = "" if kind == "track" else f", such as {' and '.join(found[side] for side in sorted(found))}"
            message = f"{kind} {name} stands on two sides: {standing}{such} "
            message += "(put it on one, or split anew: import it with --valid 0.15 --test 0.15)"
            raise LeakError(message)


def components(archive: Archive) -> NDArray[np.intp]:
    """What must stay together: a number for each row, the same where rows share a track or are tied.

    Rows are tied by artist, album or duplicate group, and so is whatever is
    tied to what they are tied to. Numbers count from 0 in order of first rows.
    """
    first: dict[tuple[str, str], int] = {}
    ties = []
    for row in range(len(archive)):
        keys = [("track", str(archive.tracks[row]))]
        keys += [(kind, str(numbers[row])) for kind, numbers in _ties(archive) if numbers[row] != UNKNOWN_ARTIST]
        ties += [(first.setdefault(key, row), row) for key in keys]
    return connected_groups(len(archive), ties)


def connected_groups(count: int, ties: Iterable[tuple[int, int]]) -> NDArray[np.intp]:
    """Which of so many things are tied, through others too: a number for each, counting from 0 by first places."""
    parent = list(range(count))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for tie in ties:
        one, other = sorted(map(root, tie))
        parent[other] = one
    return np.unique([root(place) for place in range(count)], return_inverse=True)[1].astype(np.intp)


def split(archive: Archive, shares: Mapping[str, float], *, seed: int) -> NDArray[np.str_]:
    """A side for each row, so that nothing leaks and every genre is spread as evenly as that allows.

    Args:
        archive: What is split; the sides that it has are ignored.
        shares: How much of each genre each side is to have; they sum to 1.
        seed: Which of the many such splits it is.

    Returns:
        Names of sides, shape (rows,): the same for the same tracks and seed.
    """
    sides = [side for side, share in shares.items() if share > 0]
    # In doubt the earlier side: without train there is no model, without test still a choice of one.
    placed = _spread(archive, components(archive), [shares[side] for side in sides], seed=seed, even=False)
    return np.array(sides, np.str_)[placed]


def split_segments(rows: int, shares: Mapping[str, float], *, seed: int) -> NDArray[np.str_]:
    """The random split of segments, which leaks: a side for each row, whatever track it is of."""
    sides = [side for side, share in shares.items() if share > 0]
    ends = np.round(np.cumsum([shares[side] for side in sides]) * rows).astype(np.intp)
    placed = np.searchsorted(ends[:-1], np.arange(rows), side="right")
    return np.array(sides, np.str_)[np.random.default_rng(seed).permutation(placed)]


def folds(archive: Archive, k: int, *, seed: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Cross-validation by artist: what to learn from and what to grade on, k times.

    Each row is graded on once. No artist, album, duplicate or track is on both
    sides of any fold, and genres are spread as evenly as that allows.

    Args:
        archive: What is learned from; take `subset("train")` first if a side is to stay unseen.
        k: Folds, at least 2.
        seed: Which of the many such divisions it is.

    Returns:
        Masks over rows: (train, valid) of each fold.

    Raises:
        SplitError: There are fewer groups of tracks than folds.
    """
    tied = components(archive)
    groups = int(tied.max(initial=-1)) + 1
    placed = _spread(archive, tied, [1.0 / max(k, 1)] * max(k, 1), seed=seed, even=True)
    if k < 2 or len(np.unique(placed)) < k:  # noqa: PLR2004 - one fold has nothing to learn from
        message = (
            f"{len(archive)} tracks in {groups} groups that belong together (by artist, album or duplicate) "
            f"cannot be divided into {k} folds (take from 2 to fewer of them)"
        )
        raise SplitError(message)
    return [(placed != fold, placed == fold) for fold in range(k)]


def _ties(archive: Archive) -> Iterable[tuple[str, NDArray[np.int32]]]:
    return ("artist", archive.artists), ("album", archive.albums), ("duplicate group", archive.groups)


def _spread(
    archive: Archive, tied: NDArray[np.intp], shares: Sequence[float], *, seed: int, even: bool
) -> NDArray[np.intp]:
    """Put each group on a side: the largest first, each where it mends the most.

    Wanting is the squared distance of each side's count of each genre from its
    share of that genre, and if even also of its count of all tracks.
    """
    genre = np.unique(archive.genres, return_inverse=True)[1]
    counts = np.zeros((int(tied.max(initial=-1)) + 1, int(genre.max(initial=-1)) + 1))
    np.add.at(counts, (tied, genre), 1.0)
    sizes = counts.sum(axis=1)
    if even:
        counts = np.column_stack([counts, sizes])
    whole = counts.sum(axis=0)
    wanted = np.outer(shares, whole)
    had = np.zeros_like(wanted)
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    placed = np.zeros(len(counts), np.intp)
    for group in sorted(shuffled, key=lambda group: -sizes[group]):
        cost = ((had + counts[group] - wanted) ** 2 - (had - wanted) ** 2) / whole
        # Rounded, so that a tie is one on every machine.
        placed[group] = cost.sum(axis=1).round(9).argmin()
        had[placed[group]] += counts[group]
    return placed[tied]
