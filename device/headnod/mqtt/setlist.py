"""The songs that have ended, as they are published.

Alone because a song is known to have ended only minutes later, and is named by an
estimate that passed long before.
"""

from __future__ import annotations

from headnod.estimate import Condition, Estimate
from headnod.mqtt.payloads import SongPayload
from headnod.songs import Song, Songs, SongSettings


class Setlist:
    """Makes estimates into songs; each method gives the song that has ended with it, if one has."""

    def __init__(self, node: str, boot: str) -> None:
        """Name songs by the listener and by this run of it."""
        self._node, self._boot = node, boot
        self._songs = Songs(SongSettings())

    def update(self, estimate: Estimate) -> SongPayload | None:
        """This was heard."""
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
        return SongPayload(
            id=f"{self._node}-{self._boot}-{song.sequence}",
            node=self._node,
            start=song.start,
            end=song.end,
            duration_s=song.seconds,
            genre=song.genre,
            stability=song.stability,
        )
