"""The broker as a sink: every estimate and song once, and what the listener is and how it fares.

Showing never waits: what is shown is queued, and the link's thread passes it on. A
thread of its own does what takes the disk, so it sleeps while the broker answers.
Estimates and songs are kept until the broker has them; state, health, info and
status are told as they are, again at every connection.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgspec

from headnod.clock import Clock
from headnod.mqtt.client import Broker, Message, MqttClient
from headnod.mqtt.commands import command_topics, shortened
from headnod.mqtt.delivery import RATE, Delivery
from headnod.mqtt.discovery_publisher import Discovery, DiscoveryPublisher
from headnod.mqtt.health import HealthReporter
from headnod.mqtt.payloads import HealthPayload, InfoPayload, SongPayload, encode, estimate_payload, redated
from headnod.mqtt.queue import MessageQueue
from headnod.mqtt.song_reporter import SongReporter
from headnod.mqtt.timers import Turns
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics
from headnod.pipeline.estimate import Estimate, Now, StatusEvent

__all__ = ["Discovery", "MqttPublisher"]

_FLUSH, _GOODBYE, _LAST_WRITE = 0.5, 0.75, 5.0
"""Seconds at the end: for what still waits, for the broker's acknowledgement of it, for the disk."""

_LOOK = 0.02
"""Seconds between two looks, at the end, at whether all has arrived."""

Obey = Callable[[Message], list[tuple[str, bytes]]]
"""Hears a command, and gives topics and payloads of the answer."""


class MqttPublisher:
    """Publishes estimates and songs, the present state, and how the listener fares."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        outbox: MessageQueue,
        info: Callable[[], InfoPayload],
        *,
        boot: str,
        rng: random.Random,
        now: Now,
        clock: Clock | None = None,
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
            clock: The same and the monotonic clock beside it, by which queued messages are dated anew.
            discovery: How Home Assistant is told; None leaves it alone.
            health_every: Seconds between reports of health.
            rate: Messages a second, of a backlog.
            monotonic: A clock in seconds that is never set.

        Raises:
            ConfigError: A file that TLS needs cannot be used.
        """
        self._topics, self._outbox, self._info, self._boot = topics, outbox, info, boot
        self._health_every, self._monotonic = health_every, monotonic
        self._birth = discovery.birth if discovery else ""
        self._turns = Turns(self._work, self._finish, quick=self._quick, nudge=self._nudge, monotonic=monotonic)
        self._link = MqttClient(
            broker,
            will=(topics.status, OFFLINE.encode()),
            subscriptions=(topics.settings, topics.requests, *([self._birth] if self._birth else [])),
            plain=(*command_topics(topics), *([self._birth] if self._birth else [])),
            on_message=self._heard,
            on_connected=self._connected,
            between=self._turns.spare,
            rng=rng,
            monotonic=monotonic,
        )
        self._delivery = Delivery(outbox, self._link, wake=self._turns.wake, rng=rng, rate=rate, monotonic=monotonic)
        self._announcer = (
            DiscoveryPublisher(
                discovery,
                self._link,
                on_announced=self._present,
                rng=rng,
                monotonic=monotonic,
            )
            if discovery
            else None
        )
        self._obey: Obey | None = None
        self._clock = clock or Clock(now=now)
        self._setlist = SongReporter(topics.node, boot, self._clock.boot)
        self._vitals = HealthReporter(topics.node, now=now, monotonic=monotonic)
        self._state = b""
        self._kept: dict[str, bytes] = {}
        self._stale = self._report = True
        self._next_report = 0.0

    def start(self, obey: Obey | None = None) -> None:
        """Begin to connect and to publish.

        Args:
            obey: Hears commands, on the link's thread.
        """
        self._obey = obey
        self._link.start()
        self._turns.start()

    def show(self, estimate: Estimate) -> None:
        """Publish what was heard, now or when the broker is back."""
        self._queue(self._setlist.update(estimate))
        self._state = encode(
            estimate_payload(estimate, node=self._topics.node, boot=self._boot, boot_id=self._clock.boot)
        )
        self._outbox.put(self._topics.estimate, self._state, connection=self._delivery.connection)
        if self._vitals.count(estimate):
            self._report = True
        # Last, for it wakes the link's thread, which sends all of this at once.
        if not self._link.publish(self._topics.state, self._state, retain=True):
            self._turns.rouse()

    def show_status(self, condition: StatusEvent) -> None:
        """Publish why nothing is heard."""
        ended = self._queue(self._setlist.interrupt(condition))
        if self._vitals.become(condition.state, condition.message):
            self._report = True
        if ended or self._report:
            self._turns.wake()

    def changed(self) -> None:
        """What the listener is has changed: another model, other labels, another setting."""
        self._stale = True
        self._turns.wake()

    def keep(self, topic: str, payload: bytes) -> None:
        """Publish what the broker shall retain, now and at every connection; may be called on any thread."""
        self._kept[topic] = payload
        self._link.publish(topic, payload, retain=True)

    def mention(self, topic: str, payload: bytes) -> None:
        """Publish what is worth nothing later; may be called on any thread."""
        self._link.publish(topic, payload)

    def health(self) -> HealthPayload:
        """How the listener fares just now."""
        return self._vitals.report(self._outbox.counts, self._delivery)

    def close(self) -> None:
        """Publish that we are gone, keep what the broker does not have; may be called twice."""
        if self._turns.ending:
            return
        self._queue(self._setlist.finish())
        if not self._turns.end(_FLUSH + 2 * _GOODBYE + _LAST_WRITE):
            self._link.close()
            self._outbox.close()

    def _queue(self, song: SongPayload | None) -> bool:
        if song is not None:
            self._outbox.put(self._topics.song, encode(song), connection=self._delivery.connection)
        return song is not None

    def _connected(self) -> None:
        self._delivery.connected()
        if self._link.limits.retain_available:
            self._restate()
        if self._announcer is not None:
            self._announcer.publish_soon()
        self._present()

    def _restate(self) -> None:
        """Publish again what the broker retains."""
        if self._state:
            self._link.publish(self._topics.state, self._state, retain=True)
        for topic, payload in list(self._kept.items()):
            self._link.publish(topic, payload, retain=True)
        self._stale = True

    def _present(self) -> None:
        """Say that we are there and how we fare, for whoever has just begun to listen."""
        if not self._link.limits.retain_available:
            self._restate()
        self._link.publish(self._topics.status, ONLINE.encode(), retain=True)
        self._report = True
        self._turns.wake()

    def _heard(self, message: Message) -> None:
        if message.topic == self._birth:
            if self._announcer is not None and message.payload == ONLINE.encode() and not message.retained:
                self._announcer.publish_after_birth()
                self._present()
        elif self._obey is not None:
            for topic, payload in self._obey(message):
                limits = self._link.limits
                self._link.publish(
                    topic, payload if limits.fits(topic, payload) else shortened(payload, limits.largest)
                )

    def _nudge(self) -> bool:
        return self._link.nudge()

    def _quick(self) -> bool:
        return self._link.connected and not self._outbox.needs_disk

    def _work(self) -> float:
        if self._stale and self._link.connected:
            self._stale = False
            self._link.publish(self._topics.info, encode(self._info()), retain=True)
            if self._announcer is not None:
                self._announcer.publish_if_changed()
        if self._report or self._monotonic() >= self._next_report:
            self._report, self._next_report = False, self._monotonic() + self._health_every
            if self._link.connected:
                self._link.publish(self._topics.health, encode(self.health()), retain=False)
        if self._outbox.save_in() == 0.0:
            self._outbox.save()
        waits = (
            self._delivery.run(self._replayed),
            self._outbox.save_in(),
            self._announcer.run() if self._announcer is not None else None,
            self._next_report - self._monotonic(),
        )
        return max(min(wait for wait in waits if wait is not None), 0.0)

    def _finish(self) -> None:
        try:
            deadline = self._monotonic() + _FLUSH
            while self._delivery.connection and self._outbox.counts.queued:
                wait = self._turns.take()
                left = deadline - self._monotonic()
                if left <= 0:
                    break
                self._turns.rest(min(wait, left, _LOOK))
        finally:
            self._link.close(last=[(self._topics.status, OFFLINE.encode())], patience=_GOODBYE)
            self._outbox.close()

    def _replayed(self, payload: bytes) -> bytes:
        return msgspec.json.encode({**redated(msgspec.json.decode(payload), self._clock), "replayed": True})
