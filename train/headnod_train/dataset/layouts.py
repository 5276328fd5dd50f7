"""The ways in which music collections lie on disk, told apart by looking.

GTZAN in its usual forms and a folder a genre are here; FMA and CSV have files
of their own, because they come with metadata that can be wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from headnod.escaping import printable
from headnod.features.frontend import FrontEnd
from headnod_train.dataset import fma, precomputed, track_table
from headnod_train.dataset.music_files import AUDIO, OTHER_AUDIO, find_files, text_of
from headnod_train.dataset.tracks import Collection, CollectionError, Skipped, Track, unique

_GTZAN = re.compile(r"([a-z]+)\.\d{5}(?:[\W_]\w*\d+)?")
_MOST_NAMED = 5
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
        raise CollectionError(_without_music(sources[0], collection))
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
    root = _gtzan_root(source)
    found = find_files(root)
    tracks, strange = [], []
    for path in found.music:
        named = _GTZAN.fullmatch(path.stem)
        if named:
            tracks.append(Track(path.stem, named[1], path))
        else:
            strange.append(Skipped(printable(str(path)), "is not named as GTZAN's files are, such as jazz.00054"))
    return unique(tracks, skipped=[*found.skipped, *strange], notes=_passed_over(root, found.others))


def folders(source: Path, endings: Iterable[str] = AUDIO) -> Collection:
    """A folder a genre; below it, folders of artists, and below those of albums, where there are any."""
    tracks, notes, skipped = [], [], []
    others: Counter[str] = Counter()
    for genre in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found = find_files(genre, endings, genre=genre.name)
        if not found.music:
            holds = f"none of its {len(found.skipped)} files can be read" if found.skipped else "holds no music"
            notes.append(f"{genre}: {holds}, so there is no genre '{genre.name}'")
        for path in found.music:
            below = path.relative_to(genre).parts[:-1]
            artist, album = below[0] if below else "", "/".join(below[:2]) if len(below) > 1 else ""
            tracks.append(Track(text_of(path.relative_to(source)), genre.name, path, artist, album))
        skipped += found.skipped
        others += found.others
    loose = [path for path in source.iterdir() if not path.is_dir() and not path.name.startswith(".")]
    beside = sum(path.suffix.lower() in {*endings, *OTHER_AUDIO} for path in loose)
    if beside:
        notes.append(f"{source}: {beside} files lie beside the folders of genres and were left out")
    return unique(tracks, skipped=skipped, notes=(*notes, *_passed_over(source, others)))


def _passed_over(folder: Path, others: Counter[str]) -> tuple[str, ...]:
    if not others:
        return ()
    kinds = ", ".join(f"{count} {ending}" for ending, count in others.most_common(_MOST_NAMED))
    return (f"{folder}: {others.total()} files that are not audio were passed over ({kinds})",)


def _without_music(source: Path, collection: Collection) -> str:
    if collection.skipped:
        first = collection.skipped[0]
        return (
            f"{source}: none of its {len(collection.skipped)} files can be read, such as {first.name}: {first.reason}"
        )
    return f"{source}: holds no music ({', '.join(sorted(AUDIO))} are decoded)"


def _gtzan_root(source: Path) -> Path:
    return next((source / name for name in _GTZAN_ROOTS if (source / name).is_dir()), source)


def _looks_gtzan(source: Path) -> bool:
    files = find_files(_gtzan_root(source)).music
    # A stray file of GTZAN in a collection of one's own does not make it GTZAN.
    return 2 * sum(_GTZAN.fullmatch(path.stem) is not None for path in files) > len(files)


def _looks_folders(source: Path) -> bool:
    if fma.metadata(source) is not None:
        return False
    return any(find_files(path, AUDIO | OTHER_AUDIO).music for path in source.iterdir() if path.is_dir())


def _looks_logmel(source: Path) -> bool:
    return any(find_files(path, [".npz"]).music for path in source.iterdir() if path.is_dir())


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
    "csv": track_table.read,
}

LAYOUTS = (*_FINDERS, "logmel")
"""Every layout by name."""
