"""A CSV that lists tracks: path and genre, and artist, album and split where they are known.

Alone because people type such files by hand, so every mistake is named with
its line and its column.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from pathlib import Path, PureWindowsPath

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
    text, notes = _text(path)
    first, _, rest = text.partition("\n")
    # Excel reads and writes the delimiter in a line of its own before the header.
    told = re.fullmatch(r"sep=(.)", first, re.IGNORECASE)
    delimiter, before = (told[1], 1) if told else (max(",;\t", key=first.count), 0)
    lines = csv.reader(io.StringIO(rest if told else text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        _fits(path, header)
        rows = [(lines.line_num + before, line) for line in lines if any(line)]
    except csv.Error as error:
        message = f"{path}: line {lines.line_num + before}: {error}"
        raise CollectionError(message) from error
    tracks = [_track(path, number, header, line) for number, line in rows]
    _all_or_none(path, [number for number, _ in rows], tracks)
    unknown = [name for name in header if name not in (*_NEEDED, *_OPTIONAL)]
    if unknown:
        notes.append(f"{path}: columns that are not used: {', '.join(map(repr, unknown))}")
    tracks = _once(path, [number for number, _ in rows], tracks, notes)
    return unique(tracks, notes=tuple(notes))


def _text(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and what to look at: spreadsheets write UTF-8, UTF-16 or the Windows code page."""
    raw = path.read_bytes()
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return _unix(raw.decode(encoding)), []
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not {encoding.removesuffix('-sig').upper()}"
    try:
        return _unix(raw.decode("cp1252")), [
            f"{what}, so the file is read as Windows-1252 (save it as UTF-8 to be sure)"
        ]
    except UnicodeDecodeError as error:
        message = f"{what} (save it as UTF-8)"
        raise CollectionError(message) from error


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


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
    name, file = _file(path, number, values["path"])
    return Track(
        name, values["genre"], file,
        values.get("artist", ""), values.get("album", ""), _SPLITS.get(split, ""),
    )  # fmt: skip


def _file(path: Path, number: int, text: str) -> tuple[str, Path]:
    """A track's name and its file: as written, or as the same name is written on Windows or macOS."""
    names = [text, PureWindowsPath(text).as_posix()]
    # macOS decomposes the letters of names that it writes to a disk.
    names += [unicodedata.normalize(form, name) for name in names for form in ("NFC", "NFD")]
    for name in names:
        if (file := path.parent / Path(name).expanduser()).exists():
            return name, file
    if PureWindowsPath(text).drive:
        message = (
            f"{path}: line {number}, column 'path': '{text}' is a path of Windows (write it relative to this file)"
        )
        raise CollectionError(message)
    return text, path.parent / Path(text).expanduser()


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
