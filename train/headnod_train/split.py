"""Splits that cannot leak.

Windows of one track sound alike and so do tracks of one artist: a network that
meets them on both sides is graded on its memory.
"""

from __future__ import annotations

from collections import defaultdict

from headnod.errors import HeadnodError
from headnod_train.archive import Archive

UNKNOWN_ARTIST = -1


class LeakError(HeadnodError, ValueError):
    """A track or an artist stands on two sides of a split."""


def refuse_leaks(archive: Archive) -> None:
    """Check that each track and each known artist stands on one side.

    Raises:
        LeakError: One does not; it is named with its sides.
    """
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for track, artist, split in zip(archive.tracks, archive.artists, archive.splits, strict=True):
        sides["track", str(track)].add(str(split))
        if artist != UNKNOWN_ARTIST:
            sides["artist", str(artist)].add(str(split))
    for (kind, name), found in sorted(sides.items()):
        if len(found) > 1:
            message = f"{kind} {name} stands on two sides: {', '.join(sorted(found))} (move it to one of them)"
            raise LeakError(message)
