"""A CSV that lists tracks: path and genre, and artist, album and split if they are known.

People write such files by hand or in a spreadsheet on any system, so every mistake is named with its line and column.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from headnod_train.dataset.tracks import SPLITS, UNUSED, Collection, CollectionError, Track, unique

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
    """Read a CSV separated by commas, semicolons or tabs, in UTF-8, UTF-16 or Windows-1252.

    Raises:
        CollectionError: It is not such text; the line is named.
    """
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
        message = f"{path}: line {lines.line_num + before}: {error}"
        raise CollectionError(message) from error


def file_of(path: Path, number: int, text: str) -> tuple[str, Path]:
    """A track's name and file, with the path as written or in the spelling of Windows or macOS.

    Args:
        path: The CSV; relative paths start from its folder.
        number: Line, for messages.
        text: Path as written in the CSV.

    Raises:
        CollectionError: The path begins with a drive of Windows.
    """
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
    """The tracks of a CSV; its paths are relative to its folder.

    Raises:
        CollectionError: A line is wrong; it is named with its column.
    """
    sheet = read_spreadsheet(path)
    header, notes, numbers = sheet.header, sheet.notes, [number for number, _ in sheet.rows]
    for name in _NEEDED:
        if name not in header:
            message = f"{path}: line 1: there is no column '{name}' (it has {', '.join(map(repr, header)) or 'none'})"
            raise CollectionError(message)
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        message = f"{path}: line 1: column '{twice}' is there twice"
        raise CollectionError(message)
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
        message = (
            f"{path}: line {number}: has {len(line)} fields, the header has {len(header)} (quote fields with commas)"
        )
        raise CollectionError(message)
    values = {name: value.strip() for name, value in zip(header, line, strict=True)}
    for name in _NEEDED:
        if not values[name]:
            message = f"{path}: line {number}, column '{name}': is empty"
            raise CollectionError(message)
    split = values.get("split", "")
    if split and split not in _SPLITS:
        message = f"{path}: line {number}, column 'split': '{split}' is not one of {', '.join(_SPLITS)}"
        raise CollectionError(message)
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
            message = (
                f"{path}: line {number}: {track.name} is '{track.genre}' here and '{other.genre}' in line {former} "
                "(a track has one genre: delete one of the lines)"
            )
            raise CollectionError(message)
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
            message = f"{fault} (save it as UTF-8)"
            raise CollectionError(message) from error
        notes.append(f"{fault}, so the file is read as Windows-1252 (save it as UTF-8 to be sure)")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes
