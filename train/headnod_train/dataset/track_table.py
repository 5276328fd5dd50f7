"""A CSV that lists tracks: path and genre, and artist, album and split where they are known.

Alone because people type such files by hand, so every mistake is named with
its line and its column.
"""

from __future__ import annotations

import os
from pathlib import Path

from headnod_train.dataset.split import UNUSED
from headnod_train.dataset.spreadsheet import file_of, read_spreadsheet
from headnod_train.dataset.tracks import SIDES, Collection, CollectionError, Track, unique

_NEEDED = ("path", "genre")
_OPTIONAL = ("artist", "album", "split")
_SPLITS = {"training": "train", "validation": "valid"} | {side: side for side in (*SIDES, UNUSED)}


def read(path: Path) -> Collection:
    """The tracks of a CSV; its paths are relative to its own folder.

    Raises:
        CollectionError: A line is wrong; it is named with its column.
    """
    sheet = read_spreadsheet(path)
    header, rows, notes = sheet.header, sheet.rows, sheet.notes
    _fits(path, header)
    tracks = [_track(path, number, header, line) for number, line in rows]
    _all_or_none(path, [number for number, _ in rows], tracks)
    unknown = [name for name in header if name not in (*_NEEDED, *_OPTIONAL)]
    if unknown:
        notes.append(f"{path}: columns that are not used: {', '.join(map(repr, unknown))}")
    tracks = _once(path, [number for number, _ in rows], tracks, notes)
    return unique(tracks, notes=tuple(notes))


def _fits(path: Path, header: list[str]) -> None:
    for name in _NEEDED:
        if name not in header:
            message = f"{path}: line 1: there is no column '{name}' (it has {', '.join(map(repr, header)) or 'none'})"
            raise CollectionError(message)
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        message = f"{path}: line 1: column '{twice}' stands there twice"
        raise CollectionError(message)


def _track(path: Path, number: int, header: list[str], line: list[str]) -> Track:
    if len(line) != len(header):
        message = (
            f"{path}: line {number}: has {len(line)} fields, the header has {len(header)} (quote what holds commas)"
        )
        raise CollectionError(message)
    values = {name: value.strip() for name, value in zip(header, line, strict=True)}
    for name in _NEEDED:
        if not values[name]:
            message = f"{path}: line {number}, column '{name}': is empty"
            raise CollectionError(message)
    split = values.get("split", "")
    if split and split not in _SPLITS:
        message = f"{path}: line {number}, column 'split': '{split}' is none of {', '.join(_SPLITS)}"
        raise CollectionError(message)
    name, file = file_of(path, number, values["path"])
    return Track(
        name, values["genre"], file,
        values.get("artist", ""), values.get("album", ""), _SPLITS.get(split, ""),
    )  # fmt: skip


def _once(path: Path, numbers: list[int], tracks: list[Track], notes: list[str]) -> list[Track]:
    """Each file once; it is an error where its lines say different things."""
    kept: dict[Path, tuple[int, Track]] = {}
    twice = []
    for number, track in zip(numbers, tracks, strict=True):
        file = Path(os.path.normpath(track.path))
        former, other = kept.setdefault(file, (number, track))
        if other is track:
            continue
        if other.genre != track.genre:
            message = (
                f"{path}: line {number}: {track.name} is '{track.genre}' here and '{other.genre}' in line {former} "
                "(a track has one genre: delete one of the lines)"
            )
            raise CollectionError(message)
        twice.append(number)
    if twice:
        notes.append(f"{path}: {len(twice)} lines repeat a file that is listed before, such as line {twice[0]}")
    return [track for _, track in kept.values()]


def _all_or_none(path: Path, numbers: list[int], tracks: list[Track]) -> None:
    if not any(track.split for track in tracks):
        return
    for number, track in zip(numbers, tracks, strict=True):
        if not track.split:
            message = f"{path}: line {number}, column 'split': is empty, and other lines name a side (or {UNUSED})"
            raise CollectionError(message)
