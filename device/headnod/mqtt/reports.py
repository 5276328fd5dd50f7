"""Payloads of a listener, made from its estimates and status events.

MQTT and the listener's own web page each have a `ReportMaker`; from the same events, both get the same payloads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from headnod import system
from headnod.clock import Clock
from headnod.mqtt.payloads import HealthPayload, encode, estimate_payload, song_payload
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.pipeline.songs import Song, SongSegmenter, SongSettings

_CLOCK = {True: "synchronised", False: "unsynchronised", None: "unknown"}


class EventReports(NamedTuple):
    """What one event makes known."""

    song: bytes | None
    """Payload of the song that it ended."""

    estimate: bytes | None
    """Payload of the estimate; None for a status event."""

    changed: bool
    """The state of the listener is another than before, so its health is due."""


class ReportMaker:
    """Makes payloads of estimates, songs and health."""

    def __init__(self, node: str, boot: str, *, clock: Clock, monotonic: Callable[[], float]) -> None:
        """Start without estimates.

        Args:
            node: Name of the listener.
            boot: A name for this run of the listener.
            clock: The clocks that date estimates.
            monotonic: Monotonic clock, in seconds.
        """
        self._node, self._boot, self._clock, self._monotonic = node, boot, clock, monotonic
        self._songs = SongSegmenter(SongSettings())
        self._processor, self._began = system.CpuMeter(monotonic), monotonic()
        self._state, self._message = State.STARTING, ""
        self._estimates, self._dropped = 0, 0.0

    def update(self, event: Estimate | StatusEvent) -> EventReports:
        """The payloads of an event."""
        changed = event.state is not self._state
        self._state = event.state
        if isinstance(event, StatusEvent):
            self._message = event.message
            return EventReports(self._song(self._songs.interrupt(event)), None, changed)
        self._message = ""
        self._estimates, self._dropped = self._estimates + 1, event.dropped
        song = self._song(self._songs.update(event))
        payload = estimate_payload(event, node=self._node, boot=self._boot, boot_id=self._clock.boot)
        return EventReports(song, msgspec.json.encode(payload), changed)

    def finish(self) -> bytes | None:
        """End the song here; its payload if it is long enough."""
        return self._song(self._songs.finish())

    def health(self, **delivery: Any) -> HealthPayload:  # noqa: ANN401 - the fields of a struct
        """The health report as of now, with the fields about the delivery to a broker if there is one."""
        synchronised = system.clock_is_synchronised()
        report = HealthPayload(
            node=self._node,
            ts=self._clock.now(),
            state=self._state,
            message=self._message,
            uptime_s=round(self._monotonic() - self._began, 1),
            estimates=self._estimates,
            dropped_s=self._dropped,
            queued=0,
            queued_on_disk=0,
            discarded=0,
            published=0,
            refused=0,
            reconnects=0,
            memory_mb=round(system.memory(), 1),
            cpu_percent=round(self._processor.percent(), 1),
            temperature_c=system.temperature(),
            clock_synchronised=synchronised is True,
            clock=_CLOCK[synchronised],
        )
        return replace(report, **delivery)

    def _song(self, song: Song | None) -> bytes | None:
        if song is None:
            return None
        return encode(song_payload(song, node=self._node, boot=self._boot, boot_id=self._clock.boot))
