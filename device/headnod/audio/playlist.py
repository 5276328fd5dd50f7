"""Expands folders and playlists on a command line to audio files.

A playlist on this machine may contain files of this machine. Addresses in it are reported and not fetched.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from headnod.errors import AudioError

PLAYLISTS = frozenset({".m3u", ".m3u8", ".pls"})
AUDIO = frozenset(
    [
        ".wav",
        ".au",
        ".mp3",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".aif",
        ".aiff",
        ".aifc",
        ".caf",
        ".w64",
        ".snd",
        ".m4a",
        ".m4b",
        ".mp4",
        ".aac",
        ".wma",
        ".webm",
        ".mka",
        ".mkv",
    ]
)
"""Suffixes of audio files in folders."""

_MOST_BYTES, _MOST_ENTRIES = 1 << 20, 10_000


def expanded(words: Iterable[str], *, recursive: bool) -> tuple[list[str], list[str]]:
    """Expand folders and playlists to files; returns the files, and a line for everything that is skipped.

    Args:
        words: Files, playlists and folders.
        recursive: Include the audio files in folders and their subfolders.
    """
    files: list[str] = []
    notes: list[str] = []
    for word in words:
        path = Path(word)
        if path.is_dir() and recursive:
            found, passed = _in_folder(path)
            files += found
            notes += passed
        elif path.is_dir():
            notes.append(f"{word}: is a folder (-r classifies the audio files in it)")
        elif path.suffix.lower() in PLAYLISTS and path.is_file():
            try:
                found, passed = _in_playlist(path)
            except AudioError as error:
                found, passed = [], [str(error)]
            files += found
            notes += passed
        else:
            files.append(word)
    return files, notes


def _in_folder(folder: Path) -> tuple[list[str], list[str]]:
    files, others, links = [], Counter[str](), 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # os.walk does not follow links to folders, which may form a loop.
        links += sum(Path(place, name).is_symlink() for name in folders)
        for name in sorted(name for name in names if not name.startswith(".")):
            ending = Path(name).suffix.lower()
            if ending in AUDIO:
                files.append(str(Path(place, name)))
            else:
                others[ending or "without an ending"] += 1
    notes = []
    if not files:
        notes.append(f"{folder}: holds no audio files")
    if others:
        kinds = ", ".join(f"{count} {ending}" for ending, count in others.most_common(5))
        number = others.total()
        passed = "1 file is not audio and was" if number == 1 else f"{number} files are not audio and were"
        notes.append(f"{folder}: {passed} passed over ({kinds})")
    if links:
        passed = "1 link to a folder was" if links == 1 else f"{links} links to folders were"
        notes.append(f"{folder}: {passed} not followed (name them themselves)")
    return files, notes


def _in_playlist(path: Path) -> tuple[list[str], list[str]]:
    """Expand a playlist.

    Raises:
        AudioError: The playlist cannot be read or is too long.
    """
    try:
        with path.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        message = f"{path}: {(error.strerror or str(error)).lower()}"
        raise AudioError(message) from error
    if len(content) > _MOST_BYTES:
        message = f"{path}: is longer than a playlist (1 MiB)"
        raise AudioError(message)
    files, notes = [], []
    entries = playlist_entries(content, path.suffix.lower())
    for entry in entries[:_MOST_ENTRIES]:
        address = urlsplit(entry) if "://" in entry else None
        if address is not None and address.scheme != "file":
            notes.append(f"{path}: '{entry}' is an address (only files are classified)")
        elif "\0" in entry or Path(entry).suffix.lower() in PLAYLISTS:
            notes.append(f"{path}: '{entry}' is no audio file (playlists in playlists are not read)")
        else:
            files.append(str(path.parent / (unquote(address.path) if address is not None else entry)))
    if len(entries) > _MOST_ENTRIES:
        notes.append(f"{path}: names {len(entries)} files, of which {_MOST_ENTRIES} were taken")
    if not entries:
        notes.append(f"{path}: names no file")
    return files, notes


def playlist_entries(content: bytes, ending: str) -> list[str]:
    r"""The files and addresses in a playlist.

    Args:
        content: Content of the playlist.
        ending: Format, one of `PLAYLISTS`.

    >>> playlist_entries(b"#EXTM3U\na.mp3\nhttp://radio.example/live\n", ".m3u")
    ['a.mp3', 'http://radio.example/live']
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return [entry for line in text.splitlines() if (entry := _entry(line.strip(), ending))]


def _entry(line: str, ending: str) -> str:
    if ending == ".pls":
        key, _, value = line.partition("=")
        return value.strip() if key.lower().startswith("file") else ""
    return "" if line.startswith("#") else line
