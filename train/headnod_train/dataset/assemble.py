"""Rows of the work folder become an archive with splits, read one row at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod_train.dataset.archive import Archive, window_starts
from headnod_train.dataset.fingerprint import Fingerprint, duplicate_groups, fingerprint
from headnod_train.dataset.parallel import WorkFolder
from headnod_train.dataset.split import refuse_leaks, split, split_segments
from headnod_train.dataset.tracks import UNUSED, Track


@dataclass(frozen=True)
class SplitShares:
    """How to draw a split."""

    valid: float = 0.15
    """Share of each genre in the valid split (0-1); train gets the rest."""

    test: float = 0.15

    seed: int = 1
    """Selects one of many such splits."""

    leaky: bool = False
    """Cut tracks into segments of 3 s and split those at random."""

    @property
    def by_name(self) -> dict[str, float]:
        """Share of each split."""
        return {"train": 1.0 - self.valid - self.test, "valid": self.valid, "test": self.test}


@dataclass(frozen=True)
class _Summary:
    """What stays in memory of a row."""

    floor_db: float
    range_db: float
    first_samples: NDArray[np.int32]
    print: Fingerprint


def assemble(
    tracks: list[Track], files: list[Path], work: WorkFolder, shares: SplitShares | None
) -> tuple[Archive, Iterator[NDArray[np.uint8]]]:
    """The archive of tracks whose features are in the work folder.

    Args:
        tracks: The tracks.
        files: File of each track's row.
        work: The work folder.
        shares: How to split, or None to keep the splits that tracks have.

    Returns:
        The archive, whose levels have their shape but no values; and an iterator over the levels of each row.

    Raises:
        LeakError: The splits that tracks have would leak.
        StorageError: A row of the work folder is missing.
    """
    summaries = []
    for file in files:
        row = work.load(file)
        summaries.append(_Summary(row.floor_db, row.range_db, row.first_samples, fingerprint(row.levels)))
    archive = describe(tracks, summaries, mels=work.front_end.n_mels, hop=work.front_end.hop)
    archive = replace(archive, front_end=work.front_end)
    if shares is None:
        refuse_leaks(archive)
    elif shares.leaky:
        return _segments(archive, files, work, shares)
    else:
        archive = replace(archive, splits=split(archive, shares.by_name, seed=shares.seed))
    return archive, (work.load(file).levels for file in files)


def describe(tracks: list[Track], summaries: list[_Summary] | None = None, *, mels: int = 1, hop: int = 1) -> Archive:
    """An archive without its levels; before features are extracted also without duplicate groups."""
    empty = _Summary(0.0, 1.0, np.zeros(1, np.int32), Fingerprint(np.empty(0, np.uint32), np.empty(0, np.uint32)))
    summaries = summaries or [empty] * len(tracks)
    longest = max(len(each.first_samples) for each in summaries)
    return Archive(
        # A view of one byte in the right shape.
        levels=np.broadcast_to(np.uint8(0), (len(tracks), longest, mels)),
        floor_db=np.array([each.floor_db for each in summaries], np.float32),
        range_db=np.array([each.range_db for each in summaries], np.float32),
        tracks=np.array([track.name for track in tracks], np.str_),
        genres=np.array([track.genre for track in tracks], np.str_),
        splits=np.array([track.split or UNUSED for track in tracks], np.str_),
        artists=_numbered([track.artist for track in tracks]),
        frames=np.array([len(each.first_samples) for each in summaries], np.int32),
        albums=_numbered([track.album or track.excerpt_of for track in tracks]),
        groups=duplicate_groups([each.print for each in summaries]),
        first_samples=np.stack([_padded(each.first_samples, longest, hop) for each in summaries]),
    )


def _segments(
    archive: Archive, files: list[Path], work: WorkFolder, shares: SplitShares
) -> tuple[Archive, Iterator[NDArray[np.uint8]]]:
    """Every window of every track as a row of its own, split at random."""
    frames = work.front_end.frames
    cuts = [(track, start) for track, n in enumerate(archive.frames) for start in window_starts(n, work.front_end)]
    cut = archive.chosen(np.array([track for track, _ in cuts], np.intp))
    starts = np.array([start for _, start in cuts])[:, None] + np.arange(frames)
    cut = replace(
        cut,
        levels=cut.levels[:, :frames],
        frames=np.full(len(cuts), frames, np.int32),
        first_samples=np.take_along_axis(cut.first_samples, starts, axis=1),
        splits=split_segments(len(cuts), shares.by_name, seed=shares.seed),
        leaky=True,
    )
    return cut, _segment_levels(files, work)


def _segment_levels(files: list[Path], work: WorkFolder) -> Iterator[NDArray[np.uint8]]:
    for file in files:
        levels = work.load(file).levels
        for start in window_starts(len(levels), work.front_end):
            yield levels[start : start + work.front_end.frames]


def _padded(first_samples: NDArray[np.int32], frames: int, hop: int) -> NDArray[np.int32]:
    beyond = np.arange(1, frames - len(first_samples) + 1, dtype=np.int32) * hop
    return np.concatenate([first_samples, first_samples[-1] + beyond]).astype(np.int32)


def _numbered(names: list[str]) -> NDArray[np.int32]:
    places = {name: place for place, name in enumerate(sorted(set(names) - {""}))}
    return np.array([places.get(name, -1) for name in names], np.int32)
