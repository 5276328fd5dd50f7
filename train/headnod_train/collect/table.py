"""A CSV that lists tracks: path and genre, and artist, album and split where they are known.

Alone because people type such files by hand, so every mistake is named with
its line and its column.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from headnod_train.collect.tracks import SIDES, Collection, CollectionError, Track, unique
from headnod_train.split import UNUSED

_NEEDED = ("path", "genre")
_OPTIONAL = ("artist", "album", "split")
_SPLITS = {"training": "train", "validation": "valid"} | {side: side for side in (*SIDES, UNUSED)}


def read(path: Path) -> Collection:
    """The tracks of a CSV; its paths are relative to its own folder.

    Raises:
        CollectionError: A line is wrong; it is named with its column.
    """
    text = _text(path)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        _fits(path, header)
        rows = [(lines.line_num, line) for line in lines if any(line)]
    except csv.Error as error:
        message = f"{path}: line {lines.line_num}: {error}"
        raise CollectionError(message) from error
    tracks = [_track(path, number, header, line) for number, line in rows]
    _all_or_none(path, [number for number, _ in rows], tracks)
    unknown = [name for name in header if name not in (*_NEEDED, *_OPTIONAL)]
    notes = (f"{path}: columns that are not used: {', '.join(map(repr, unknown))}",) if unknown else ()
    return unique(tracks, notes=notes)


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not UTF-8 (save it as UTF-8)"
        raise CollectionError(message) from error


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
    return Track(
        values["path"], values["genre"], path.parent / values["path"],
        values.get("artist", ""), values.get("album", ""), _SPLITS.get(split, ""),
    )  # fmt: skip


def _all_or_none(path: Path, numbers: list[int], tracks: list[Track]) -> None:
    if not any(track.split for track in tracks):
        return
    for number, track in zip(numbers, tracks, strict=True):
        if not track.split:
            message = f"{path}: line {number}, column 'split': is empty, and other lines name a side (or {UNUSED})"
            raise CollectionError(message)
