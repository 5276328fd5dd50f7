"""What a music collection consists of: tracks, audio files, excerpts of one recording, and genres as labels."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from headnod.errors import HeadnodError
from headnod.escaping import LONGEST, label_fault, printable

SPLITS = ("train", "valid", "test")
"""Splits that a track can be assigned to."""

UNUSED = "unused"
"""Split of tracks that are neither trained nor evaluated on."""

AUDIO = {
    ".3gp", ".aac", ".aif", ".aifc", ".aiff", ".asf", ".au", ".caf", ".flac", ".m4a", ".m4b", ".m4p", ".mka", ".mkv",
    ".mov", ".mp3", ".mp4", ".oga", ".ogg", ".opus", ".snd", ".w64", ".wav", ".webm", ".wma",
}  # fmt: skip
"""Suffixes of files that are decoded; the decoder reports what it cannot read and which extra it needs."""

OTHER_AUDIO = {
    ".ac3", ".alac", ".amr", ".ape", ".dff", ".dsf", ".dts", ".mpc", ".ra", ".rm", ".spx", ".tak", ".tta", ".wv",
}  # fmt: skip
"""Suffixes of music files that cannot be decoded."""


class CollectionError(HeadnodError, ValueError):
    """A collection of music cannot be used."""


@dataclass(frozen=True)
class Track:
    """A piece of music of known genre on disk. Empty strings are unknown."""

    name: str
    """Name in the archive, unique in a collection."""

    genre: str
    path: Path
    artist: str = ""
    album: str = ""

    split: str = ""
    """Split that the collection assigns."""

    excerpt_of: str = ""
    """Recording that this file is an excerpt of."""

    row: int = -1
    """Row of the archive if `path` is one, else -1."""


@dataclass(frozen=True)
class Skipped:
    """A file or track that is left out."""

    name: str
    reason: str
    genre: str = ""


@dataclass(frozen=True)
class Collection:
    """Tracks in order of their names."""

    tracks: tuple[Track, ...]
    skipped: tuple[Skipped, ...] = ()

    notes: tuple[str, ...] = ()
    """Remarks for the user, one line each."""


def unique(tracks: list[Track], *, skipped: Sequence[Skipped] = (), notes: tuple[str, ...] = ()) -> Collection:
    """Tracks in order of their names; later ones of the same name are skipped."""
    kept: dict[str, Track] = {}
    twice = []
    for track in sorted(tracks, key=lambda track: (track.name, str(track.path))):
        if track.name in kept:
            reason = f"another file of {track.name} is used: {kept[track.name].path}"
            twice.append(Skipped(printable(str(track.path)), reason, track.genre))
        else:
            kept[track.name] = track
    return Collection(tuple(kept.values()), (*skipped, *twice), notes)


@dataclass
class Files:
    """Files below a folder; hidden files and folders are ignored."""

    music: list[Path] = field(default_factory=list)
    """Files with a wanted suffix, sorted."""

    skipped: list[Skipped] = field(default_factory=list)
    """Music files that cannot be read, and folders that cannot be entered."""

    others: Counter[str] = field(default_factory=Counter)
    """Number of other files by suffix."""


def find_files(folder: Path, suffixes: Iterable[str] = AUDIO, *, genre: str = "") -> Files:
    """Every file below a folder; links to folders are followed, each folder is read once."""
    found, seen, wanted = Files(), set(), set(suffixes)

    def on_error(error: OSError) -> None:
        found.skipped.append(Skipped(printable(str(error.filename)), (error.strerror or str(error)).lower(), genre))

    for root, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
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
    suffix = path.suffix.lower()
    if suffix in wanted:
        if path.is_file():
            found.music.append(path)
        else:
            dangling = path.is_symlink() and not path.exists()
            reason = "is a link to a file that does not exist" if dangling else "is not a regular file"
            found.skipped.append(Skipped(printable(str(path)), reason, genre))
    elif suffix in OTHER_AUDIO and wanted >= AUDIO:
        reason = f"{suffix} cannot be decoded (convert it: ffmpeg -i FILE{suffix} FILE.flac)"
        found.skipped.append(Skipped(printable(str(path)), reason, genre))
    else:
        found.others[suffix or "no suffix"] += 1


def path_text(path: Path) -> str:
    r"""A path as text for an archive: bytes that are not UTF-8 and control characters are escaped.

    >>> print(path_text(Path("caf\udce9.wav")))
    caf\xe9.wav
    """
    return printable(os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace"))


_WORDS = "chunk|fragment|frag|part|piece|segment|seg|slice|split"
_WORD = re.compile(rf"(?P<name>.*[^\W_])[\W_]*(?:{_WORDS})[\W_]*(?P<number>\d{{1,6}})[)\]]?", re.IGNORECASE)
_NUMBER = re.compile(r"(?P<name>.*[^\W_])[\W_]+(?P<number>\d{1,6})[)\]]?")


def mark_excerpts(tracks: Sequence[Track]) -> list[Track]:
    """Set `excerpt_of` of files whose names differ in a last number only, such as `blues.00000.3.wav`.

    A name that most files of a genre share is a numbering of tracks, not an excerpt, unless a word such
    as `chunk` stands before the number. Tracks with a known artist or album are left as they are.
    """
    alike: dict[tuple[str, str, bool], list[tuple[int, Track]]] = defaultdict(list)
    for track in tracks:
        folder, _, name = track.name.rpartition("/")
        stem = PurePosixPath(name).stem if PurePosixPath(name).suffix.lower() in AUDIO else name
        named = _WORD.fullmatch(stem) or _NUMBER.fullmatch(stem)
        if named and not track.artist and not track.album:
            key = (track.genre, f"{folder}/{named['name'].casefold()}", named.re is _WORD)
            alike[key].append((int(named["number"]), track))
    genres = Counter(track.genre for track in tracks)
    recordings = {
        track.name: name
        for (genre, name, word), found in alike.items()
        if _are_excerpts([number for number, _ in found], genres[genre], word=word)
        for _, track in found
    }
    return [replace(track, excerpt_of=recordings.get(track.name, "")) for track in tracks]


def _are_excerpts(numbers: list[int], of_genre: int, *, word: bool) -> bool:
    count = len(numbers)
    # Years and catalogue numbers have gaps; one or two excerpts may be missing.
    consecutive = max(numbers) - min(numbers) < 2 * count
    return count > 1 and consecutive and (word or 2 * count <= of_genre)


def excerpts_note(tracks: Sequence[Track]) -> str | None:
    """A remark about the excerpts among tracks, if there are any."""
    recordings: dict[str, list[str]] = defaultdict(list)
    for track in tracks:
        if track.excerpt_of:
            recordings[track.excerpt_of].append(track.name)
    if not recordings:
        return None
    first = next(iter(recordings.values()))
    return (
        f"{sum(map(len, recordings.values()))} files look like excerpts of {len(recordings)} recordings, such as "
        f"{first[0]} and {first[1]}: excerpts of one recording get the same split (name albums in a CSV to override)"
    )


_MOST_NAMED = 5


def labelled(collection: Collection, renames: Sequence[str] = ()) -> Collection:
    """A collection whose genres can be labels, in Unicode's composed form (NFC).

    Renames are `old=new`; equal new names join genres.

    Raises:
        CollectionError: A genre cannot be a label, or there is no genre `old`.
    """
    genres = dict.fromkeys(track.genre for track in collection.tracks)
    new = {genre: unicodedata.normalize("NFC", genre) for genre in genres}
    given: dict[str, str] = {}
    for rename in renames:
        old, called = _parse(rename, new)
        new[old] = unicodedata.normalize("NFC", called)
        if given.setdefault(old, new[old]) != new[old]:
            message = f"--rename {_quoted(rename)}: '{printable(old)}' is renamed to '{printable(given[old])}' already"
            raise CollectionError(message)
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
    old, equals, _ = rename.partition("=")
    if not equals:
        message = f"--rename {_quoted(rename)}: has no new name (write --rename {_quoted(rename + '=NEW')})"
        raise CollectionError(message)
    near = difflib.get_close_matches(old, genres, 1, 0.5) or sorted(genres)[:_MOST_NAMED]
    known = ", ".join(map(printable, near))
    raise CollectionError(f"--rename {_quoted(rename)}: there is no genre '{printable(old)}' (there is {known})")


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
    spaced = "".join(" " if letter.isspace() else letter for letter in unicodedata.normalize("NFC", genre))
    kept = "".join(letter for letter in spaced if label_fault(f"x{letter}x") is None)
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
