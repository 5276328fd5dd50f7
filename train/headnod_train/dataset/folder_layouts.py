"""Layouts of music collections on disk, recognised by their files: GTZAN, FMA, folders of genres, CSV, log-mel.

People write a CSV by hand or in a spreadsheet on any system, so every mistake is named with its line and column.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from headnod.escaping import printable
from headnod.features.frontend import FrontEnd
from headnod_train.dataset.archive import Archive, read_archive
from headnod_train.dataset.tracks import (
    AUDIO,
    OTHER_AUDIO,
    SPLITS,
    UNUSED,
    Collection,
    CollectionError,
    Skipped,
    Track,
    find_files,
    path_text,
    unique,
)

_NEEDED = ("path", "genre")
_OPTIONAL = ("artist", "album", "split")
_SPLITS = {"training": "train", "validation": "valid"} | {name: name for name in (*SPLITS, UNUSED)}


@dataclass(frozen=True)
class Spreadsheet:
    """A CSV in memory."""

    header: list[str]
    """Names of the columns in lower case."""

    rows: list[tuple[int, list[str]]]
    """Number and fields of each line that is not empty."""

    notes: list[str]
    """Remarks for the user."""


def read_spreadsheet(path: Path) -> Spreadsheet:
    """Read a CSV separated by commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252."""
    text, notes = _decoded(path)
    first, _, rest = text.partition("\n")
    # Excel writes the delimiter in a line of its own before the header.
    separator = re.fullmatch(r"sep=(.)", first, re.IGNORECASE)
    delimiter, before = (separator[1], 1) if separator else (max(",;\t", key=first.count), 0)
    lines = csv.reader(io.StringIO(rest if separator else text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        return Spreadsheet(header, [(lines.line_num + before, line) for line in lines if any(line)], notes)
    except csv.Error as error:
        raise CollectionError(f"{path}: line {lines.line_num + before}: {error}") from error


def file_of(path: Path, number: int, text: str) -> tuple[str, Path]:
    """A track's name and file, with the path as written or in the spelling of Windows or macOS."""
    names = [text, PureWindowsPath(text).as_posix()]
    # macOS decomposes the letters of file names.
    names += [unicodedata.normalize(form, name) for name in names for form in ("NFC", "NFD")]
    for name in names:
        if (file := path.parent / Path(name).expanduser()).exists():
            return name, file
    if PureWindowsPath(text).drive:
        message = f"{path}: line {number}, column 'path': '{text}' is a Windows path (write it relative to this file)"
        raise CollectionError(message)
    return text, path.parent / Path(text).expanduser()


def read_table(path: Path) -> Collection:
    """The tracks of a CSV; its paths are relative to its folder."""
    sheet = read_spreadsheet(path)
    header, notes, numbers = sheet.header, sheet.notes, [number for number, _ in sheet.rows]
    for name in _NEEDED:
        if name not in header:
            message = f"{path}: line 1: there is no column '{name}' (it has {', '.join(map(repr, header)) or 'none'})"
            raise CollectionError(message)
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise CollectionError(f"{path}: line 1: column '{twice}' is there twice")
    tracks = [_track(path, number, header, line) for number, line in sheet.rows]
    if any(track.split for track in tracks):
        for number, track in zip(numbers, tracks, strict=True):
            if not track.split:
                message = f"{path}: line {number}, column 'split': is empty, but other lines have a split (or {UNUSED})"
                raise CollectionError(message)
    unknown = [name for name in header if name not in (*_NEEDED, *_OPTIONAL)]
    if unknown:
        notes.append(f"{path}: columns that are not used: {', '.join(map(repr, unknown))}")
    return unique(_once(path, numbers, tracks, notes), notes=tuple(notes))


def _track(path: Path, number: int, header: list[str], line: list[str]) -> Track:
    if len(line) != len(header):
        raise CollectionError(
            f"{path}: line {number}: has {len(line)} fields, the header has {len(header)} (quote fields with commas)"
        )
    values = {name: value.strip() for name, value in zip(header, line, strict=True)}
    for name in _NEEDED:
        if not values[name]:
            raise CollectionError(f"{path}: line {number}, column '{name}': is empty")
    split = values.get("split", "")
    if split and split not in _SPLITS:
        raise CollectionError(f"{path}: line {number}, column 'split': '{split}' is not one of {', '.join(_SPLITS)}")
    name, file = file_of(path, number, values["path"])
    artist, album = values.get("artist", ""), values.get("album", "")
    return Track(name, values["genre"], file, artist, album, _SPLITS.get(split, ""))


def _once(path: Path, numbers: list[int], tracks: list[Track], notes: list[str]) -> list[Track]:
    """Each file once; lines that give one file different genres are an error."""
    kept: dict[Path, tuple[int, Track]] = {}
    repeated = []
    for number, track in zip(numbers, tracks, strict=True):
        former, other = kept.setdefault(Path(os.path.normpath(track.path)), (number, track))
        if other is track:
            continue
        if other.genre != track.genre:
            raise CollectionError(
                f"{path}: line {number}: {track.name} is '{track.genre}' here and '{other.genre}' in line {former} "
                "(a track has one genre: delete one of the lines)"
            )
        repeated.append(number)
    if repeated:
        notes.append(f"{path}: {len(repeated)} lines repeat a file that is listed before, such as line {repeated[0]}")
    return [track for _, track in kept.values()]


def _decoded(path: Path) -> tuple[str, list[str]]:
    """The text of a file with Unix line ends, and a remark if its encoding was guessed."""
    raw = path.read_bytes()
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    notes: list[str] = []
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        fault = f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not {encoding.removesuffix('-sig').upper()}"
        try:
            text = raw.decode("cp1252")
        except UnicodeDecodeError:
            raise CollectionError(f"{fault} (save it as UTF-8)") from error
        notes.append(f"{fault}, so the file is read as Windows-1252 (save it as UTF-8 to be sure)")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


_GTZAN = re.compile(r"([a-z]+)\.\d{5}(?:[\W_]\w*\d+)?")
_GTZAN_ROOTS = ("genres_original", "genres", "Data/genres_original", "Data/genres")
_MOST_NAMED = 5


def find_tracks(sources: list[Path], layout: str | None, front_end: FrontEnd) -> Collection:
    """The tracks of a collection.

    Several sources may be archives only, which must be computed by this front end. The layout is one of LAYOUTS, or
    None to guess.

    Raises:
        ArchiveError: An archive cannot be used.
        CollectionError: There is no music, the layout is ambiguous, or its metadata is wrong.
    """
    for source in sources:
        if not source.exists():
            raise CollectionError(f"{source}: no such file or folder")
    found = {layout or guess(source) for source in sources}
    if len(sources) > 1 and found != {"logmel"}:
        message = f"{sources[1]}: only log-mel archives can be joined (give one folder, or a CSV that lists all files)"
        raise CollectionError(message)
    chosen = found.pop()
    if chosen != "logmel" and sources[0].is_dir() == (chosen == "csv"):
        wanted, other = ("file", "folder") if chosen == "csv" else ("folder", "file")
        raise CollectionError(f"{sources[0]}: layout {chosen} is a {wanted}, and this is a {other}")
    collection = _logmel(sources, front_end) if chosen == "logmel" else _FINDERS[chosen](sources[0])
    if not collection.tracks:
        raise CollectionError(_without_music(sources[0], collection))
    return collection


def guess(source: Path) -> str:
    """The layout of a collection."""
    if source.is_file():
        layout = {".csv": "csv", ".tsv": "csv", ".npz": "logmel"}.get(source.suffix.lower())
        fits = [layout] if layout else []
    else:
        fits = [layout for layout, looks_like in _CHECKS.items() if looks_like(source)]
        # GTZAN also is a folder per genre.
        if fits == ["gtzan", "folders"]:
            fits = ["gtzan"]
    if len(fits) == 1:
        return fits[0]
    message = f"{source}: may be {' or '.join(fits)}" if fits else f"{source}: has no known layout"
    message += f" (name one with --layout {'|'.join(fits or LAYOUTS)})"
    raise CollectionError(message)


def _gtzan(source: Path) -> Collection:
    """GTZAN: genres_original/, genres/, or its files in any folders, with names such as jazz.00054."""
    root = _gtzan_root(source)
    found = find_files(root)
    tracks, skipped = [], [*found.skipped]
    for path in found.music:
        named = _GTZAN.fullmatch(path.stem)
        if named:
            tracks.append(Track(path.stem, named[1], path))
        else:
            skipped.append(Skipped(printable(str(path)), "is not named like a file of GTZAN, such as jazz.00054"))
    return unique(tracks, skipped=skipped, notes=_ignored(root, found.others))


def _folders(source: Path, suffixes: Iterable[str] = AUDIO) -> Collection:
    """One folder per genre; folders below it are artists, and folders below those are albums."""
    tracks, notes, skipped = [], [], []
    others: Counter[str] = Counter()
    for genre in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found = find_files(genre, suffixes, genre=genre.name)
        if not found.music:
            holds = f"none of its {len(found.skipped)} files can be read" if found.skipped else "contains no music"
            notes.append(f"{genre}: {holds}, so there is no genre '{genre.name}'")
        for path in found.music:
            below = path.relative_to(genre).parts[:-1]
            artist, album = below[0] if below else "", "/".join(below[:2]) if len(below) > 1 else ""
            tracks.append(Track(path_text(path.relative_to(source)), genre.name, path, artist, album))
        skipped += found.skipped
        others += found.others
    loose = [path for path in source.iterdir() if not path.is_dir() and not path.name.startswith(".")]
    beside = sum(path.suffix.lower() in {*suffixes, *OTHER_AUDIO} for path in loose)
    if beside:
        notes.append(f"{source}: {beside} files beside the folders of genres are left out")
    return unique(tracks, skipped=skipped, notes=(*notes, *_ignored(source, others)))


def _ignored(folder: Path, others: Counter[str]) -> tuple[str, ...]:
    if not others:
        return ()
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(_MOST_NAMED))
    return (f"{folder}: {others.total()} files that are not audio were ignored ({kinds})",)


def _without_music(source: Path, collection: Collection) -> str:
    if collection.skipped:
        first = collection.skipped[0]
        count = len(collection.skipped)
        return f"{source}: none of its {count} files can be read, such as {first.name}: {first.reason}"
    return f"{source}: contains no music ({', '.join(sorted(AUDIO))} are decoded)"


def _gtzan_root(source: Path) -> Path:
    return next((source / name for name in _GTZAN_ROOTS if (source / name).is_dir()), source)


def _looks_like_gtzan(source: Path) -> bool:
    files = find_files(_gtzan_root(source)).music
    # A few files of GTZAN in another collection do not make it GTZAN.
    return 2 * sum(_GTZAN.fullmatch(path.stem) is not None for path in files) > len(files)


def _looks_like_folders(source: Path) -> bool:
    if _fma_metadata(source) is not None:
        return False
    return any(find_files(path, AUDIO | OTHER_AUDIO).music for path in source.iterdir() if path.is_dir())


def _looks_like_logmel(source: Path) -> bool:
    return any(find_files(path, [".npz"]).music for path in source.iterdir() if path.is_dir())


def _logmel(sources: list[Path], front_end: FrontEnd) -> Collection:
    """A folder per genre of precomputed log-mel, or the rows of archives joined.

    Artists and albums are numbers of their own archive, so those of two archives count as different.
    """
    if sources[0].is_dir():
        return _folders(sources[0], [".npz"])
    tracks: list[Track] = []
    for place, path in enumerate(sources):
        archive = read_archive(path, front_end)
        if archive.leaky:
            message = f"{path}: contains segments of a leaky split instead of tracks (import the original music)"
            raise CollectionError(message)
        tracks += [_archived(path, archive, row, place) for row in range(len(archive))]
    return unique(tracks)


def _archived(path: Path, archive: Archive, row: int, place: int) -> Track:
    artist, album = (
        f"{place} {numbers[row]}" if numbers[row] >= 0 else "" for numbers in (archive.artists, archive.albums)
    )
    name, genre, split = str(archive.tracks[row]), str(archive.genres[row]), str(archive.splits[row])
    return Track(name, genre, path, artist, album, split, row=row)


_FMA_SPLITS = {"training": "train", "validation": "valid", "test": "test"}
_FMA_COLUMNS = {
    "genre": ("track", "genre_top"),
    "artist": ("artist", "id"),
    "album": ("album", "id"),
    "split": ("set", "split"),
}


def _fma(source: Path) -> Collection:
    """FMA, the Free Music Archive dataset (Defferrard and others, ISMIR 2017), with its metadata.

    Its tracks.csv has a header of three rows (group, column, name of the index); track 2 is fma_small/000/000002.mp3.
    """
    metadata = _fma_metadata(source)
    if metadata is None:
        message = f"{source}: has no fma_metadata/tracks.csv inside or beside it (unpack fma_metadata.zip there)"
        raise CollectionError(message)
    rows, files = _fma_rows(metadata), find_files(source)
    tracks, skipped = [], list(files.skipped)
    other = [path for path in files.music if not path.stem.isdecimal()]
    skipped += [Skipped(printable(str(path)), "is not named like a file of FMA, such as 000002.mp3") for path in other]
    for path in (path for path in files.music if path.stem.isdecimal()):
        row = rows.get(int(path.stem))
        if row is None:
            skipped.append(Skipped(str(path), f"track {int(path.stem)} is not in {metadata}"))
        elif not row["genre"]:
            skipped.append(Skipped(str(path), f"{metadata} has no genre_top for it"))
        else:
            split = _FMA_SPLITS.get(row["split"], "")
            tracks.append(Track(path.stem, row["genre"], path, row["artist"], row["album"], split))
    return unique(tracks, skipped=skipped)


def _fma_metadata(source: Path) -> Path | None:
    places = (source / "fma_metadata", source.resolve().parent / "fma_metadata", source)
    return next((place / "tracks.csv" for place in places if (place / "tracks.csv").is_file()), None)


def _fma_rows(path: Path) -> dict[int, dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            groups, names, _ = (next(lines, []) for _ in range(3))
            header = list(zip(groups, names, strict=False))
            for group, column in _FMA_COLUMNS.values():
                if (group, column) not in header:
                    message = f"{path}: its three header rows have no column {group}/{column} (is it FMA's tracks.csv?)"
                    raise CollectionError(message)
            columns = {name: header.index(wanted) for name, wanted in _FMA_COLUMNS.items()}
            return {int(line[0]): {name: line[place].strip() for name, place in columns.items()} for line in lines}
    except CollectionError:
        raise
    except (csv.Error, UnicodeDecodeError, IndexError, ValueError) as error:
        message = f"{path}: is not FMA's tracks.csv, or is damaged: {error} (unpack fma_metadata.zip again)"
        raise CollectionError(message) from error


_CHECKS: dict[str, Callable[[Path], bool]] = {
    "gtzan": _looks_like_gtzan,
    "fma": lambda source: _fma_metadata(source) is not None,
    "folders": _looks_like_folders,
    "logmel": _looks_like_logmel,
}
_FINDERS: dict[str, Callable[[Path], Collection]] = {
    "gtzan": _gtzan,
    "fma": _fma,
    "folders": _folders,
    "csv": read_table,
}

LAYOUTS = (*_FINDERS, "logmel")
"""Every layout by name."""
