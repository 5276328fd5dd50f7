"""Pieces of one track: files whose names differ in a last number only, as `blues.00000.3.wav` or `song-chunk3.wav`.

Names alone are looked at, so a collection whose tracks are merely numbered must not be
taken for one long track: a name that most files of a genre share is no track's, unless
a word such as `chunk` stands before the number.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from headnod_train.dataset.music_files import AUDIO
from headnod_train.dataset.tracks import Track

_WORDS = "chunk|fragment|frag|part|piece|segment|seg|slice|split"
_WORD = re.compile(rf"(?P<name>.*[^\W_])[\W_]*(?:{_WORDS})[\W_]*(?P<number>\d{{1,6}})[)\]]?", re.IGNORECASE)
_NUMBER = re.compile(r"(?P<name>.*[^\W_])[\W_]+(?P<number>\d{1,6})[)\]]?")


def mark_excerpts(tracks: Sequence[Track]) -> list[Track]:
    """Tracks, where those that look like pieces of one have its name as `excerpt_of`.

    Where a collection names artist or album it has said itself what belongs together.
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
    wholes = {
        track.name: name
        for (genre, name, word), found in alike.items()
        if _are_pieces([number for number, _ in found], genres[genre], word=word)
        for _, track in found
    }
    return [replace(track, excerpt_of=wholes.get(track.name, "")) for track in tracks]


def _are_pieces(numbers: list[int], of_genre: int, *, word: bool) -> bool:
    count = len(numbers)
    # Years and catalogue numbers have gaps; a piece or two may have been lost.
    running = max(numbers) - min(numbers) < 2 * count
    return count > 1 and running and (word or 2 * count <= of_genre)


def excerpts_note(tracks: Sequence[Track]) -> str | None:
    """What is told of pieces that were found."""
    wholes: dict[str, list[str]] = defaultdict(list)
    for track in tracks:
        if track.excerpt_of:
            wholes[track.excerpt_of].append(track.name)
    if not wholes:
        return None
    first = next(iter(wholes.values()))
    return (
        f"{sum(map(len, wholes.values()))} files look like pieces of {len(wholes)} tracks, such as {first[0]} and "
        f"{first[1]}: pieces of one track stay on one side (a CSV with a column 'album' says otherwise)"
    )
