"""Rows that were heard become an archive: numbered, grouped, put on sides, and cut where it is to leak."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod_train.dataset.archive import Archive, window_starts
from headnod_train.dataset.extraction import TrackFeatures
from headnod_train.dataset.fingerprint import Fingerprint, duplicate_groups, fingerprint
from headnod_train.dataset.split import UNUSED, refuse_leaks, split, split_segments
from headnod_train.dataset.tracks import Track
from headnod_train.dataset.work_folder import DiskError, WorkFolder


@dataclass(frozen=True)
class SplitShares:
    """How much music each side is to have."""

    valid: float = 0.15
    """Share of the valid side, of each genre (0-1)."""

    test: float = 0.15
    """Share of the test side."""

    seed: int = 1
    """Which of the many such splits."""

    leaky: bool = False
    """Cut tracks into segments of 3 s and scatter those."""

    @property
    def by_name(self) -> dict[str, float]:
        """Share of each side; what is left is train's."""
        return {"train": 1.0 - self.valid - self.test, "valid": self.valid, "test": self.test}


@dataclass(frozen=True)
class _Known:
    """What of a row stays in memory."""

    floor_db: float
    range_db: float
    first_samples: NDArray[np.int32]
    print: Fingerprint


def assemble(
    tracks: list[Track], files: list[Path], work: WorkFolder, shares: SplitShares | None
) -> tuple[Archive, Iterator[NDArray[np.uint8]]]:
    """The archive of tracks that were heard.

    Args:
        tracks: What was heard.
        files: Where the row of each lies in the work folder.
        work: The work folder.
        shares: How to split, or None to keep the sides that tracks have.

    Returns:
        The archive, whose levels have their shape and no values; and the
        levels of each row, read when they are asked for.

    Raises:
        LeakError: The sides that tracks have would leak.
        DiskError: A row of the work folder is gone.
    """
    known = [_known(_again(work, file)) for file in files]
    archive = describe(tracks, known, mels=work.front_end.n_mels, hop=work.front_end.hop)
    archive = replace(archive, front_end=work.front_end)
    if shares is None:
        refuse_leaks(archive)
    elif shares.leaky:
        return _segments(archive, files, work, shares)
    else:
        archive = replace(archive, splits=split(archive, shares.by_name, seed=shares.seed))
    return archive, (_again(work, file).levels for file in files)


def describe(tracks: list[Track], known: list[_Known] | None = None, *, mels: int = 1, hop: int = 1) -> Archive:
    """What is known of tracks, and of how they sound once they were heard, without their levels."""
    known = known or [_Known(0.0, 1.0, np.zeros(1, np.int32), _NO_PRINT)] * len(tracks)
    longest = max(len(each.first_samples) for each in known)
    return Archive(
        # Of the right shape, and one byte large.
        levels=np.broadcast_to(np.uint8(0), (len(tracks), longest, mels)),
        floor_db=np.array([each.floor_db for each in known], np.float32),
        range_db=np.array([each.range_db for each in known], np.float32),
        tracks=np.array([track.name for track in tracks], np.str_),
        genres=np.array([track.genre for track in tracks], np.str_),
        splits=np.array([track.split or UNUSED for track in tracks], np.str_),
        artists=_numbered([track.artist for track in tracks]),
        frames=np.array([len(each.first_samples) for each in known], np.int32),
        albums=_numbered([track.album or track.excerpt_of for track in tracks]),
        groups=duplicate_groups([each.print for each in known]),
        first_samples=np.stack([_continued(each.first_samples, longest, hop) for each in known]),
    )


def _segments(
    archive: Archive, files: list[Path], work: WorkFolder, shares: SplitShares
) -> tuple[Archive, Iterator[NDArray[np.uint8]]]:
    """Every window that a listener hears of every track as a row of its own, scattered over the sides."""
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
    return cut, _cut(files, work)


def _cut(files: list[Path], work: WorkFolder) -> Iterator[NDArray[np.uint8]]:
    for file in files:
        levels = _again(work, file).levels
        for start in window_starts(len(levels), work.front_end):
            yield levels[start : start + work.front_end.frames]


def _known(heard: TrackFeatures) -> _Known:
    return _Known(heard.floor_db, heard.range_db, heard.first_samples, fingerprint(heard.levels))


def _again(work: WorkFolder, file: Path) -> TrackFeatures:
    heard = work.load(file)
    if heard is None:
        message = f"{file}: is gone or damaged (start again: only what is missing is heard)"
        raise DiskError(message)
    return heard


def _continued(first_samples: NDArray[np.int32], frames: int, hop: int) -> NDArray[np.int32]:
    beyond = np.arange(1, frames - len(first_samples) + 1, dtype=np.int32) * hop
    return np.concatenate([first_samples, first_samples[-1] + beyond]).astype(np.int32)


def _numbered(names: list[str]) -> NDArray[np.int32]:
    places = {name: place for place, name in enumerate(sorted(set(names) - {""}))}
    return np.array([places.get(name, -1) for name in names], np.int32)


_NO_PRINT = Fingerprint(np.empty(0, np.uint32), np.empty(0, np.uint32))
