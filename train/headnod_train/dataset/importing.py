"""An import: a collection on disk in, an archive out, and nothing done twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from headnod.escaping import printable
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import Archive, read_archive
from headnod_train.dataset.archive_writer import write_archive
from headnod_train.dataset.assemble import SplitShares, assemble, describe
from headnod_train.dataset.excerpts import excerpts_note, mark_excerpts
from headnod_train.dataset.extraction import Rejected, TrackFeatures
from headnod_train.dataset.label_names import labelled
from headnod_train.dataset.layouts import find_tracks
from headnod_train.dataset.parallel import Extraction
from headnod_train.dataset.split import refuse_leaks
from headnod_train.dataset.split_lists import read_lists, sides_of
from headnod_train.dataset.tracks import Collection, CollectionError, Skipped, Track
from headnod_train.dataset.work_folder import WorkFolder, writing

ExtractAll = Callable[[list[Path], FrontEnd, float], Iterator[Extraction]]
"""Whoever hears files: places in the list with what was heard, in any order."""


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
        out: The archive to write; `out` with `.work` behind is its work folder.
        layout: How it lies there, or None to guess.
        seconds: How much of each piece of music is kept.
        front_end: What makes the features.
        extract_all: Who hears the files.
        shares: How to split. None: as the collection says itself, and by default shares where it says nothing.
        lists: Folder of lists that say which track stands on which side.
        renames: `old=new` for genres that are to be called otherwise.
        console: Where progress and what is left out are told.

    Returns:
        The archive without its levels, and the collection with all that was skipped.

    Raises:
        CollectionError: There is no music, or what is said of it is wrong.
        ArchiveError: An archive to be joined cannot be used.
        LeakError: Given sides leak.
        CrewError: Those who heard the files are gone.
        DiskError: The disk is full.
    """
    if out.resolve() in {source.resolve() for source in sources}:
        message = f"{out}: is what is to be imported (name another file with --out)"
        raise CollectionError(message)
    collection = labelled(find_tracks(sources, layout, front_end), renames)
    if lists is not None:
        collection = _listed(collection, lists)
    if shares is None and not any(track.split for track in collection.tracks):
        shares = SplitShares()
    if shares is None:
        # What can be refused before hours of decoding is refused before.
        refuse_leaks(describe(list(collection.tracks)))
    elif not shares.leaky:
        collection = _in_pieces(collection)
    _tell(console, collection)
    work = WorkFolder(out.with_name(f"{out.name}.work"), front_end, seconds)
    with writing(work.folder / ".part", "name another file with --out"):
        work.folder.mkdir(parents=True, exist_ok=True)
    heard, skipped = _heard(collection.tracks, work, extract_all, console)
    collection = replace(collection, skipped=(*collection.skipped, *skipped))
    if not heard:
        message = f"{sources[0]}: none of its {len(collection.tracks)} tracks can be used (each is named above)"
        raise CollectionError(message)
    archive, levels = assemble([track for track, _ in heard], [file for _, file in heard], work, shares)
    write_archive(out, archive, levels)
    return archive, collection


def _in_pieces(collection: Collection) -> Collection:
    tracks = mark_excerpts(collection.tracks)
    told = excerpts_note(tracks)
    return replace(collection, tracks=tuple(tracks), notes=(*collection.notes, *([told] if told else [])))


def _listed(collection: Collection, lists: Path) -> Collection:
    sides, absent = sides_of([track.name for track in collection.tracks], read_lists(lists))
    tracks = tuple(replace(track, split=side) for track, side in zip(collection.tracks, sides, strict=True))
    notes = (f"{lists}: {len(absent)} listed tracks are not in the collection, such as {absent[0]}",) if absent else ()
    return replace(collection, tracks=tracks, notes=(*collection.notes, *notes))


def _tell(console: Console, collection: Collection) -> None:
    for note in collection.notes:
        _line(console, note)
    for skipped in collection.skipped:
        _line(console, f"skipped {skipped.name}: {skipped.reason}")


def _heard(
    tracks: tuple[Track, ...], work: WorkFolder, extract_all: ExtractAll, console: Console
) -> tuple[list[tuple[Track, Path]], list[Skipped]]:
    """Every track that has a row in the work folder in the end, and those that cannot."""
    files, skipped, missing = {}, [], []
    for track in tracks:
        try:
            files[track] = work.file(track)
        except OSError as error:
            skipped.append(_skip(track, f"{error.strerror or error}".lower(), console))
            continue
        if not files[track].is_file():
            missing.append(track)
    total = len(files)
    if len(missing) < total:
        _line(console, f"{total - len(missing)} of {total} tracks were heard before")
    joined = [track for track in missing if _is_archive(track)]
    for path in sorted({track.path for track in joined}):
        archive = read_archive(path, work.front_end)
        for track in joined:
            if track.path == path:
                work.save(files[track], _row(archive, track.row))
    missing = [track for track in missing if not _is_archive(track)]
    with _progress(console) as progress:
        task = progress.add_task("heard", total=total, completed=total - len(missing))
        for place, answer in extract_all([track.path for track in missing], work.front_end, work.seconds):
            track = missing[place]
            if isinstance(answer, Rejected):
                skipped.append(_skip(track, answer.reason, console))
                del files[track]
            else:
                work.save(files[track], answer)
            progress.advance(task)
    return list(files.items()), skipped


def _is_archive(track: Track) -> bool:
    return track.row >= 0


def _row(archive: Archive, row: int) -> TrackFeatures:
    real = archive.frames[row]
    return TrackFeatures(
        archive.levels[row, :real],
        float(archive.floor_db[row]),
        float(archive.range_db[row]),
        archive.first_samples[row, :real],
    )


def _skip(track: Track, reason: str, console: Console) -> Skipped:
    _line(console, f"skipped {track.path}: {reason}")
    return Skipped(track.name, reason, track.genre)


def _line(console: Console, text: str) -> None:
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
