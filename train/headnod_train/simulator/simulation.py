"""A crowd of imagined listeners at a broker, to try dashboards and the broker itself.

They share a few connections: a thousand would try this machine's sockets and not
the broker, and a last will each is not needed, since all of them end together
and say so.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from headnod.errors import HeadnodError
from headnod.mqtt.broker import Broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.payloads import encode, estimate_payload
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics
from headnod.pipeline.estimate import Now, utc_now
from headnod_train.simulator.simulated_listener import SimulatedListener

CONNECTIONS = 4

_UNDER_WAY = 2000
"""Messages that may wait for the broker's acknowledgement."""

_DOOR, _PATIENCE = 5.0, 15.0
"""Seconds that a broker may take to let us in, and to acknowledge what is under way."""

_HEALTH = 20
"""Estimates between two reports of health."""


class SimulationError(HeadnodError):
    """The broker did not take all that was published."""


@dataclass(frozen=True)
class SimulationResult:
    """What came of a simulation."""

    listeners: int
    """How many there were."""

    seconds: float
    """How long they spoke."""

    estimates: int
    """Estimates published."""

    published: int
    """Messages published, estimates and all."""

    acknowledged: int
    """Messages that the broker has."""

    lost: Counter[str]
    """Messages that it does not have, by reason."""

    late: float
    """Seconds by which the latest estimate missed its time."""

    def __str__(self) -> str:
        rate = self.estimates / max(self.seconds, 1e-9)
        return (
            f"{self.listeners} listeners, {self.seconds:.1f} s: {self.estimates} estimates, {rate:.1f} a second, "
            f"{1e3 * self.late:.0f} ms late at most; {self.published} messages in all, "
            f"{self.acknowledged} acknowledged, {self.published - self.acknowledged} lost"
        )


def simulate(
    count: int,
    broker: Broker,
    *,
    base: str,
    every: float,
    seconds: float | None,
    seed: int,
    now: Now = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> SimulationResult:
    """Let so many listeners speak, and take back all that the broker retained of them.

    Args:
        count: How many; they are called `sim-0001` and so on.
        broker: Where to. It must let us publish for all of them.
        base: What every topic begins with.
        every: Seconds between the estimates of one listener.
        seconds: How long; None until Ctrl-C.
        seed: Of the music. The run, which is part of every id, is always another.
        now: The wall clock.
        monotonic: A clock in seconds that is never set.
        sleep: Waits so many seconds.

    Raises:
        SimulationError: No connection, or the broker stopped taking messages.
    """
    boot = secrets.token_hex(4)
    crowd = [
        _Member(Topics(base, f"sim-{number + 1:04}"), boot, every, np.random.default_rng([seed, number]))
        for number in range(count)
    ]
    post = _Post(broker, seed)
    try:
        post.open()
        for member in crowd:
            member.arrive(post)
        began, late, made = monotonic(), 0.0, 0
        try:
            while seconds is None or made * every / count < seconds:
                due = began + made * every / count
                if (early := due - monotonic()) > 0:
                    sleep(early)
                late = max(late, monotonic() - due)
                crowd[made % count].speak(post, now, monotonic())
                made += 1
        except KeyboardInterrupt:
            # Ctrl-C ends the simulation as its time does: listeners go offline, and the sum is printed.
            pass
        finally:
            took = monotonic() - began
            for member in crowd:
                member.leave(post)
            post.settle()
    finally:
        post.close()
    return SimulationResult(count, took, made, post.published, post.acknowledged, post.lost, late)


class _Member:
    """One of the crowd, with its topics."""

    def __init__(self, topics: Topics, boot: str, every: float, rng: np.random.Generator) -> None:
        self._topics, self._boot, self._spoken = topics, boot, 0
        self._listener = SimulatedListener(topics.node, boot=boot, every=every, rng=rng)

    def arrive(self, post: _Post) -> None:
        post.send(self._topics.status, ONLINE.encode(), retain=True)
        post.send(self._topics.info, encode(self._listener.info()), retain=True)

    def speak(self, post: _Post, now: Now, monotonic: float) -> None:
        estimate, song = self._listener.next_estimate(now(), monotonic)
        payload = encode(estimate_payload(estimate, node=self._topics.node, boot=self._boot))
        post.send(self._topics.estimate, payload)
        post.send(self._topics.state, payload, retain=True)
        if song is not None:
            post.send(self._topics.song, encode(song))
        if self._spoken % _HEALTH == 0:
            post.send(self._topics.health, encode(self._listener.health(now())))
        self._spoken += 1

    def leave(self, post: _Post) -> None:
        post.send(self._topics.status, OFFLINE.encode(), retain=True)
        for topic in (self._topics.status, self._topics.state, self._topics.info):
            post.send(topic, b"", retain=True)


class _Post:
    """A few connections, and a count of what went through them."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self.published = self.acknowledged = 0
        self.lost: Counter[str] = Counter()
        self._news = threading.Condition()
        self._links = [
            MqttClient(
                replace(broker, client_id=f"{broker.client_id}-{number}"),
                on_connected=self._connected,
                rng=random.Random(seed + number),  # noqa: S311 - spreads attempts, hides nothing
            )
            for number in range(CONNECTIONS)
        ]

    def open(self) -> None:
        for link in self._links:
            link.start()
        with self._news:
            there = self._news.wait_for(lambda: all(link.connected for link in self._links), _DOOR)
        if not there:
            message = f"no connection within {_DOOR:g} s: {next(filter(None, (link.reason for link in self._links)))}"
            raise SimulationError(message)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        with self._news:
            room = self._news.wait_for(lambda: self._under_way < _UNDER_WAY, _PATIENCE)
            if not room:
                message = f"{_UNDER_WAY} messages wait for the broker's acknowledgement (is it overloaded?)"
                raise SimulationError(message)
            self.published += 1
        # One listener's messages stay in order: they go by one connection.
        link = self._links[zlib.crc32(topic.rpartition("/")[0].encode()) % CONNECTIONS]
        link.publish(topic, payload, retain=retain, acknowledged=self._settled)

    def settle(self) -> None:
        """Wait until nothing is under way."""
        with self._news:
            self._news.wait_for(lambda: self._under_way == 0, _PATIENCE)
            if self._under_way:
                self.lost["not acknowledged in time"] += self._under_way

    def close(self) -> None:
        for link in self._links:
            link.close()

    @property
    def _under_way(self) -> int:
        return self.published - self.acknowledged - self.lost.total()

    def _connected(self) -> None:
        with self._news:
            self._news.notify_all()

    def _settled(self, refusal: str | None) -> None:
        with self._news:
            if refusal is None:
                self.acknowledged += 1
            else:
                self.lost[refusal] += 1
            self._news.notify_all()
