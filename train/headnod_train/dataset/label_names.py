"""The genres of a collection as labels of a model: renamed, normalised and checked before anything is decoded."""

from __future__ import annotations

import difflib
import os
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from headnod.escaping import LONGEST, label_fault, printable
from headnod_train.dataset.tracks import Collection, CollectionError

_MOST_NAMED = 5


def labelled(collection: Collection, renames: Sequence[str] = ()) -> Collection:
    """A collection whose genres can be labels, in Unicode's composed form (NFC).

    Args:
        collection: Tracks as found on disk.
        renames: `old=new` for genres to rename; equal new names join genres.

    Raises:
        CollectionError: A genre cannot be a label, or there is no genre `old`.
    """
    genres = dict.fromkeys(track.genre for track in collection.tracks)
    new = {genre: unicodedata.normalize("NFC", genre) for genre in genres}
    for rename in renames:
        old, called = _parse(rename, new)
        new[old] = unicodedata.normalize("NFC", called)
    _refuse(collection, new)
    tracks = tuple(replace(track, genre=new[track.genre]) for track in collection.tracks)
    skipped = tuple(replace(each, genre=new.get(each.genre, each.genre)) for each in collection.skipped)
    notes = (*collection.notes, *_remarks(sorted(set(new.values()))))
    return replace(collection, tracks=tracks, skipped=skipped, notes=notes)


def _parse(rename: str, genres: dict[str, str]) -> tuple[str, str]:
    """The genre to rename and its new name; either may contain an equals sign."""
    for place in (place for place, letter in enumerate(rename) if letter == "="):
        old = rename[:place]
        for genre, normal in genres.items():
            if old in (genre, normal):
                return genre, rename[place + 1 :]
    old = rename.partition("=")[0]
    near = difflib.get_close_matches(old, genres, 1, 0.5) or sorted(genres)[:_MOST_NAMED]
    known = ", ".join(map(printable, near))
    message = f"--rename {_quoted(rename)}: there is no genre '{printable(old)}' (there is {known})"
    raise CollectionError(message)


def _refuse(collection: Collection, new: dict[str, str]) -> None:
    first = {track.genre: track.path for track in reversed(collection.tracks)}
    faults = [
        f"{printable(str(first[genre]))}: genre '{printable(label)}' {fault} (rename it: {_advice(genre)})"
        for genre, label in new.items()
        if (fault := label_fault(label))
    ]
    if faults:
        more = [f"and {len(faults) - _MOST_NAMED} more"] if len(faults) > _MOST_NAMED else []
        raise CollectionError("; ".join([*faults[:_MOST_NAMED], *more]))


def _advice(genre: str) -> str:
    """A rename that works: the label without its faulty letters, if any letters are left."""
    kept = "".join(letter for letter in unicodedata.normalize("NFC", genre) if label_fault(f"x{letter}x") is None)
    kept = kept.strip()[:LONGEST].strip()
    new = kept if label_fault(kept) is None else "other"
    return f"--rename {_quoted(f'{genre}={new}')}"


def _quoted(text: str) -> str:
    """A word of a shell's command line."""
    if text.isprintable():
        return shlex.quote(text)
    # Bash reads Python's escapes in $'...'; a leading double quote makes repr choose single quotes.
    return "$'" + repr(b'"' + os.fsencode(text))[3:]


def _remarks(genres: Sequence[str]) -> Iterator[str]:
    if len(genres) == 1:
        yield f"there is one genre, '{genres[0]}': a model needs two"
    same: dict[str, list[str]] = defaultdict(list)
    for genre in genres:
        same["".join(genre.casefold().split())].append(genre)
    for one, *others in same.values():
        for other in others:
            rename = _quoted(f"{other}={one}")
            yield f"genres '{one}' and '{other}' differ only in case or spaces: to join them, --rename {rename}"
