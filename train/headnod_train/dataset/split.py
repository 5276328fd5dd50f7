"""Train, valid and test splits without leakage.

Windows of one track sound alike, and so do tracks of one artist or album; a near-duplicate is the same music.
A network that is evaluated on music like its training data is graded on its memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod_train.dataset.archive import UNKNOWN, Archive
from headnod_train.dataset.tracks import AUDIO, SPLITS, UNUSED, CollectionError


class LeakError(HeadnodError, ValueError):
    """A track, artist, album or duplicate group is in several splits."""


class SplitError(HeadnodError, ValueError):
    """A collection cannot be split as requested."""


def refuse_leaks(archive: Archive) -> None:
    """Check that each track, known artist, known album and duplicate group is in one split.

    An archive that is marked as leaky passes; its figures are labelled instead.

    Raises:
        LeakError: One is in several splits; it is named with them.
    """
    if archive.leaky:
        return
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row, (track, split) in enumerate(zip(archive.tracks, archive.splits, strict=True)):
        if split == UNUSED:
            continue
        found["track", str(track)].setdefault(str(split), str(track))
        for kind, numbers in _ties(archive):
            if numbers[row] != UNKNOWN:
                found[kind, str(numbers[row])].setdefault(str(split), str(track))
    for (kind, name), tracks in sorted(found.items()):
        if len(tracks) > 1:
            splits = sorted(tracks)
            such = "" if kind == "track" else f", such as {' and '.join(tracks[split] for split in splits)}"
            message = f"{kind} {name} is in several splits: {', '.join(splits)}{such} "
            message += "(move it to one, or split anew: import it with --valid 0.15 --test 0.15)"
            raise LeakError(message)


def components(archive: Archive) -> NDArray[np.intp]:
    """Number of the group of each row, shape (rows,): rows that must be in one split have equal numbers.

    Rows are tied if they share a track, artist, album or duplicate group, directly or through other rows.
    Numbers count from 0 in the order of first rows.
    """
    first: dict[tuple[str, str], int] = {}
    ties = []
    for row in range(len(archive)):
        keys = [("track", str(archive.tracks[row]))]
        keys += [(kind, str(numbers[row])) for kind, numbers in _ties(archive) if numbers[row] != UNKNOWN]
        ties += [(first.setdefault(key, row), row) for key in keys]
    return connected_groups(len(archive), ties)


def connected_groups(count: int, ties: Iterable[tuple[int, int]]) -> NDArray[np.intp]:
    """Connected components of `count` nodes (union-find): a number for each, counting from 0 by first nodes."""
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
    """Draw a split for each row without leakage, with every genre spread as evenly as that allows.

    Args:
        archive: Rows to split; their present splits are ignored.
        shares: Wanted share of each genre by split; they sum to 1.
        seed: Selects one of many such splits.

    Returns:
        Names of splits, shape (rows,): equal for equal tracks and seeds.
    """
    names = [name for name, share in shares.items() if share > 0]
    # Ties go to the earlier split: without train there is no model, without test there still is one.
    placed = _spread(archive, components(archive), [shares[name] for name in names], seed=seed, even=False)
    return np.array(names, np.str_)[placed]


def split_segments(rows: int, shares: Mapping[str, float], *, seed: int) -> NDArray[np.str_]:
    """The random split of segments, which leaks: a split for each row whatever its track."""
    names = [name for name, share in shares.items() if share > 0]
    ends = np.round(np.cumsum([shares[name] for name in names]) * rows).astype(np.intp)
    placed = np.searchsorted(ends[:-1], np.arange(rows), side="right")
    return np.array(names, np.str_)[np.random.default_rng(seed).permutation(placed)]


def folds(archive: Archive, k: int, *, seed: int) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Cross-validation by artist: each row is validated once, and no fold leaks.

    Args:
        archive: Rows to divide; take `subset("train")` first to keep the other splits unseen.
        k: Number of folds, at least 2.
        seed: Selects one of many such divisions.

    Returns:
        Masks over rows, (train, valid), for each fold.

    Raises:
        SplitError: There are fewer groups of tracks than folds.
    """
    tied = components(archive)
    groups = int(tied.max(initial=-1)) + 1
    placed = _spread(archive, tied, [1.0 / max(k, 1)] * max(k, 1), seed=seed, even=True)
    if k < 2 or len(np.unique(placed)) < k:  # noqa: PLR2004 - one fold has nothing to train on
        message = (
            f"{len(archive)} tracks in {groups} groups that belong together (by artist, album or duplicate) "
            f"cannot be divided into {k} folds (use from 2 to fewer of them)"
        )
        raise SplitError(message)
    return [(placed != fold, placed == fold) for fold in range(k)]


def _ties(archive: Archive) -> Iterable[tuple[str, NDArray[np.int32]]]:
    return ("artist", archive.artists), ("album", archive.albums), ("duplicate group", archive.groups)


def _spread(
    archive: Archive, tied: NDArray[np.intp], shares: Sequence[float], *, seed: int, even: bool
) -> NDArray[np.intp]:
    """Assign each group to a split, the largest group first, each where it lowers the cost most.

    The cost is the squared distance of each split's count of each genre from its share, and if `even` also of its
    count of all tracks.
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
        # Rounded, so that every machine finds the same ties.
        placed[group] = cost.sum(axis=1).round(9).argmin()
        had[placed[group]] += counts[group]
    return placed[tied]


def read_lists(folder: Path) -> dict[str, str]:
    """Split of each track by lists in a folder, one text file per split with one track per line.

    A file's name begins with its split, such as train_filtered.txt of the fault-filtered GTZAN split.

    Raises:
        CollectionError: There are no lists, or a track is on two of them.
    """
    splits: dict[str, str] = {}
    for split_name in SPLITS:
        files = sorted(folder.glob(f"{split_name}*.txt"))
        if len(files) > 1:
            message = f"{folder}: {files[0].name} and {files[1].name} are both lists of {split_name} (leave one)"
            raise CollectionError(message)
        for file in files:
            for number, line in enumerate(_lines(file), 1):
                name = _without_suffix(line)
                if not name:
                    continue
                if name in splits:
                    message = f"{file}: line {number}: {name} is listed already, for {splits[name]}"
                    raise CollectionError(message)
                splits[name] = split_name
    if not splits:
        message = f"{folder}: lists no tracks (it needs train*.txt and valid*.txt, one track per line)"
        raise CollectionError(message)
    return splits


def listed_splits(names: list[str], splits: dict[str, str]) -> tuple[list[str], list[str]]:
    """Split of each track, `unused` if it is on no list; and listed tracks that are not among the names."""
    # Lists of GTZAN name tracks with or without the folder of their genre.
    bare = {name.rpartition("/")[2]: name for name in splits}
    listed = [name if name in splits else bare.get(name) for name in map(_without_suffix, names)]
    absent = sorted(splits.keys() - set(listed))
    return [UNUSED if name is None else splits[name] for name in listed], absent


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        message = f"{file}: is not UTF-8 text"
        raise CollectionError(message) from error


def _without_suffix(name: str) -> str:
    """A track's name without the suffix of its file, in which lists and collections differ."""
    name = name.strip().replace("\\", "/")
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in AUDIO | {".npz"} else name
