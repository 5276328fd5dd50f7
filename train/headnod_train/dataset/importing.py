"""An import: from a collection on disk to an archive, with a table and remarks for the user."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from headnod.features.frontend import FrontEnd
from headnod_train.console import print_line as line
from headnod_train.console import progress_bar, text_table
from headnod_train.dataset.archive import BATCH_SIZE, LEAKY, Archive, count_windows, read_archive, write_archive
from headnod_train.dataset.assemble import SplitShares, assemble, describe
from headnod_train.dataset.extraction import Rejected, TrackFeatures
from headnod_train.dataset.folder_layouts import find_tracks
from headnod_train.dataset.label_names import labelled
from headnod_train.dataset.parallel import Extraction, WorkFolder
from headnod_train.dataset.split import listed_splits, read_lists, refuse_leaks
from headnod_train.dataset.tracks import (
    SPLITS,
    Collection,
    CollectionError,
    Skipped,
    Track,
    excerpts_note,
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
        message = f"{out}: is also the source of this import (name another file with --out)"
        raise CollectionError(message)
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
    table = text_table("genre", rows, "minutes", *splits, "skipped", "duplicates")
    table.caption = LEAKY if archive.leaky else None
    skipped = Counter(each.genre for each in collection.skipped)

    def add(name: str, chosen: np.ndarray, without: int) -> None:
        minutes = archive.frames[chosen].sum() * front_end.hop / front_end.sample_rate / 60
        counts = [(archive.splits[chosen] == split).sum() for split in splits]
        numbers = (*counts, without, (archive.groups[chosen] >= 0).sum())
        table.add_row(name, f"{chosen.sum():,}", f"{minutes:,.1f}", *(f"{number:,}" for number in numbers))

    for genre in sorted({*map(str, archive.genres), *skipped} - {""}):
        add(genre, archive.genres == genre, skipped[genre])
    table.add_section()
    add("all", np.ones(len(archive), np.bool_), skipped.total())
    return table


def remarks(archive: Archive, collection: Collection, front_end: FrontEnd) -> Iterator[str]:
    """What the user should check in a new archive, one line each."""
    yield from _duplicates(archive)
    genres = archive.labels
    if len(genres) == 1 < len({track.genre for track in collection.tracks}):
        yield f"one genre is left, '{genres[0]}': a model needs two"
    for split, lost, without in (
        ("train", "a model cannot learn it", "fit needs one"),
        ("valid", "it is not validated", "quantise and pack need one"),
    ):
        there = archive.splits == split
        if not there.any():
            yield f"no track is in split {split}: {without} (add music, or split anew with --valid 0.15)"
        elif absent := sorted(set(genres) - {str(genre) for genre in archive.genres[there]}):
            yield f"split {split} has no track of {', '.join(absent[:_MOST_NAMED])}: {lost}"
    windows = count_windows(archive.chosen(archive.splits == "train"), front_end)
    if 0 < windows < BATCH_SIZE:
        yield f"split train has {windows} windows of 3 s, fewer than one training step takes ({BATCH_SIZE}): add music"


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
