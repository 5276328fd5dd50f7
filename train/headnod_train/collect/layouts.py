"""The ways in which music collections lie on disk, told apart by looking.

GTZAN in its usual forms and a folder a genre are here; FMA and CSV have files
of their own, because they come with metadata that can be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from headnod.frontend import FrontEnd
from headnod_train.collect import fma, precomputed, table
from headnod_train.collect.tracks import Collection, CollectionError, Track, unique

AUDIO = {".wav", ".au", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".caf", ".w64", ".snd"}
"""Endings of files that are tried as audio."""

_GTZAN = re.compile(r"([a-z]+)\.(\d{5})")
_GTZAN_ROOTS = ("genres_original", "genres", "Data/genres_original", "Data/genres")


def find_tracks(sources: list[Path], layout: str | None, front_end: FrontEnd) -> Collection:
    """The tracks of a collection.

    Args:
        sources: A folder or a file; only archives may be several.
        layout: One of LAYOUTS, or None to guess.
        front_end: What archives must be made by.

    Raises:
        ArchiveError: An archive cannot be used.
        CollectionError: There is none, it is ambiguous, or its metadata is wrong.
    """
    for source in sources:
        if not source.exists():
            message = f"{source}: no such file or folder"
            raise CollectionError(message)
    found = {layout or guess(source) for source in sources}
    if len(sources) > 1 and found != {"logmel"}:
        message = f"{sources[1]}: only log-mel archives can be joined (give one folder, or a CSV that lists all files)"
        raise CollectionError(message)
    chosen = found.pop()
    if chosen != "logmel" and sources[0].is_dir() == (chosen == "csv"):
        message = f"{sources[0]}: layout {chosen} is {'a file' if chosen == 'csv' else 'a folder'}, and this is none"
        raise CollectionError(message)
    collection = _logmel(sources, front_end) if chosen == "logmel" else _FINDERS[chosen](sources[0])
    if not collection.tracks:
        message = f"{sources[0]}: holds no music ({', '.join(sorted(AUDIO))} are heard)"
        raise CollectionError(message)
    return collection


def guess(source: Path) -> str:
    """The layout of a collection.

    Raises:
        CollectionError: It may be several, or none.
    """
    if source.is_file():
        layout = {".csv": "csv", ".tsv": "csv", ".npz": "logmel"}.get(source.suffix.lower())
        fits = [layout] if layout else []
    else:
        fits = [layout for layout, looks in _LOOKS.items() if looks(source)]
        # A folder of GTZAN is a folder a genre as well, and better known as itself.
        if fits == ["gtzan", "folders"]:
            fits = ["gtzan"]
    if len(fits) == 1:
        return fits[0]
    message = f"{source}: may be {' or '.join(fits)}" if fits else f"{source}: is no layout that is known"
    message += f" (say which with --layout {'|'.join(fits or LAYOUTS)})"
    raise CollectionError(message)


def gtzan(source: Path) -> Collection:
    """GTZAN: genres_original/, genres/, or its files in any folders, named such as jazz.00054."""
    root = next((source / name for name in _GTZAN_ROOTS if (source / name).is_dir()), source)
    tracks, strange = [], 0
    for path in _files(root, AUDIO):
        named = _GTZAN.fullmatch(path.stem)
        if named:
            tracks.append(Track(path.stem, named[1], path))
        else:
            strange += 1
    notes = (f"{root}: {strange} files are not named as GTZAN's are, such as jazz.00054, and were left out",)
    return unique(tracks, notes=notes if strange else ())


def folders(source: Path, endings: Iterable[str] = AUDIO) -> Collection:
    """A folder a genre; below it, folders of artists, and below those of albums, where there are any."""
    tracks, notes = [], []
    endings = set(endings)
    for genre in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = _files(genre, endings)
        if not files:
            notes.append(f"{genre}: holds no music, so there is no genre '{genre.name}'")
        for path in files:
            below = path.relative_to(genre).parts[:-1]
            name = path.relative_to(source).as_posix()
            artist, album = below[0] if below else "", "/".join(below[:2]) if len(below) > 1 else ""
            tracks.append(Track(name, genre.name, path, artist, album))
    loose = sum(path.suffix.lower() in endings for path in source.iterdir() if path.is_file())
    if loose:
        notes.append(f"{source}: {loose} files lie beside the folders of genres and were left out")
    return unique(tracks, notes=tuple(notes))


def _files(folder: Path, endings: Iterable[str]) -> list[Path]:
    # macOS leaves a '._name' beside each file on foreign disks.
    found = (path for path in folder.rglob("*") if path.suffix.lower() in endings and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def _looks_gtzan(source: Path) -> bool:
    root = next((source / name for name in _GTZAN_ROOTS if (source / name).is_dir()), source)
    files = _files(root, AUDIO)
    # A stray file of GTZAN in a collection of one's own does not make it GTZAN.
    return 2 * sum(_GTZAN.fullmatch(path.stem) is not None for path in files) > len(files)


def _looks_folders(source: Path) -> bool:
    return fma.metadata(source) is None and any(_files(path, AUDIO) for path in source.iterdir() if path.is_dir())


def _looks_logmel(source: Path) -> bool:
    return any(_files(path, [".npz"]) for path in source.iterdir() if path.is_dir())


def _logmel(sources: list[Path], front_end: FrontEnd) -> Collection:
    if sources[0].is_dir():
        return folders(sources[0], [".npz"])
    return precomputed.joined(sources, front_end)


_LOOKS: dict[str, Callable[[Path], bool]] = {
    "gtzan": _looks_gtzan,
    "fma": lambda source: fma.metadata(source) is not None,
    "folders": _looks_folders,
    "logmel": _looks_logmel,
}
_FINDERS: dict[str, Callable[[Path], Collection]] = {
    "gtzan": gtzan,
    "fma": fma.find,
    "folders": folders,
    "csv": table.read,
}

LAYOUTS = (*_FINDERS, "logmel")
"""Every layout by name."""
