"""What a collection is made of before anything was heard: tracks, and files that are none.

Alone because every layout makes these and everything after it eats them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headnod.errors import HeadnodError
from headnod.escaping import printable

SIDES = ("train", "valid", "test")
"""Sides that a track may be put on."""


class CollectionError(HeadnodError, ValueError):
    """A collection of music cannot be used."""


@dataclass(frozen=True)
class Track:
    """A piece of music of known genre, somewhere on disk."""

    name: str
    """What it is called in the archive; no two tracks of a collection share it."""

    genre: str
    """What it is."""

    path: Path
    """The file that it is heard from."""

    artist: str = ""
    """Who plays it; empty where nobody knows."""

    album: str = ""
    """Where it was published; empty where nobody knows."""

    split: str = ""
    """The side that its collection puts it on; empty where it says nothing."""

    excerpt_of: str = ""
    """The track that it is a piece of; empty where it is whole, or nothing says so."""

    row: int = -1
    """Which row of it, where the file is an archive; -1 where it is none."""


@dataclass(frozen=True)
class Skipped:
    """Something that was left out."""

    name: str
    """The file or the track."""

    reason: str
    """Why, in words for a person."""

    genre: str = ""
    """The genre that misses it, where that is known."""


@dataclass(frozen=True)
class Collection:
    """Tracks that were found, in order of their names."""

    tracks: tuple[Track, ...]
    """What can be heard."""

    skipped: tuple[Skipped, ...] = ()
    """What was left out before anything was heard."""

    notes: tuple[str, ...] = ()
    """What a person should look at."""


def unique(tracks: list[Track], *, skipped: Sequence[Skipped] = (), notes: tuple[str, ...] = ()) -> Collection:
    """Tracks in order, those whose name another has left out."""
    kept: dict[str, Track] = {}
    twice = []
    for track in sorted(tracks, key=lambda track: (track.name, str(track.path))):
        if track.name in kept:
            reason = f"another file of {track.name} is used: {kept[track.name].path}"
            twice.append(Skipped(printable(str(track.path)), reason, track.genre))
        else:
            kept[track.name] = track
    return Collection(tuple(kept.values()), (*skipped, *twice), notes)
