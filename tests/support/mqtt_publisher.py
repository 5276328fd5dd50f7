"""A publisher with a real link, queue and broker, and a stream of estimates for it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from headnod.clock import Clock
from headnod.mqtt.broker import Broker as Where
from headnod.mqtt.discovery import Discovery, RetainedTopics
from headnod.mqtt.payloads import InfoPayload
from headnod.mqtt.publisher import MqttPublisher
from headnod.mqtt.queue import LATE, MessageQueue
from headnod.mqtt.topics import Topics
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from support.estimates import GTZAN, estimate

BEGAN = datetime(2026, 11, 22, 12, tzinfo=UTC)
EVERY = 3.0
TOPICS = Topics("headnod", "kitchen")


def numbered_estimate(number: int, genre: str = "jazz") -> Estimate:
    """The estimate of this number, in a stream of one each three seconds."""
    return msgspec.structs.replace(
        estimate(genre, **({genre: 0.9, "blues": 0.1} if genre in GTZAN else {})),
        sequence=number,
        time=BEGAN + timedelta(seconds=EVERY * number),
        seconds=EVERY * number,
        monotonic=EVERY * number,
    )


def condition(state: State, message: str = "something") -> StatusEvent:
    return StatusEvent(time=BEGAN, state=state, message=message)


def info(**how) -> InfoPayload:
    """What a listener in the kitchen would say it is."""
    facts = {"node": "kitchen", "boot": "b007", "version": "0.1.0", "runtime": "none", "python": "3.11", "board": ""}
    facts |= {"microphone": "", "model": "genre-0.1.0", "model_sha256": "0" * 64, "models": ("genre-0.1.0",)}
    facts |= {"latest_model": "genre-0.1.0", "labels": GTZAN, "every_s": EVERY, "window_s": 3.0, "health_every_s": 60.0}
    facts |= {"sample_rate": 22050, "certainty": 0.45, "paused": False, "brightness": 0.5}
    return InfoPayload(**(facts | how))


class Ahead:
    """A monotonic clock that may be put forward, so that nobody waits for seconds to pass."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.seconds


def publisher(
    broker, path=None, *, port=None, bound=28_800, keepalive=15, discovery=None, wanted=None, ahead=None, **how
) -> MqttPublisher:
    """A publisher that is not started yet.

    Args:
        broker: Where to.
        path: Of its queue.
        port: Another port than the broker's.
        bound: Of its queue.
        keepalive: Seconds.
        discovery: How Home Assistant is told.
        wanted: What Home Assistant is told, with a ledger that is not kept.
        ahead: The clock of its queue.
        how: Anything else of `MqttPublisher`.
    """
    login = {key: how.pop(key) for key in ("username", "password") if key in how}
    nothing = Discovery(lambda _takes: {}, RetainedTopics(None), "")
    told = Discovery(lambda _takes: wanted(), RetainedTopics(None), "homeassistant/status") if wanted else discovery
    settings = {"boot": "b007", "rng": random.Random(1), "clock": Clock(), "discovery": told or nothing, **how}
    where = Where(broker.host, port or broker.port, "headnod-kitchen", keepalive=keepalive, **login)
    outbox = MessageQueue(path, bound=bound, monotonic=ahead or time.monotonic)
    return MqttPublisher(where, TOPICS, outbox, settings.pop("info", info), **settings)


def saves(mqtt, ahead, count):
    """Let the seconds pass after which what waits is written to disk, and wait until so much is."""
    ahead.seconds += LATE

    def there():
        # It looks at the clock whenever something happens.
        mqtt.changed()
        return mqtt.health().queued_on_disk >= count

    until(there, report=mqtt.health)


def sequences(payloads) -> list[int]:
    """Sequence numbers of estimates, in the order in which they came."""
    return [msgspec.json.decode(payload)["seq"] for payload in payloads]


def without_repeats(numbers: list[int]) -> list[int]:
    """Each number once, where it came first: what a subscriber does who looks at ids."""
    return list(dict.fromkeys(numbers))


def until(there: Callable[[], object], within: float = 60.0, *, report: Callable[[], object] = str):
    """Look again and again until it is so; `report` describes the state if it never is."""
    look, deadline = threading.Event(), time.monotonic() + within
    while not there():
        assert time.monotonic() < deadline, f"not so within {within:g} s: {report()}"
        look.wait(0.05)


PATIENCE = 60.0
"""Seconds within which something has to come: generous, since other programs may keep the machine busy."""


class Arrived:
    """Sequence numbers of estimates that arrived, once each and as they came."""

    def __init__(self, subscriber):
        self._subscriber, self._read, self._numbers = subscriber, 0, {}

    def numbers(self):
        payloads = self._subscriber.on("/estimate")
        self._numbers.update(dict.fromkeys(sequences(payloads[self._read :])))
        self._read = len(payloads)
        return list(self._numbers)


def all_of(subscriber, count, within=PATIENCE):
    """Sequence numbers of the first `count` estimates, once each and as they came."""
    arrived = Arrived(subscriber)
    missing = lambda: sorted(set(range(count)) - set(arrived.numbers()))[:50]  # noqa: E731
    until(lambda: len(arrived.numbers()) >= count, within, report=missing)
    return arrived.numbers()


def decoded(payloads):
    return [msgspec.json.decode(payload) for payload in payloads]


def online(subscriber):
    """Wait until the listener says that it is there."""
    subscriber.until(lambda message: message.topic == TOPICS.status and message.payload == b"online", PATIENCE)
