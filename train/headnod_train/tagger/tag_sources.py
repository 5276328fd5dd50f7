"""Audio files to tag: a file, a folder, a CSV list, or the tracks of an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from headnod_train.dataset.track_table import file_of, read_spreadsheet
from headnod_train.dataset.tracks import AUDIO, find_files
from headnod_train.tagger.tagger_output import TaggerError


def sources(place: Path, *, only: Collection[str] | None = None) -> dict[str, Path]:
    """Audio files by the names of their tracks.

    A track of a folder has the name of its file without suffix, with its folders only if two files share a name.

    Args:
        place: An audio file, a folder, or a CSV file with a column `path` (relative to the CSV) and optionally `track`.
        only: Tracks of an archive to keep. A file matches by its path, with or without suffix, or by its name alone.

    Raises:
        TaggerError: There is no audio, or the CSV is malformed.
        CollectionError: The CSV cannot be read.
    """
    if place.is_dir():
        found = _in_folder(place, only)
    elif place.suffix.lower() == ".csv":
        found = _in_list(place, only)
    else:
        found = {place.stem: place} if only is None or place.stem in only else {}
    if not found:
        wanted = "no track of the archive" if only is not None else f"no audio ({', '.join(sorted(AUDIO))})"
        message = f"{place}: contains {wanted}"
        raise TaggerError(message)
    return found


def _in_folder(folder: Path, only: Collection[str] | None) -> dict[str, Path]:
    paths = find_files(folder).music
    shared = Counter(path.stem for path in paths)
    found = {}
    for path in paths:
        long = path.relative_to(folder)
        if only is None:
            found[path.stem if shared[path.stem] == 1 else long.with_suffix("").as_posix()] = path
        elif name := _known(long, only):
            found[name] = path
    return found


def _known(path: Path, only: Collection[str]) -> str | None:
    called = (path.as_posix(), path.with_suffix("").as_posix(), path.stem)
    return next((name for name in called if name in only), None)


def _in_list(table: Path, only: Collection[str] | None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        sheet = read_spreadsheet(table)
        if "path" not in sheet.header:
            columns = ", ".join(sheet.header) or "nothing"
            message = f"{table}: has no column 'path' (its first line has {columns})"
            raise TaggerError(message)
        for line, fields in sheet.rows:
            row = dict(zip(sheet.header, fields, strict=False))
            written, path = file_of(table, line, row["path"])
            name = row.get("track") or path.stem
            if only is not None and name not in only:
                name = _known(Path(written), only) or ""
            if row["path"] and not name:
                continue
            if not row["path"] or name in found:
                problem = f"track '{name}' is there twice" if row["path"] else "path is empty"
                message = f"{table}: line {line}: {problem}"
                raise TaggerError(message)
            found[name] = path
    except OSError as error:
        message = f"{table}: {(error.strerror or str(error)).lower()}"
        raise TaggerError(message) from error
    return found
