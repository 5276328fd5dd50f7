"""Given lists: a folder that says which track stands on which side.

One text file a side, a track a line, such as train_filtered.txt of the fault-
filtered GTZAN split: the file's name begins with the side's.
"""

from __future__ import annotations

from pathlib import Path

from headnod_train.dataset.music_files import AUDIO
from headnod_train.dataset.split import UNUSED
from headnod_train.dataset.tracks import SIDES, CollectionError


def read_lists(folder: Path) -> dict[str, str]:
    """The side of each track that is listed.

    Raises:
        CollectionError: There are no lists, or a track is on two of them.
    """
    sides: dict[str, str] = {}
    found = {side: sorted(folder.glob(f"{side}*.txt")) for side in SIDES}
    for side, files in found.items():
        if len(files) > 1:
            message = f"{folder}: {files[0].name} and {files[1].name} are both lists of {side} (leave one)"
            raise CollectionError(message)
        for file in files:
            for number, line in enumerate(_lines(file), 1):
                name = _plain(line)
                if not name:
                    continue
                if name in sides:
                    message = f"{file}: line {number}: {name} is listed already, for {sides[name]}"
                    raise CollectionError(message)
                sides[name] = side
    if not sides:
        message = f"{folder}: lists no tracks (it needs train*.txt and valid*.txt, a track a line)"
        raise CollectionError(message)
    return sides


def sides_of(names: list[str], sides: dict[str, str]) -> tuple[list[str], list[str]]:
    """The side of each track, and listed tracks that the collection lacks.

    A track that is on no list belongs to no side.
    """
    # Lists of GTZAN name tracks with or without the folder of their genre.
    bare = {name.rpartition("/")[2]: name for name in sides}
    listed = [name if name in sides else bare.get(name) for name in map(_plain, names)]
    absent = sorted(sides.keys() - set(listed))
    return [UNUSED if name is None else sides[name] for name in listed], absent


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        message = f"{file}: is not UTF-8 text"
        raise CollectionError(message) from error


def _plain(name: str) -> str:
    """A track's name without the ending of its file: lists and collections differ in it."""
    name = name.strip().replace("\\", "/")
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in _ENDINGS else name


_ENDINGS = AUDIO | {".npz"}
