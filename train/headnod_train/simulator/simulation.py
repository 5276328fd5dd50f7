"""Simulated listeners at a broker, to test dashboards and brokers: estimates, songs and health, without audio.

They share a few connections: a thousand would load the sockets of this machine and not the broker. None needs a last
will, because all of them publish that they are offline at the end.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from headnod.errors import HeadnodError
from headnod.escaping import SILENCE, UNKNOWN
from headnod.mqtt.broker import Broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.payloads import HealthPayload, InfoPayload, SongPayload, encode, estimate_payload
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics
from headnod.pipeline.estimate import Estimate, Song, SongSegmenter, SongSettings, State, utc_now

LABELS = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
"""Genres of the simulated model."""

MODEL = "imagined-1.0.0"
CERTAINTY = 0.45

_SONG, _PAUSE = (20, 80), (0, 4)
"""Range of the length of a song and of the silence after it, in estimates."""

_INERTIA = 0.7
"""Weight of the previous scores in the next ones."""


class SimulatedListener:
    """One listener; equal seeds give equal music."""

    def __init__(self, node: str, *, boot: str, every: float, rng: np.random.Generator) -> None:
        """Begin in the middle of a song."""
        self.node, self._boot, self._every, self._rng = node, boot, every, rng
        self._scores: NDArray[np.float64] = np.full(len(LABELS), 1 / len(LABELS))
        self._genre = int(rng.integers(len(LABELS)))
        self._left, self._silent = int(rng.integers(1, _SONG[1])), 0
        self._songs = SongSegmenter(SongSettings())
        self._numbers: dict[datetime, int] = {}
        self._next = 0

    def next_estimate(self, now: datetime, monotonic: float) -> tuple[Estimate, SongPayload | None]:
        """The next estimate, and the song that ended with it, if any."""
        raw = self._music()
        self._scores = _INERTIA * self._scores + (1 - _INERTIA) * raw if raw.any() else raw
        order = np.argsort(-self._scores)
        best, music = float(self._scores[order[0]]), bool(raw.any())
        genre = SILENCE if not music else LABELS[order[0]] if best >= CERTAINTY else UNKNOWN
        level = self._rng.normal(-24.0 if music else -62.0, 2.0)
        estimate = Estimate(
            sequence=self._next,
            time=now,
            seconds=(self._next + 1) * self._every,
            genre=genre,
            confidence=round(best, 4),
            scores={label: round(float(score), 4) for label, score in zip(LABELS, self._scores, strict=True)},
            level=round(level, 1),
            peak=round(min(level + 12.0, 0.0), 1),
            dropped=0.0,
            state=State.LISTENING,
            model=MODEL,
            raw_genre=LABELS[int(raw.argmax())] if music else SILENCE,
            raw_confidence=round(float(raw.max()), 4),
            monotonic=round(monotonic, 3),
            latency=round(float(self._rng.gamma(4.0, 5.0)), 1),
        )
        self._numbers[now] = self._next
        self._next += 1
        song = self._songs.update(estimate)
        return estimate, None if song is None else self._song_payload(song)

    def info(self) -> InfoPayload:
        """Its `info` payload."""
        return InfoPayload(
            node=self.node,
            boot=self._boot,
            version="0.0.0",
            runtime="none",
            python="3.11.2",
            board="none: it is simulated",
            microphone="",
            model=MODEL,
            model_sha256="0" * 64,
            models=(MODEL,),
            latest_model=MODEL,
            labels=LABELS,
            every_s=self._every,
            window_s=self._every,
            health_every_s=60.0,
            sample_rate=22_050,
            certainty=CERTAINTY,
            paused=False,
            brightness=0.5,
        )

    def health(self, now: datetime) -> HealthPayload:
        """Its `health` payload."""
        return HealthPayload(
            node=self.node,
            ts=now,
            state=State.LISTENING,
            message="",
            uptime_s=round(self._next * self._every, 1),
            estimates=self._next,
            dropped_s=0.0,
            queued=0,
            queued_on_disk=0,
            discarded=0,
            published=self._next,
            refused=0,
            reconnects=0,
            memory_mb=round(self._rng.normal(80.0, 1.0), 1),
            cpu_percent=round(self._rng.gamma(4.0, 1.0), 1),
            temperature_c=round(self._rng.normal(52.0, 1.0), 1),
        )

    def _music(self) -> NDArray[np.float64]:
        """Scores of the next window; zeros in silence."""
        if self._silent:
            self._silent -= 1
            return np.zeros(len(LABELS))
        self._left -= 1
        if self._left <= 0:
            self._genre = int(self._rng.integers(len(LABELS)))
            self._left, self._silent = int(self._rng.integers(*_SONG)), int(self._rng.integers(*_PAUSE))
        others = self._rng.dirichlet(np.ones(len(LABELS)))
        sure = self._rng.uniform(0.4, 0.95)
        return sure * np.eye(len(LABELS))[self._genre] + (1 - sure) * others

    def _song_payload(self, song: Song) -> SongPayload:
        first = self._numbers[song.start]
        self._numbers = {time: number for time, number in self._numbers.items() if time > song.end}
        return SongPayload(
            id=f"{self.node}-{self._boot}-{first}",
            node=self.node,
            start=song.start,
            end=song.end,
            duration_s=round((song.end - song.start).total_seconds(), 3),
            genre=song.genre,
            stability=song.stability,
        )


CONNECTIONS = 4

_LARGEST_BACKLOG = 2000
"""Messages that may wait for the broker's acknowledgement."""

_CONNECT_TIMEOUT, _ACKNOWLEDGE_TIMEOUT = 5.0, 15.0
"""In seconds."""

_HEALTH = 20
"""Estimates between two reports of health."""


class SimulationError(HeadnodError):
    """The broker did not acknowledge every message."""


@dataclass(frozen=True)
class SimulationResult:
    """Result of a simulation."""

    listeners: int
    """Number of listeners."""

    seconds: float
    """Seconds of publishing."""

    estimates: int
    """Estimates published."""

    published: int
    """Messages published, estimates and all."""

    acknowledged: int
    """Messages that the broker acknowledged."""

    lost: Counter[str]
    """Messages without an acknowledgement, by reason."""

    late: float
    """Largest delay of an estimate, in seconds."""

    def __str__(self) -> str:
        rate = self.estimates / max(self.seconds, 1e-9)
        return (
            f"{self.listeners} listeners, {self.seconds:.1f} s: {self.estimates} estimates, {rate:.1f} a second, "
            f"{1e3 * self.late:.0f} ms late at most; {self.published} messages in all, "
            f"{self.acknowledged} acknowledged, {self.published - self.acknowledged} lost"
        )


def simulate(
    count: int, broker: Broker, *, base: str, every: float, seconds: float | None, seed: int
) -> SimulationResult:
    """Publish for simulated listeners in real time, and clear what the broker retained of them.

    Raises:
        SimulationError: No connection, or the broker stopped acknowledging messages.
    """
    boot = secrets.token_hex(4)
    members = [
        _PublishingListener(Topics(base, f"sim-{number + 1:04}"), boot, every, np.random.default_rng([seed, number]))
        for number in range(count)
    ]
    connections = _Connections(broker, seed)
    try:
        connections.open()
        for member in members:
            member.begin(connections)
        began, late, made = time.monotonic(), 0.0, 0
        try:
            while seconds is None or made * every / count < seconds:
                due = began + made * every / count
                if (early := due - time.monotonic()) > 0:
                    time.sleep(early)
                late = max(late, time.monotonic() - due)
                members[made % count].publish(connections, time.monotonic())
                made += 1
        except KeyboardInterrupt:
            # Ctrl-C is a regular end: listeners go offline, and the result is printed.
            pass
        finally:
            took = time.monotonic() - began
            for member in members:
                member.end(connections)
            connections.settle()
    finally:
        connections.close()
    return SimulationResult(count, took, made, connections.published, connections.acknowledged, connections.lost, late)


class _PublishingListener:
    """A simulated listener with its topics."""

    def __init__(self, topics: Topics, boot: str, every: float, rng: np.random.Generator) -> None:
        self._topics, self._boot, self._published = topics, boot, 0
        self._listener = SimulatedListener(topics.node, boot=boot, every=every, rng=rng)

    def begin(self, connections: _Connections) -> None:
        connections.send(self._topics.status, ONLINE.encode(), retain=True)
        connections.send(self._topics.info, encode(self._listener.info()), retain=True)

    def publish(self, connections: _Connections, monotonic: float) -> None:
        estimate, song = self._listener.next_estimate(utc_now(), monotonic)
        payload = encode(estimate_payload(estimate, node=self._topics.node, boot=self._boot))
        connections.send(self._topics.estimate, payload)
        connections.send(self._topics.state, payload, retain=True)
        if song is not None:
            connections.send(self._topics.song, encode(song))
        if self._published % _HEALTH == 0:
            connections.send(self._topics.health, encode(self._listener.health(utc_now())))
        self._published += 1

    def end(self, connections: _Connections) -> None:
        connections.send(self._topics.status, OFFLINE.encode(), retain=True)
        for topic in (self._topics.status, self._topics.state, self._topics.info):
            connections.send(topic, b"", retain=True)


class _Connections:
    """Connections to the broker, and the count of their messages."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self.published = self.acknowledged = 0
        self.lost: Counter[str] = Counter()
        self._news = threading.Condition()
        self._links = [
            MqttClient(
                replace(broker, client_id=f"{broker.client_id}-{number}"),
                on_connected=self._connected,
                rng=random.Random(seed + number),  # noqa: S311 - it spreads attempts over time
            )
            for number in range(CONNECTIONS)
        ]

    def open(self) -> None:
        for link in self._links:
            link.start()
        with self._news:
            there = self._news.wait_for(lambda: all(link.connected for link in self._links), _CONNECT_TIMEOUT)
        if not there:
            reason = next(filter(None, (link.reason for link in self._links)))
            raise SimulationError(f"no connection within {_CONNECT_TIMEOUT:g} s: {reason}")

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        with self._news:
            room = self._news.wait_for(lambda: self._backlog < _LARGEST_BACKLOG, _ACKNOWLEDGE_TIMEOUT)
            if not room:
                message = f"{_LARGEST_BACKLOG} messages wait for the broker's acknowledgement (is it overloaded?)"
                raise SimulationError(message)
            self.published += 1
        # Messages of one listener use one connection, so that they stay in order.
        link = self._links[zlib.crc32(topic.rpartition("/")[0].encode()) % CONNECTIONS]
        link.publish(topic, payload, retain=retain, acknowledged=self._settled)

    def settle(self) -> None:
        """Wait for outstanding acknowledgements."""
        with self._news:
            self._news.wait_for(lambda: self._backlog == 0, _ACKNOWLEDGE_TIMEOUT)
            if self._backlog:
                self.lost["not acknowledged in time"] += self._backlog

    def close(self) -> None:
        for link in self._links:
            link.close()

    @property
    def _backlog(self) -> int:
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
