"""FMA, the Free Music Archive dataset, with its metadata.

Defferrard, Benzi, Vandergheynst and Bresson, "FMA: A Dataset for Music
Analysis", ISMIR 2017. Its tracks.csv has a header of three rows (group, column,
and the name of the index), and track 2 lies in fma_small/000/000002.mp3.
"""

from __future__ import annotations

import csv
from pathlib import Path

from headnod.escaping import printable
from headnod_train.dataset.music_files import find_files
from headnod_train.dataset.tracks import Collection, CollectionError, Skipped, Track, unique

_SIDES = {"training": "train", "validation": "valid", "test": "test"}
_WANTED = {
    "genre": ("track", "genre_top"),
    "artist": ("artist", "id"),
    "album": ("album", "id"),
    "split": ("set", "split"),
}
_HEADER = 3


def metadata(source: Path) -> Path | None:
    """tracks.csv of a collection: in fma_metadata within the folder or beside it, or in the folder itself."""
    places = (source / "fma_metadata", source.resolve().parent / "fma_metadata", source)
    return next((place / "tracks.csv" for place in places if (place / "tracks.csv").is_file()), None)


def find(source: Path) -> Collection:
    """The tracks whose files are there and whose genre is known.

    Raises:
        CollectionError: tracks.csv is absent or not FMA's.
    """
    described = metadata(source)
    if described is None:
        message = f"{source}: has no fma_metadata/tracks.csv inside or beside it (unpack fma_metadata.zip there)"
        raise CollectionError(message)
    rows = _rows(described)
    files = find_files(source)
    tracks, skipped = [], list(files.skipped)
    strange = [path for path in files.music if not path.stem.isdecimal()]
    skipped += [
        Skipped(printable(str(path)), "is not named as FMA's files are, such as 000002.mp3") for path in strange
    ]
    for path in (path for path in files.music if path.stem.isdecimal()):
        row = rows.get(int(path.stem))
        if row is None:
            skipped.append(Skipped(str(path), f"track {int(path.stem)} is not in {described}"))
        elif not row["genre"]:
            skipped.append(Skipped(str(path), f"{described} names no genre_top for it"))
        else:
            split = _SIDES.get(row["split"], "")
            tracks.append(Track(path.stem, row["genre"], path, row["artist"], row["album"], split))
    return unique(tracks, skipped=skipped)


def _rows(path: Path) -> dict[int, dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            header = [next(lines, []) for _ in range(_HEADER)]
            columns = {name: _column(path, header, group, column) for name, (group, column) in _WANTED.items()}
            return {int(line[0]): {name: line[place].strip() for name, place in columns.items()} for line in lines}
    except (csv.Error, UnicodeDecodeError, IndexError, ValueError) as error:
        if isinstance(error, CollectionError):
            raise
        message = f"{path}: is not FMA's tracks.csv, or damaged: {error} (unpack fma_metadata.zip again)"
        raise CollectionError(message) from error


def _column(path: Path, header: list[list[str]], group: str, column: str) -> int:
    for place, found in enumerate(zip(header[0], header[1], strict=False)):
        if found == (group, column):
            return place
    message = f"{path}: its three header rows have no column {group}/{column} (is it FMA's tracks.csv?)"
    raise CollectionError(message)
