"""The songs that have ended, as they are published.

Alone because a song is known to have ended only minutes later, and is named by an
estimate that passed long before.
"""

from __future__ import annotations

from collections import deque

from headnod.estimate import Condition, Estimate
from headnod.mqtt.payloads import SongPayload
from headnod.songs import Song, Songs, SongSettings

_RECENT = 1000
"""Estimates that may pass until it is known that a song has ended: a minute of doubt at ten a second, and some."""


class Setlist:
    """Makes estimates into songs; each method gives the song that has ended with it, if one has."""

    def __init__(self, node: str, boot: str) -> None:
        """Name songs by the listener and by this run of it."""
        self._node, self._boot = node, boot
        self._songs = Songs(SongSettings())
        self._recent: deque[Estimate] = deque(maxlen=_RECENT)

    def update(self, estimate: Estimate) -> SongPayload | None:
        """This was heard."""
        self._recent.append(estimate)
        return self._told(self._songs.update(estimate))

    def interrupt(self, condition: Condition) -> SongPayload | None:
        """Nothing is heard, for this reason."""
        return self._told(self._songs.interrupt(condition))

    def finish(self) -> SongPayload | None:
        """The listener ends."""
        return self._told(self._songs.finish())

    def _told(self, song: Song | None) -> SongPayload | None:
        if song is None:
            return None
        last = next(estimate.sequence for estimate in self._recent if estimate.time == song.end)
        return SongPayload(
            id=f"{self._node}-{self._boot}-{last - song.estimates + 1}",
            node=self._node,
            start=song.start,
            end=song.end,
            duration_s=round((song.end - song.start).total_seconds(), 3),
            genre=song.genre,
            stability=song.stability,
        )
