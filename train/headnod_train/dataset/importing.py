"""An import: from a collection on disk to an archive with splits, with a table and remarks for the user."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from headnod.features.frontend import FrontEnd
from headnod_train.console import print_line as line
from headnod_train.console import progress_bar, text_table
from headnod_train.dataset.archive import (
    BATCH_SIZE,
    LEAKY,
    Archive,
    count_windows,
    read_archive,
    window_starts,
    write_archive,
)
from headnod_train.dataset.extraction import Extraction, Rejected, TrackFeatures, WorkFolder
from headnod_train.dataset.folder_layouts import find_tracks
from headnod_train.dataset.split import (
    Fingerprint,
    duplicate_groups,
    fingerprint,
    listed_splits,
    read_lists,
    refuse_leaks,
    split,
    split_segments,
)
from headnod_train.dataset.tracks import (
    SPLITS,
    UNUSED,
    Collection,
    CollectionError,
    Skipped,
    Track,
    excerpts_note,
    labelled,
    mark_excerpts,
)

ExtractAll = Callable[[list[Path], FrontEnd, float], Iterator[Extraction]]
"""Extracts the features of files and yields them in any order."""

_MOST_NAMED = 10


def import_music(
    sources: list[Path],
    out: Path,
    *,
    layout: str | None,
    seconds: float,
    front_end: FrontEnd,
    extract_all: ExtractAll,
    shares: SplitShares | None,
    lists: Path | None,
    renames: Sequence[str] = (),
    console: Console,
) -> tuple[Archive, Collection]:
    """Make an archive of a collection.

    Args:
        sources: Where the music is.
        out: The archive to write; the work folder is `out` with the suffix `.work`.
        layout: Layout of the collection, or None to guess.
        seconds: Length of the excerpt of each track.
        front_end: Computes the features.
        extract_all: Runs the extraction on this machine or on a cluster.
        shares: How to split. None: as the collection says, or with the default shares if it does not.
        lists: Folder of lists that assign tracks to splits.
        renames: `old=new` for genres to rename.
        console: Shows progress and skipped files.

    Returns:
        The archive without its levels, and the collection with everything that was skipped.

    Raises:
        CollectionError: There is no music, or its metadata is wrong.
        ArchiveError: An archive to be joined cannot be used.
        LeakError: Given splits leak.
        WorkerError: The processes that extract features are gone.
        StorageError: The disk is full.
    """
    if out.resolve() in {source.resolve() for source in sources}:
        raise CollectionError(f"{out}: is also the source of this import (name another file with --out)")
    collection = labelled(find_tracks(sources, layout, front_end), renames)
    if lists is not None:
        collection = _listed(collection, lists)
    if shares is None and not any(track.split for track in collection.tracks):
        shares = SplitShares()
    if shares is None:
        # Before hours of decoding; duplicates are checked after them.
        refuse_leaks(describe(list(collection.tracks)))
    elif not shares.leaky:
        tracks = mark_excerpts(collection.tracks)
        note = excerpts_note(tracks)
        collection = replace(collection, tracks=tuple(tracks), notes=(*collection.notes, *([note] if note else [])))
    for note in collection.notes:
        line(console, note)
    for skipped in collection.skipped:
        line(console, f"skipped {skipped.name}: {skipped.reason}")
    work = WorkFolder(out.with_name(f"{out.name}.work"), front_end, seconds)
    rows, rejected = _extract(collection.tracks, work, extract_all, console)
    collection = replace(collection, skipped=(*collection.skipped, *rejected))
    if not rows:
        message = f"{sources[0]}: none of its {len(collection.tracks)} tracks can be used (each is named above)"
        raise CollectionError(message)
    archive, levels = assemble(list(rows), list(rows.values()), work, shares)
    write_archive(out, archive, levels)
    return archive, collection


def _listed(collection: Collection, lists: Path) -> Collection:
    splits, absent = listed_splits([track.name for track in collection.tracks], read_lists(lists))
    tracks = tuple(replace(track, split=split) for track, split in zip(collection.tracks, splits, strict=True))
    notes = (f"{lists}: {len(absent)} listed tracks are not in the collection, such as {absent[0]}",) if absent else ()
    return replace(collection, tracks=tracks, notes=(*collection.notes, *notes))


def _extract(
    tracks: tuple[Track, ...], work: WorkFolder, extract_all: ExtractAll, console: Console
) -> tuple[dict[Track, Path], list[Skipped]]:
    """File of the row of every usable track, in order, and the tracks that are not usable."""
    files: dict[Track, Path] = {}
    rejected: list[Skipped] = []

    def reject(track: Track, reason: str) -> None:
        line(console, f"skipped {track.path}: {reason}")
        rejected.append(Skipped(track.name, reason, track.genre))

    for track in tracks:
        try:
            files[track] = work.file(track)
        except OSError as error:
            reject(track, f"{error.strerror or error}".lower())
    total = len(files)
    missing = [track for track, file in files.items() if not file.is_file()]
    if len(missing) < total:
        line(console, f"{total - len(missing)} of {total} tracks were extracted before")
    archived = [track for track in missing if track.row >= 0]
    for path in sorted({track.path for track in archived}):
        archive = read_archive(path, work.front_end)
        for track in archived:
            if track.path == path:
                work.save(files[track], _row(archive, track.row))
    missing = [track for track in missing if track.row < 0]
    with progress_bar(console) as progress:
        task = progress.add_task("extracting features", total=total, completed=total - len(missing))
        for place, result in extract_all([track.path for track in missing], work.front_end, work.seconds):
            track = missing[place]
            if isinstance(result, Rejected):
                reject(track, result.reason)
                del files[track]
            else:
                work.save(files[track], result)
            progress.advance(task)
    return files, rejected


def _row(archive: Archive, row: int) -> TrackFeatures:
    frames = archive.frames[row]
    return TrackFeatures(
        archive.levels[row, :frames],
        float(archive.floor_db[row]),
        float(archive.range_db[row]),
        archive.first_samples[row, :frames],
    )


def summary_table(archive: Archive, collection: Collection, front_end: FrontEnd) -> Table:
    """Tracks of each genre by split, with skipped tracks and duplicates."""
    rows = "segments" if archive.leaky else "tracks"
    splits = [*SPLITS, *sorted({str(split) for split in archive.splits} - set(SPLITS))]
    skipped = Counter(each.genre for each in collection.skipped)

    def cells(name: str, chosen: np.ndarray, without: int) -> tuple[str, ...]:
        minutes = archive.frames[chosen].sum() * front_end.hop / front_end.sample_rate / 60
        counts = [(archive.splits[chosen] == split).sum() for split in splits]
        numbers = (*counts, without, (archive.groups[chosen] >= 0).sum())
        return name, f"{chosen.sum():,}", f"{minutes:,.1f}", *(f"{number:,}" for number in numbers)

    genres = sorted({*map(str, archive.genres), *skipped} - {""})
    table = text_table(
        "genre", rows, "minutes", *splits, "skipped", "duplicates",
        rows=(cells(genre, archive.genres == genre, skipped[genre]) for genre in genres),
        caption=LEAKY if archive.leaky else None,
    )  # fmt: skip
    table.add_section()
    table.add_row(*cells("all", np.ones(len(archive), np.bool_), skipped.total()))
    return table


def remarks(archive: Archive, collection: Collection, front_end: FrontEnd) -> Iterator[str]:
    """What the user should check in a new archive, one line each."""
    yield from _duplicates(archive)
    genres = archive.labels
    if len(genres) == 1 < len({track.genre for track in collection.tracks}):
        yield f"one genre is left, '{genres[0]}': a model needs two"
    for side, lost, without in (
        ("train", "a model cannot learn it", "fit needs one"),
        ("valid", "it is not validated", "quantise and pack need one"),
    ):
        there = archive.splits == side
        if not there.any():
            yield f"no track is in split {side}: {without} (add music, or split anew with --valid 0.15)"
        elif absent := sorted(set(genres) - {str(genre) for genre in archive.genres[there]}):
            yield f"split {side} has no track of {', '.join(absent[:_MOST_NAMED])}: {lost}"
    windows = count_windows(archive.chosen(archive.splits == "train"), front_end)
    if 0 < windows < BATCH_SIZE:
        yield f"split train has {windows} windows of 3 s, fewer than a batch ({BATCH_SIZE}): add music"


def _duplicates(archive: Archive) -> Iterator[str]:
    alike: dict[int, dict[str, str]] = defaultdict(dict)
    for track, genre, group in zip(archive.tracks, archive.genres, archive.groups, strict=True):
        if group >= 0:
            alike[int(group)][str(track)] = str(genre)
    # Duplicates with different labels first: one of the labels is wrong.
    ordered = sorted(alike.values(), key=lambda found: len(set(found.values())) == 1)
    for found in ordered[:_MOST_NAMED]:
        genres = sorted(set(found.values()))
        wrong = f", labelled {' and '.join(genres)}: check which label is right" if len(genres) > 1 else ""
        yield f"the same recording: {', '.join(found)}{wrong}"
    if len(ordered) > _MOST_NAMED:
        yield f"and {len(ordered) - _MOST_NAMED} more recordings that occur several times"


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

    `files` has the file of the row of each track. Without shares the splits that tracks have are kept.

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
