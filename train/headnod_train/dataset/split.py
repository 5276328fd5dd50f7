"""Train, valid and test splits without leakage, and the near-duplicates that a split keeps together.

Windows of one track sound alike, and so do tracks of one artist or album; a near-duplicate is the same music.
A network that is evaluated on music like its training data is graded on its memory.

Near-duplicates are the same recording at another level, codec, sample rate or offset, after Haitsma and Kalker, "A
Highly Robust Audio Fingerprinting System", ISMIR 2002: the sign of the difference between neighbouring bands, relative
to its usual value, gives 32 bits a frame. Two recordings are the same if few bits differ at some lag. Three things
differ from the paper:

- Frames of an archive are 77 ms apart and hardly overlap (12 ms and 31/32 in the paper). Two frames are added
  before bands are compared, which covers an offset of half a frame between copies, and a bit is relative to the
  mean of two seconds instead of to the previous frame.
- Bands that were cut off or are empty have no sign. Their bits are unknown and are not counted; otherwise all
  band-limited recordings would look alike.
- Candidates come from hash tables of some of the 32 bits each: a few frames keep these bits through any of the
  changes above.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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


def connected_groups(count: int, ties: Sequence[tuple[int, int]]) -> NDArray[np.intp]:
    """Connected components of `count` nodes: a number for each, counting from 0 by first nodes."""
    one, other = np.array(ties, np.intp).reshape(-1, 2).T
    graph = coo_array((np.ones(len(ties), np.bool_), (one, other)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.intp)


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
    """
    tied = components(archive)
    groups = int(tied.max(initial=-1)) + 1
    placed = _spread(archive, tied, [1.0 / max(k, 1)] * max(k, 1), seed=seed, even=True)
    if k < 2 or len(np.unique(placed)) < k:  # noqa: PLR2004 - one fold has nothing to train on
        raise SplitError(
            f"{len(archive)} tracks in {groups} groups that belong together (by artist, album or duplicate) "
            f"cannot be divided into {k} folds (use from 2 to fewer of them)"
        )
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
                    raise CollectionError(f"{file}: line {number}: {name} is listed already, for {splits[name]}")
                splits[name] = split_name
    if not splits:
        raise CollectionError(f"{folder}: lists no tracks (it needs train*.txt and valid*.txt, one track per line)")
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
        raise CollectionError(f"{file}: is not UTF-8 text") from error


def _without_suffix(name: str) -> str:
    """A track's name without the suffix of its file, in which lists and collections differ."""
    name = name.strip().replace("\\", "/")
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in AUDIO | {".npz"} else name


MOST_DIFFERENT_BITS = 0.30
"""Largest share of bits that may differ between copies of one recording.

Haitsma and Kalker allow 0.35. Measured copies differ in at most 0.27 of the bits; of 6,000 pairs of different real
tracks, compared at every lag, the closest differ in 0.37.
"""

BITS = 32
"""Bits per frame: pairs of neighbouring bands."""

_LOWEST, _HIGHEST = 4, 112
"""Range of the mel bands that are compared: hum is below, and codecs cut off the bands above."""
_CONTEXT = 13
"""Frames on either side whose mean is the usual difference: about a second each."""
_LEAST_DIFFERENCE = 0.5
"""Differences below this, in levels, are quantisation noise and have no sign."""

_TABLES = 8
_LEAST_KNOWN = 24
"""Known bits that a frame needs to be looked up."""
_LARGEST_BUCKET = 64
"""Hashes shared by more frames are ignored: silence, a tone, a loop."""
_VOTES = 3
"""Frames that must agree on a lag before a pair is compared."""
_CHUNK = 1000
"""Tracks that are compared with all others at a time, which bounds the memory."""
_LEAST_OVERLAP = 38
"""Least number of frames that copies have in common: a window."""


@dataclass(frozen=True)
class Fingerprint:
    """32 bits for each frame of a track but the last."""

    bits: NDArray[np.uint32]
    """Whether neighbouring bands differ more than usual, shape (frames - 1,)."""

    known: NDArray[np.uint32]
    """Which of these bits are known, shape (frames - 1,)."""


def fingerprint(levels: NDArray[np.uint8]) -> Fingerprint:
    """The fingerprint of log-mel in 256 steps, shape (frames, mels)."""
    edges = np.linspace(_LOWEST, _HIGHEST, BITS + 2).round().astype(np.intp) * levels.shape[1] // 128
    sums = np.add.reduceat(levels[:, : edges[-1]].astype(np.float32), edges[:-1], axis=1)
    differs = np.diff(sums / np.diff(edges), axis=1)
    differs = differs[:-1] + differs[1:]
    until = np.cumsum(np.vstack([np.zeros((1, BITS)), differs]), axis=0)
    frame = np.arange(len(differs))
    since, to = np.maximum(frame - _CONTEXT, 0), np.minimum(frame + _CONTEXT + 1, len(differs))
    unusual = differs - (until[to] - until[since]) / (to - since)[:, None]
    return Fingerprint(_packed(unusual > 0), _packed(np.abs(unusual) >= _LEAST_DIFFERENCE))


def bit_error_rate(one: Fingerprint, other: Fingerprint, lag: int) -> float:
    """Share of known bits that differ between frame t + lag of one and frame t of the other.

    Returns:
        From 0 to 1; 1 if less than half a window is comparable.
    """
    start, stop = max(lag, 0), min(len(one.bits), len(other.bits) + lag)
    if stop - start < _LEAST_OVERLAP - 1:
        return 1.0
    here, there = slice(start, stop), slice(start - lag, stop - lag)
    known = one.known[here] & other.known[there]
    both = int(np.bitwise_count(known).sum())
    if both < (_LEAST_OVERLAP - 1) * BITS // 2:
        return 1.0
    return float(np.bitwise_count((one.bits[here] ^ other.bits[there]) & known).sum() / both)


def near_duplicates(prints: list[Fingerprint]) -> list[tuple[int, int, float]]:
    """Pairs of near-duplicates: indices of two tracks, the smaller first, and the share of bits that differ."""
    found: dict[tuple[int, int], float] = {}
    for one, other, lag in _candidates(prints):
        share = min(bit_error_rate(prints[one], prints[other], lag + nearby) for nearby in (-1, 0, 1))
        if share <= min(MOST_DIFFERENT_BITS, found.get((one, other), 1.0)):
            found[one, other] = share
    return [(one, other, share) for (one, other), share in sorted(found.items())]


def duplicate_groups(prints: list[Fingerprint]) -> NDArray[np.int32]:
    """A number for each track, equal for near-duplicates, -1 for tracks without one."""
    tied = connected_groups(len(prints), [(one, other) for one, other, _ in near_duplicates(prints)])
    roots, placed, sizes = np.unique(tied, return_inverse=True, return_counts=True)
    numbers = np.full(len(roots), -1, np.int32)
    numbers[sizes > 1] = np.arange((sizes > 1).sum())
    return numbers[placed].astype(np.int32)


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint32]:
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0]


def _candidates(prints: list[Fingerprint]) -> Iterator[tuple[int, int, int]]:
    """Pairs of tracks and a lag on which several of their frames agree."""
    if len(prints) < 2:  # noqa: PLR2004 - one track has no duplicate
        return
    owner = np.repeat(np.arange(len(prints)), [len(each.bits) for each in prints])
    frame = np.concatenate([np.arange(len(each.bits)) for each in prints])
    bits = np.concatenate([each.bits for each in prints])
    seen = np.bitwise_count(np.concatenate([each.known for each in prints])) >= _LEAST_KNOWN
    owner, frame, bits = owner[seen], frame[seen], bits[seen]
    longest = int(frame.max(initial=0)) + 1
    for first in range(0, len(prints), _CHUNK):
        votes = [
            _votes(hashed, owner, frame, longest=longest, tracks=len(prints), first=first)
            for hashed in _hashes(bits, len(prints))
        ]
        places, count = np.unique(np.concatenate(votes), return_counts=True)
        # Copies that are offset by half a frame vote for two lags in equal parts.
        beside = np.diff(places, append=-1) == 1
        count = count + np.where(beside, np.roll(count, -1), 0)
        for place in places[count >= _VOTES]:
            pair, lag = divmod(int(place), 2 * longest)
            one, other = divmod(pair, len(prints))
            yield one, other, lag - longest


def _hashes(bits: NDArray[np.uint32], tracks: int) -> Iterator[NDArray[np.uint32]]:
    """Hashes of each frame, one array per table: more bits in large collections, so that buckets stay small."""
    taken = min(20 + max(int(np.ceil(np.log2(tracks / 1000))), 0), 28)
    rng = np.random.default_rng(2002)
    for _ in range(_TABLES):
        chosen = rng.choice(BITS, taken, replace=False)
        yield bits & np.uint32((np.uint64(1) << chosen.astype(np.uint64)).sum())


def _votes(
    hashed: NDArray[np.uint32],
    owner: NDArray[np.intp],
    frame: NDArray[np.intp],
    *,
    longest: int,
    tracks: int,
    first: int,
) -> NDArray[np.int64]:
    """Each shared hash of a track of the chunk and a later one, as one number for the pair and its lag."""
    order = np.lexsort((frame, owner, hashed))
    hashed, owner, frame = hashed[order], owner[order].astype(np.int64), frame[order].astype(np.int64)
    starts = np.flatnonzero(np.diff(hashed, prepend=~hashed[:1]))
    sizes = np.diff(starts, append=len(hashed))
    thin = np.repeat((sizes > 1) & (sizes <= _LARGEST_BUCKET), sizes)
    hashed, owner, frame = hashed[thin], owner[thin], frame[thin]
    met = [np.empty(0, np.int64)]
    for apart in range(1, _LARGEST_BUCKET):
        same = np.flatnonzero(hashed[:-apart] == hashed[apart:])
        if not same.size:
            break
        one, other = owner[same], owner[same + apart]
        wanted = (one != other) & (one >= first) & (one < first + _CHUNK)
        same, one, other = same[wanted], one[wanted], other[wanted]
        met.append((one * tracks + other) * (2 * longest) + frame[same] - frame[same + apart] + longest)
    return np.concatenate(met)
