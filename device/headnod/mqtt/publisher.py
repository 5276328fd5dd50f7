"""The broker as a sink: every estimate and song once, and what the listener is and how it fares.

Showing never waits: what is shown is queued, and a thread of its own talks to the
disk and to the link. Estimates and songs are kept until the broker has them; state,
health, info and status are told as they are, again at every connection.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from headnod import machine
from headnod.estimate import Condition, Estimate, Now, State
from headnod.mqtt.announcer import Announcer
from headnod.mqtt.delivery import RATE, Delivery
from headnod.mqtt.ledger import Ledger
from headnod.mqtt.link import Broker, Link, Message
from headnod.mqtt.outbox import Outbox
from headnod.mqtt.patience import Complaints
from headnod.mqtt.payloads import HealthPayload, InfoPayload, SongPayload, encode, of_estimate
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics
from headnod.songs import Song, Songs, SongSettings

_log = logging.getLogger(__name__)

_FLUSH, _GOODBYE, _LAST_WRITE = 0.5, 0.75, 5.0
"""Seconds at the end: for what still waits, for the broker's acknowledgement of it, for the disk."""

_LOOK = 0.02
"""Seconds between two looks, at the end, at whether all has arrived."""

_AFTER_A_FAULT = 1.0

_RECENT = 1000
"""Estimates that may pass until it is known that a song has ended: a minute of doubt at ten a second, and some."""


Obey = Callable[[Message], list[tuple[str, bytes]]]
"""Hears a command, and gives topics and payloads of the answer."""


@dataclass(frozen=True)
class Discovery:
    """How Home Assistant is told."""

    wanted: Callable[[], Mapping[str, bytes]]
    """Payloads by topic of all that it shall know."""

    ledger: Ledger
    """What it was told before."""

    birth: str
    """Where it says that it has started; empty if nobody listens to that."""


class Mqtt:
    """Publishes estimates and songs, the present state, and how the listener fares."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        outbox: Outbox,
        info: Callable[[], InfoPayload],
        *,
        boot: str,
        rng: random.Random,
        now: Now,
        discovery: Discovery | None = None,
        health_every: float = 60.0,
        rate: float = RATE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to publish; nothing is sent before `start`.

        Args:
            broker: Where to.
            topics: The topics of this listener.
            outbox: Keeps what the broker has not acknowledged.
            info: What the listener is.
            boot: Changes whenever the listener starts.
            rng: Spreads attempts over time.
            now: The wall clock.
            discovery: How Home Assistant is told; None leaves it alone.
            health_every: Seconds between reports of health.
            rate: Messages a second, of a backlog.
            monotonic: A clock in seconds that is never set.

        Raises:
            ConfigError: A file that TLS needs cannot be used.
        """
        self._topics, self._outbox, self._info, self._boot = topics, outbox, info, boot
        self._now, self._health_every, self._monotonic = now, health_every, monotonic
        self._birth = discovery.birth if discovery else ""
        self._link = Link(
            broker,
            will=(topics.status, OFFLINE.encode()),
            subscriptions=(topics.settings, topics.requests, *([self._birth] if self._birth else [])),
            on_message=self._heard,
            on_connected=self._connected,
            rng=rng,
            monotonic=monotonic,
        )
        self._delivery = Delivery(outbox, self._link, wake=self._wake, rng=rng, rate=rate, monotonic=monotonic)
        self._announcer = (
            Announcer(
                discovery.wanted,
                discovery.ledger,
                self._link,
                introduced=self._present,
                rng=rng,
                monotonic=monotonic,
            )
            if discovery
            else None
        )
        self._obey: Obey | None = None
        self._songs = Songs(SongSettings())
        self._recent: deque[Estimate] = deque(maxlen=_RECENT)
        self._processor = machine.Processor(monotonic)
        self._began = monotonic()
        self._estimates, self._dropped = 0, 0.0
        self._fares, self._message = State.STARTING, ""
        self._state = b""
        self._kept: dict[str, bytes] = {}
        self._complaints = Complaints(_log, monotonic=monotonic)
        self._news, self._woken, self._closing = threading.Condition(), False, False
        self._stale = self._report = True
        self._next_report = 0.0
        self._thread = threading.Thread(target=self._run, name="MQTT", daemon=True)

    def start(self, obey: Obey | None = None) -> None:
        """Begin to connect and to publish.

        Args:
            obey: Hears commands, on the link's thread.
        """
        self._obey = obey
        self._link.start()
        self._thread.start()

    def show(self, estimate: Estimate) -> None:
        """Publish what was heard, now or when the broker is back."""
        self._recent.append(estimate)
        self._queue_song(self._songs.update(estimate))
        self._state = encode(of_estimate(estimate, node=self._topics.node, boot=self._boot))
        self._outbox.put(self._topics.estimate, self._state, connection=self._delivery.connection)
        self._link.publish(self._topics.state, self._state, retain=True)
        self._estimates += 1
        self._dropped = estimate.dropped
        self._become(estimate.state, "")
        self._wake()

    def tell(self, condition: Condition) -> None:
        """Publish why nothing is heard."""
        self._queue_song(self._songs.interrupt(condition))
        self._become(condition.state, condition.message)
        self._wake()

    def changed(self) -> None:
        """What the listener is has changed: another model, other labels, another setting."""
        self._stale = True
        self._wake()

    def keep(self, topic: str, payload: bytes) -> None:
        """Publish what the broker shall retain, now and at every connection; may be called on any thread."""
        self._kept[topic] = payload
        self._link.publish(topic, payload, retain=True)

    def mention(self, topic: str, payload: bytes) -> None:
        """Publish what is worth nothing later; may be called on any thread."""
        self._link.publish(topic, payload)

    def health(self) -> HealthPayload:
        """How the listener fares just now."""
        waiting = self._outbox.counts
        return HealthPayload(
            node=self._topics.node,
            ts=self._now(),
            state=self._fares,
            message=self._message,
            uptime_s=round(self._monotonic() - self._began, 1),
            estimates=self._estimates,
            dropped_s=self._dropped,
            queued=waiting.queued,
            queued_on_disk=waiting.on_disk,
            discarded=waiting.discarded,
            published=self._delivery.published,
            refused=self._delivery.refused,
            reconnects=max(self._delivery.connections - 1, 0),
            memory_mb=round(machine.memory(), 1),
            cpu_percent=round(self._processor.percent(), 1),
            temperature_c=machine.temperature(),
            clock_synchronised=machine.clock_is_kept(),
        )

    def close(self) -> None:
        """Publish that we are gone, keep what the broker does not have; may be called twice."""
        if self._closing:
            return
        self._queue_song(self._songs.finish())
        self._closing = True
        self._wake()
        if self._thread.ident is None:
            self._link.close()
            self._outbox.close()
        else:
            self._thread.join(_FLUSH + 2 * _GOODBYE + _LAST_WRITE)

    def _queue_song(self, song: Song | None) -> None:
        if song is None:
            return
        node = self._topics.node
        last = next(estimate.sequence for estimate in self._recent if estimate.time == song.end)
        told = SongPayload(
            id=f"{node}-{self._boot}-{last - song.estimates + 1}",
            node=node,
            start=song.start,
            end=song.end,
            duration_s=round((song.end - song.start).total_seconds(), 3),
            genre=song.genre,
            stability=song.stability,
        )
        self._outbox.put(self._topics.song, encode(told), connection=self._delivery.connection)

    def _become(self, state: State, message: str) -> None:
        self._message = message
        if state is not self._fares:
            self._fares, self._report = state, True

    def _wake(self) -> None:
        with self._news:
            self._woken = True
            self._news.notify()

    def _connected(self) -> None:
        self._delivery.connected()
        if self._state:
            self._link.publish(self._topics.state, self._state, retain=True)
        for topic, payload in list(self._kept.items()):
            self._link.publish(topic, payload, retain=True)
        self._stale = True
        if self._announcer is not None:
            self._announcer.soon()
        self._present()

    def _present(self) -> None:
        """Say that we are there and how we fare, for whoever has just begun to listen."""
        self._link.publish(self._topics.status, ONLINE.encode(), retain=True)
        self._report = True
        self._wake()

    def _heard(self, message: Message) -> None:
        if message.topic == self._birth:
            if self._announcer is not None and message.payload == ONLINE.encode() and not message.retained:
                self._announcer.after_birth()
                self._present()
        elif self._obey is not None:
            for topic, payload in self._obey(message):
                self._link.publish(topic, payload)

    def _run(self) -> None:
        while not self._closing:
            try:
                wait = self._work()
            except Exception as error:
                self._complaints.warn(repr(error), "MQTT: a part of it failed", error=error)
                wait = _AFTER_A_FAULT
            with self._news:
                self._news.wait_for(lambda: self._woken, wait)
                self._woken = False
        self._finish()

    def _work(self) -> float:
        if self._stale and self._link.connected:
            self._stale = False
            self._link.publish(self._topics.info, encode(self._info()), retain=True)
            if self._announcer is not None:
                self._announcer.if_changed()
        if self._report or self._monotonic() >= self._next_report:
            self._report, self._next_report = False, self._monotonic() + self._health_every
            if self._link.connected:
                self._link.publish(self._topics.health, encode(self.health()), retain=False)
        if self._outbox.save_in() == 0.0:
            self._outbox.save()
        waits = (
            self._delivery.run(_replayed),
            self._outbox.save_in(),
            self._announcer.run() if self._announcer is not None else None,
            self._next_report - self._monotonic(),
        )
        return max(min(wait for wait in waits if wait is not None), 0.0)

    def _finish(self) -> None:
        try:
            deadline = self._monotonic() + _FLUSH
            while self._delivery.connection and self._outbox.counts.queued:
                wait = self._work()
                left = deadline - self._monotonic()
                if left <= 0:
                    break
                with self._news:
                    self._news.wait_for(lambda: self._woken, min(wait, left, _LOOK))
                    self._woken = False
        finally:
            self._link.close(last=[(self._topics.status, OFFLINE.encode())], patience=_GOODBYE)
            self._outbox.close()


def _replayed(payload: bytes) -> bytes:
    return msgspec.json.encode({**msgspec.json.decode(payload), "replayed": True})
