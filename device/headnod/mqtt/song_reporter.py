"""The songs that have ended, as they are published.

Alone because a song is known to have ended only minutes later, and is named by an
estimate that passed long before.
"""

from __future__ import annotations

from headnod.mqtt.payloads import SongPayload
from headnod.pipeline.estimate import Estimate, StatusEvent
from headnod.pipeline.songs import Song, SongSegmenter, SongSettings


class SongReporter:
    """Makes estimates into songs; each method gives the song that has ended with it, if one has."""

    def __init__(self, node: str, boot: str, boot_id: str = "") -> None:
        """Name songs by the listener, by this run of it and of the machine."""
        self._node, self._boot, self._boot_id = node, boot, boot_id
        self._songs = SongSegmenter(SongSettings())

    def update(self, estimate: Estimate) -> SongPayload | None:
        """This was heard."""
        return self._told(self._songs.update(estimate))

    def interrupt(self, condition: StatusEvent) -> SongPayload | None:
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
            clock_synchronised=song.clock_synchronised,
            boot_id=self._boot_id,
            start_monotonic=song.started_monotonic,
            end_monotonic=song.ended_monotonic,
        )
