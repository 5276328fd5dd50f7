"""Files below a folder: what can be music, and what is passed over with its reason."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from headnod.escaping import printable
from headnod_train.dataset.tracks import Skipped

AUDIO = {
    ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".asf", ".au", ".caf", ".flac", ".m4a", ".m4b", ".m4p", ".mka", ".mkv",
    ".mov", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".snd", ".w64", ".wav", ".webm", ".wma",
}  # fmt: skip
"""Endings of files that are tried; the decoder says what it cannot read, and what to install for it."""

OTHER_AUDIO = {
    ".ac3", ".alac", ".amr", ".ape", ".dff", ".dsf", ".dts", ".mpc", ".ra", ".rm", ".spx", ".tak", ".tta", ".wv",
}  # fmt: skip
"""Endings of files that hold music and are not decoded."""


@dataclass
class Files:
    """What lies below a folder; hidden files and folders are left alone."""

    music: list[Path] = field(default_factory=list)
    """Files with one of the endings asked for, sorted."""

    skipped: list[Skipped] = field(default_factory=list)
    """Files that hold music and cannot be read, and folders that cannot be entered."""

    others: Counter[str] = field(default_factory=Counter)
    """How many other files there are, by their endings."""


def find_files(folder: Path, endings: Iterable[str] = AUDIO, *, genre: str = "") -> Files:
    """Every file below a folder; links to folders are followed, each folder is read once."""
    found, seen, wanted = Files(), set(), set(endings)

    def refused(error: OSError) -> None:
        found.skipped.append(Skipped(printable(str(error.filename)), (error.strerror or str(error)).lower(), genre))

    for root, folders, names in os.walk(folder, onerror=refused, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            found.skipped.append(Skipped(printable(root), "is a link to a folder that is read already", genre))
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # macOS leaves a '._name' beside each file on foreign disks.
        for name in sorted(name for name in names if not name.startswith(".")):
            _sort_in(Path(root, name), wanted, found, genre)
    found.music.sort()
    return found


def _sort_in(path: Path, wanted: set[str], found: Files, genre: str) -> None:
    ending = path.suffix.lower()
    if ending in wanted:
        if path.is_file():
            found.music.append(path)
        else:
            reason = "is a link to nothing" if path.is_symlink() and not path.exists() else "is not a plain file"
            found.skipped.append(Skipped(printable(str(path)), reason, genre))
    elif ending in OTHER_AUDIO and wanted >= AUDIO:
        reason = f"{ending} is not decoded (convert it: ffmpeg -i FILE{ending} FILE.flac)"
        found.skipped.append(Skipped(printable(str(path)), reason, genre))
    else:
        found.others[ending or "no ending"] += 1


def text_of(path: Path) -> str:
    r"""A path as text of an archive: bytes that are not UTF-8 and control characters are spelled out.

    >>> print(text_of(Path("caf\udce9.wav")))
    caf\xe9.wav
    """
    return printable(os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace"))
