"""A CSV as spreadsheets on Linux, Windows or macOS write it: its rows by line, and the files that it names."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from headnod_train.dataset.tracks import CollectionError


@dataclass(frozen=True)
class Spreadsheet:
    """A CSV in memory."""

    header: list[str]
    """Names of the columns, in small letters."""

    rows: list[tuple[int, list[str]]]
    """The number of each line that is not empty, with its fields."""

    notes: list[str]
    """What a person should look at."""


def read_spreadsheet(path: Path) -> Spreadsheet:
    """Separated by commas, semicolons or tabs, in UTF-8, UTF-16 or the Windows code page.

    Raises:
        CollectionError: It is no such text; the line is named.
    """
    text, notes = _text(path)
    first, _, rest = text.partition("\n")
    # Excel reads and writes the delimiter in a line of its own before the header.
    told = re.fullmatch(r"sep=(.)", first, re.IGNORECASE)
    delimiter, before = (told[1], 1) if told else (max(",;\t", key=first.count), 0)
    lines = csv.reader(io.StringIO(rest if told else text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        return Spreadsheet(header, [(lines.line_num + before, line) for line in lines if any(line)], notes)
    except csv.Error as error:
        message = f"{path}: line {lines.line_num + before}: {error}"
        raise CollectionError(message) from error


def file_of(path: Path, number: int, text: str) -> tuple[str, Path]:
    """A track's name and its file: as written, or as the same name is written on Windows or macOS.

    Args:
        path: The CSV, whose folder relative paths start from.
        number: The line, for messages.
        text: The path as it is written there.

    Raises:
        CollectionError: It begins with a drive of Windows.
    """
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
