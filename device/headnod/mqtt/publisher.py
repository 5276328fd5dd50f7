"""The MQTT output: publishes estimates and songs, the latest state, and what the listener is and does.

Showing never waits: it queues a message and wakes the client's thread, which publishes.
Estimates and songs are kept until the broker acknowledges them. State, health, info and
status are published as they are now, and again at every connection.
"""

from __future__ import annotations

import functools
import math
import random
import time
from collections.abc import Callable

import msgspec

from headnod.clock import Clock
from headnod.mqtt.broker import LOST, TOO_LARGE, Broker, Request
from headnod.mqtt.client import ConnectionState, MqttClient
from headnod.mqtt.commands import command_topics, shortened
from headnod.mqtt.connection import WINDOW, Message, Will
from headnod.mqtt.discovery import Discovery, DiscoveryPublisher
from headnod.mqtt.payloads import HealthPayload, InfoPayload, ReportMaker, encode, redated
from headnod.mqtt.queue import Item, MessageQueue
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics
from headnod.pipeline.estimate import Estimate, StatusEvent
from headnod.retry import Backoff, Cause

RATE = 50.0
"""Messages per second of a backlog."""

EXPIRY = 86_400
"""Seconds that a broker keeps a message for a subscriber that is away."""

STATE_EXPIRY = 900
"""Seconds after which the latest estimate is no longer retained."""

_LAST_TIMEOUT = 0.75
"""Seconds that the broker may take to acknowledge the last message."""

_LENGTH_BYTES = 3
"""Bytes by which the length field of a packet can grow with its payload."""

CommandHandler = Callable[[Message], list[tuple[str, bytes]]]
"""Applies a command; returns topics and payloads of the answer."""


class MqttPublisher:
    """Publishes estimates and songs, the latest state, health, info and status."""

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        queue: MessageQueue,
        info: Callable[[], InfoPayload],
        *,
        boot: str,
        rng: random.Random,
        clock: Clock,
        discovery: Discovery,
        health_every: float = 60.0,
        will_delay: int = 0,
        plain: bool = False,
        rate: float = RATE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare to publish; nothing is sent before `start`.

        `boot` names this run of the listener. Queued messages are dated again by `clock`. Health is published every
        `health_every` seconds, and `offline` by the broker `will_delay` seconds after the connection is lost; with
        `plain` genre and confidence are published as plain text too. `rate` is that of a backlog, in messages per
        second.

        Raises:
            ConfigError: A file that TLS needs cannot be used.
        """
        self._topics, self._queue, self._info = topics, queue, info
        self._clock, self._monotonic = clock, monotonic
        self._estimate_topic, self._state_topic, self._plain = topics.estimate, topics.state, plain
        self._birth = discovery.birth
        birth = (self._birth,) if self._birth else ()
        self._client = MqttClient(
            broker,
            will=Will(topics.status, OFFLINE.encode(), will_delay),
            subscriptions=(topics.settings, topics.requests, *birth),
            plain=(*command_topics(topics), *birth),
            on_message=self._received,
            on_connected=self._connected,
            work=self._work,
            on_end=queue.close,
            rng=rng,
            monotonic=monotonic,
        )
        self._delivery = Delivery(queue, self._client, self._replayed, rng=rng, rate=rate, monotonic=monotonic)
        self._discovery = DiscoveryPublisher(
            discovery, self._client, on_announced=self._introduce, rng=rng, monotonic=monotonic
        )
        self._apply: CommandHandler = lambda _message: []
        self._reports = ReportMaker(topics.node, boot, clock=self._clock, monotonic=monotonic)
        self._state, self._latest, self._state_made = b"", ("", 0.0), 0.0
        self._retained: dict[str, bytes] = {}
        self._state_changed, self._info_changed = False, True
        self._health_every, self._health_due = health_every, -math.inf
        self._closing = False

    def start(self, apply: CommandHandler | None = None) -> None:
        """Start to connect and to publish; commands are applied on the client's thread."""
        self._apply = apply or self._apply
        self._client.start()

    def show(self, estimate: Estimate) -> None:
        """Publish an estimate, now or when there is a connection again."""
        reports = self._reports.update(estimate)
        self._queue_song(reports.song)
        self._state, self._state_changed, self._state_made = reports.estimate or b"", True, self._monotonic()
        self._latest = estimate.genre, estimate.confidence
        self._queue.put(self._estimate_topic, self._state, connection=self._delivery.connection)
        if reports.changed:
            self._health_due = -math.inf
        self._client.wake()

    def show_status(self, event: StatusEvent) -> None:
        """Publish why there are no estimates."""
        reports = self._reports.update(event)
        self._queue_song(reports.song)
        if reports.changed:
            self._health_due = -math.inf
        if reports.changed or reports.song is not None:
            self._client.wake()

    def changed(self) -> None:
        """Publish the info again: another model, other labels, another setting."""
        self._info_changed = True
        self._client.wake()

    def publish_retained(self, topic: str, payload: bytes) -> None:
        """Publish a retained message, now and at every connection; for any thread."""
        self._retained[topic] = payload
        self._client.publish(topic, payload, retain=True)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish a message that has no value later; for any thread."""
        self._client.publish(topic, payload)

    def largest_payload(self, topic: str) -> int:
        """Bytes of the largest payload that the broker accepts on a topic."""
        return self._client.limits.largest - self._client.limits.size(Request(topic, b"")) - _LENGTH_BYTES

    def health(self) -> HealthPayload:
        """The health report as of now."""
        waiting = self._queue.counts
        return self._reports.health(
            queued=waiting.queued,
            queued_on_disk=waiting.on_disk,
            discarded=waiting.discarded,
            published=self._delivery.published,
            refused=self._delivery.refused,
            reconnects=max(self._delivery.connections - 1, 0),
        )

    def close(self) -> None:
        """Publish that the listener is offline, and keep what the broker does not have; may be called twice."""
        if not self._closing:
            self._closing = True
            self._queue_song(self._reports.finish())
            last = [(self._topics.status, OFFLINE.encode())]
            self._client.close(last=last, timeout=_LAST_TIMEOUT, flushing=lambda: self._queue.counts.queued > 0)

    def _queue_song(self, payload: bytes | None) -> None:
        if payload is not None:
            self._queue.put(self._topics.song, payload, connection=self._delivery.connection)
            self.publish_retained(self._topics.last_song, payload)

    def _connected(self) -> None:
        self._delivery.connected()
        if self._client.limits.retain_available:
            self._publish_retained()
        self._discovery.publish_soon()
        self._introduce()

    def _publish_retained(self) -> None:
        self._state_changed = bool(self._state)
        for topic, payload in list(self._retained.items()):
            self._client.publish(topic, payload, retain=True)
        self._info_changed = True

    def _introduce(self) -> None:
        """Publish what new subscribers need."""
        if not self._client.limits.retain_available:
            self._publish_retained()
        self._client.publish(self._topics.status, ONLINE.encode(), retain=True)
        self._health_due = -math.inf

    def _received(self, message: Message) -> None:
        if message.topic == self._birth:
            if message.payload == ONLINE.encode() and not message.retained:
                self._discovery.publish_after_birth()
                self._introduce()
        else:
            limits = self._client.limits
            for topic, payload in self._apply(message):
                answer = payload if limits.fits(topic, payload) else shortened(payload, limits.largest)
                self._client.publish(topic, answer)

    def _work(self) -> float:
        """Publish and save what is due; returns the seconds until more is."""
        now = self._monotonic()
        if (wait := self._queue.save_in()) == 0.0:
            self._queue.save()
            wait = self._queue.save_in()
        if self._client.state is ConnectionState.CONNECTED:
            if self._state_changed:
                self._publish_state(STATE_EXPIRY - int(now - self._state_made))
            if self._health_due <= now:
                self._health_due = now + self._health_every
                self._client.publish(self._topics.health, encode(self.health()))
            if self._info_changed:
                self._info_changed = False
                self._client.publish(self._topics.info, encode(self._info()), retain=True)
                self._discovery.publish_if_changed()
            wait = min(wait, self._delivery.run(now), self._health_due - now, self._discovery.run())
        return max(wait, 0.0)

    def _publish_state(self, expiry: int) -> None:
        self._state_changed = False
        if expiry <= 0:
            return
        self._client.publish(self._state_topic, self._state, retain=True, expiry=expiry)
        if self._plain:
            genre, confidence = self._latest
            self._client.publish(self._topics.genre, genre.encode(), retain=True, expiry=expiry)
            self._client.publish(self._topics.confidence, f"{confidence:g}".encode(), retain=True, expiry=expiry)

    def _replayed(self, payload: bytes) -> bytes:
        return msgspec.json.encode({**redated(msgspec.json.decode(payload), self._clock), "replayed": True})


class Delivery:
    """Publishes queued messages in order, limited in rate, until the broker has acknowledged each."""

    def __init__(
        self,
        queue: MessageQueue,
        client: MqttClient,
        replayed: Callable[[bytes], bytes],
        *,
        rng: random.Random,
        rate: float,
        monotonic: Callable[[], float],
    ) -> None:
        """Deliver a queue; `replayed` marks payloads that were not made during the present connection."""
        self._queue, self._client, self._replayed, self._rng = queue, client, replayed, rng
        self._rate, self._monotonic = rate, monotonic
        # Topics that the broker refused: the oldest message of each is tried again at this time.
        self._held = dict[str, float]()
        self._backoffs = dict[str, Backoff]()
        self._tokens, self._counted = float(WINDOW), monotonic()
        self.published, self.refused, self.connections = 0, 0, 0

    @property
    def connection(self) -> int:
        """The number of the present connection, from 1; 0 without one."""
        return self.connections if self._client.state is ConnectionState.CONNECTED else 0

    def connected(self) -> None:
        """Count a new connection, and try refused topics again."""
        self.connections += 1
        self._held = dict.fromkeys(self._held, 0.0)

    def run(self, now: float) -> float:
        """Publish what may be published; returns the seconds until more may be, infinite if an event comes first."""
        most = min(WINDOW, self._client.limits.receive_maximum)
        self._tokens, self._counted = min(self._tokens + (now - self._counted) * self._rate, WINDOW), now
        while len(self._queue.in_flight) < most:
            if self._tokens < 1.0:
                return (1.0 - self._tokens) / self._rate
            held = [topic for topic, until in self._held.items() if until > now] if self._held else ()
            item = self._queue.next(held=held)
            if item is None:
                return min(self._held[topic] for topic in held) - now if held else math.inf
            if item.topic in self._held:
                # One attempt at a time.
                self._held[item.topic] = math.inf
            self._tokens -= 1.0
            payload = item.payload if item.connection == self.connections else self._replayed(item.payload)
            acknowledged = functools.partial(self._acknowledged, item)
            self._client.publish(item.topic, payload, expiry=EXPIRY, acknowledged=acknowledged)
        return math.inf

    def _acknowledged(self, item: Item, refusal: str | None) -> None:
        if refusal is None:
            self._queue.done(item.number)
            self.published += 1
            if item.topic in self._held:
                del self._held[item.topic], self._backoffs[item.topic]
        elif refusal.startswith(TOO_LARGE):
            self._queue.discard(item.number)
            self.refused += 1
        else:
            self._queue.requeue(item.number)
            if not refusal.startswith(LOST):
                self.refused += 1
                self._hold(item.topic, self._monotonic())

    def _hold(self, topic: str, now: float) -> None:
        # Other messages of the topic were in flight when it was refused first.
        if not now < self._held.get(topic, 0.0) < math.inf:
            backoff = self._backoffs.setdefault(topic, Backoff(self._rng))
            self._held[topic] = now + backoff.after(Cause.REFUSED)
