"""Simulated listeners with a connection and a last will each, as real ones have, and a collector of all they publish.

They measure a broker: how many connections and messages it takes, what is lost, and how late messages arrive.
"""

from __future__ import annotations

import multiprocessing
import secrets
import select
import socket
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Self

import numpy as np

from headnod.errors import HeadnodError
from headnod.mqtt.payloads import encode, estimate_payload
from headnod.mqtt.topics import OFFLINE, ONLINE, Topics
from headnod.pipeline.estimate import utc_now
from headnod_train.simulator import mqtt_packets as mqtt
from headnod_train.simulator.simulation import SimulatedListener

_RAMP = 500.0
"""New connections per second: a listener adds up to 20 % jitter to its attempts, so they are never all at once."""

_PROTOTYPES = 32
"""Listeners whose music is simulated; the others publish the same with their own name."""

_NODE, _SEQUENCE, _SECONDS = b"sim-node", 987_654_321, 1_111_111_111.111
"""Placeholders in the payload of a prototype."""

_CONNECT_TIMEOUT, _SETTLE_TIMEOUT = 60.0, 30.0
"""Seconds until every listener must be connected, and every message acknowledged."""

_CHUNK = 1 << 16


class FleetError(HeadnodError):
    """The broker did not accept every listener."""


@dataclass(frozen=True)
class Latencies:
    """How late messages were, in seconds."""

    median: float
    p99: float
    maximum: float

    @classmethod
    def of(cls, seconds: array[float]) -> Latencies:
        """Those of some measurements; zeros without any."""
        values = np.asarray(seconds) if len(seconds) else np.zeros(1)
        return cls(float(np.median(values)), float(np.quantile(values, 0.99)), float(values.max()))

    def __str__(self) -> str:
        median, p99, most = (f"{1e3 * seconds:.0f} ms" for seconds in (self.median, self.p99, self.maximum))
        return f"median {median}, 99 % within {p99}, maximum {most}"


@dataclass(frozen=True)
class FleetResult:
    """What became of the messages of many listeners."""

    listeners: int
    """Connections."""

    connecting: float
    """Seconds until all were connected."""

    seconds: float
    """Seconds of publishing."""

    published: int
    """Messages: estimates, and the same as the latest state."""

    acknowledged: int
    """Messages that the broker acknowledged."""

    disconnected: int
    """Listeners that the broker disconnected."""

    behind: float
    """Seconds by which the simulation itself was late, at most."""

    acknowledgement: Latencies
    """From publishing to the acknowledgement."""

    received: int
    """Estimates that the collector received, repeated ones once."""

    delivery: Latencies
    """From making an estimate to its arrival at the collector."""

    def __str__(self) -> str:
        estimates, rate = self.published // 2, self.published / max(self.seconds, 1e-9)
        return (
            f"{self.listeners} connections in {self.connecting:.1f} s, {self.disconnected} ended by the broker\n"
            f"{self.published} messages in {self.seconds:.1f} s, {rate:.0f} per second, "
            f"the simulation up to {self.behind:.1f} s behind\n"
            f"{self.acknowledged} acknowledged: {self.acknowledgement}\n"
            f"{self.received} of {estimates} estimates collected, {estimates - self.received} lost: {self.delivery}"
        )


def simulate_fleet(count: int, host: str, port: int, *, base: str, every: float, seconds: float) -> FleetResult:
    """Connect many listeners, let them publish, and take back what the broker retains of them."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    collector = context.Process(target=collect, args=(host, port, base, theirs), daemon=True)
    collector.start()
    with ExitStack() as stack:
        stack.callback(collector.kill)
        if not ours.poll(_CONNECT_TIMEOUT) or ours.recv() != "ready":
            raise FleetError(f"{host}:{port}: the collector could not subscribe")
        fleet = stack.enter_context(_Fleet(count, host, port, base))
        connecting = fleet.connect()
        took, behind = fleet.publish(every, seconds)
        fleet.settle(lambda: fleet.acknowledged < fleet.published)
        published, acknowledged = fleet.published, fleet.acknowledged
        fleet.leave()
        received, delivery = ours.recv() if ours.poll(_SETTLE_TIMEOUT) else (0, array("d"))
        return FleetResult(
            listeners=count,
            connecting=connecting,
            seconds=took,
            published=published,
            acknowledged=acknowledged,
            disconnected=fleet.disconnected,
            behind=behind,
            acknowledgement=Latencies.of(fleet.latencies),
            received=received,
            delivery=Latencies.of(delivery),
        )


class _Listener:
    """One connection."""

    def __init__(self, number: int, base: str) -> None:
        self.topics = Topics(base, f"sim-{number + 1:06}")
        self.node = self.topics.node.encode()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.received, self.unsent = (
            bytearray(),
            bytearray(mqtt.connect(f"headnod-{self.topics.node}", will=self._will)),
        )
        self.connected, self.made, self.number = False, 0, 0
        self.sent: dict[bytes, float] = {}

    @property
    def _will(self) -> tuple[str, bytes]:
        return self.topics.status, OFFLINE.encode()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.number = self.number % 0xFFFF + 1
        self.sent[self.number.to_bytes(2, "big")] = time.monotonic()
        self.unsent += mqtt.publish(topic.encode(), payload, self.number, retain=retain)


class _Fleet:
    """Every connection, served by one thread."""

    def __init__(self, count: int, host: str, port: int, base: str) -> None:
        self._address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
        self._listeners = [_Listener(number, base) for number in range(count)]
        self._by_file = {each.socket.fileno(): each for each in self._listeners}
        self._poll, self._end = select.epoll(), Topics(base, "simulation").estimate
        self._boot = secrets.token_hex(4)
        self._prototypes = [
            SimulatedListener(_NODE.decode(), boot=self._boot, every=3.0, rng=np.random.default_rng(number))
            for number in range(_PROTOTYPES)
        ]
        self.published = self.acknowledged = self.disconnected = self._connected = 0
        self.latencies = array("d")

    def connect(self) -> float:
        """Connect all; returns the seconds that it took."""
        began, opened = time.monotonic(), 0
        while True:
            now = time.monotonic()
            while opened < min(len(self._listeners), (now - began) * _RAMP):
                listener = self._listeners[opened]
                with suppress(BlockingIOError):
                    listener.socket.connect(self._address)
                self._poll.register(listener.socket, select.EPOLLIN | select.EPOLLOUT)
                opened += 1
            self._serve(0.002)
            if self._connected == len(self._listeners):
                return time.monotonic() - began
            if self.disconnected or now - began > _CONNECT_TIMEOUT + opened / _RAMP:
                raise FleetError(f"the broker accepted {self._connected} of {opened} connections")

    def publish(self, every: float, seconds: float) -> tuple[float, float]:
        """Publish for some seconds; returns how long it took, and by how much it was late at most."""
        for listener in self._listeners:
            listener.publish(listener.topics.status, ONLINE.encode(), retain=True)
            self._send(listener)
        self.settle(lambda: any(each.sent for each in self._listeners))
        self.acknowledged, self.latencies = 0, array("d")
        began, behind, made = time.monotonic(), 0.0, 0
        count, payloads = len(self._listeners), self._payloads()
        while made < seconds / every * count:
            due = began + made * every / count
            now = time.monotonic()
            if now < due:
                self._serve(due - now)
                continue
            behind = max(behind, now - due)
            listener = self._listeners[made % count]
            payload = next(payloads).replace(_NODE, listener.node)
            payload = payload.replace(b"%d" % _SEQUENCE, b"%d" % listener.made)
            payload = payload.replace(b"%.3f" % _SECONDS, b"%.3f" % time.time())
            listener.publish(listener.topics.estimate, payload)
            listener.publish(listener.topics.state, payload, retain=True)
            self._send(listener)
            listener.made += 1
            self.published += 2
            made += 1
            if made % 20 == 0:
                self._serve(0.0)
        return time.monotonic() - began, behind

    def settle(self, waiting: Callable[[], bool]) -> None:
        """Serve the connections while something waits."""
        deadline = time.monotonic() + _SETTLE_TIMEOUT
        while waiting() and time.monotonic() < deadline:
            self._serve(0.05)

    def leave(self) -> None:
        """Empty what is retained, end the collector, and disconnect."""
        for listener in self._listeners:
            for topic in (listener.topics.status, listener.topics.state):
                listener.publish(topic, b"", retain=True)
            self._send(listener)
        self.settle(lambda: any(each.sent for each in self._listeners if each.connected))
        self._listeners[0].publish(self._end, b"end")
        self._send(self._listeners[0])
        self.settle(lambda: bool(self._listeners[0].sent))

    def _payloads(self) -> Iterator[bytes]:
        """Payloads with placeholders, without end."""
        while True:
            for prototype in self._prototypes:
                estimate, _ = prototype.next_estimate(utc_now(), 0.0)
                fields = estimate_payload(estimate, node=_NODE.decode(), boot=self._boot)
                fields |= {"seq": _SEQUENCE, "id": f"{_NODE.decode()}-{self._boot}-{_SEQUENCE}", "time_unix": _SECONDS}
                payload = encode(fields)
                for _ in range(4):
                    yield payload

    def _serve(self, seconds: float) -> None:
        for file, events in self._poll.poll(seconds):
            listener = self._by_file[file]
            if events & select.EPOLLOUT:
                self._send(listener)
                if not listener.unsent:
                    self._poll.modify(file, select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                self._receive(listener)

    def _send(self, listener: _Listener) -> None:
        try:
            del listener.unsent[: listener.socket.send(listener.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._lost(listener)
            return
        if listener.unsent:
            self._poll.modify(listener.socket, select.EPOLLIN | select.EPOLLOUT)

    def _receive(self, listener: _Listener) -> None:
        try:
            content = listener.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            self._lost(listener)
            return
        listener.received += content
        for kind, body in mqtt.packets(listener.received):
            if kind == mqtt.CONNACK:
                listener.connected = body[1] == 0
                self._connected += listener.connected
            elif kind == mqtt.PUBACK and (sent := listener.sent.pop(body[:2], None)) is not None:
                self.latencies.append(time.monotonic() - sent)
                self.acknowledged += not mqtt.refused(body)

    def _lost(self, listener: _Listener) -> None:
        with suppress(OSError, ValueError):
            self._poll.unregister(listener.socket)
        self.disconnected += 1
        listener.connected = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            with suppress(OSError):
                listener.socket.send(mqtt.DISCONNECT)
            listener.socket.close()
        self._poll.close()


def collect(host: str, port: int, base: str, pipe: Pipe) -> None:
    """Receive every estimate until the end is published: sends `ready`, and in the end how many, and how late."""
    end = Topics(base, "simulation").estimate.encode()
    seen, late = set[bytes](), array("d")
    buffer = bytearray()
    with socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT) as connection:
        connection.sendall(mqtt.connect(f"headnod-collector-{secrets.token_hex(4)}", keepalive=0))
        while True:
            content = connection.recv(_CHUNK)
            if not content:
                break
            buffer += content
            answers = bytearray()
            for kind, body in mqtt.packets(buffer):
                if kind == mqtt.CONNACK:
                    answers += mqtt.subscribe(f"{base}/+/estimate")
                elif kind == mqtt.SUBACK:
                    connection.settimeout(None)
                    pipe.send("ready")
                elif kind == mqtt.PUBLISH:
                    topic, number, payload = mqtt.message(body)
                    answers += mqtt.acknowledge(number)
                    if topic == end:
                        connection.sendall(answers)
                        pipe.send((len(seen), late))
                        return
                    late.append(time.time() - float(_field(payload, b'"time_unix":')))
                    seen.add(_field(payload, b'"id":'))
            connection.sendall(answers)
    pipe.send((len(seen), late))


def _field(payload: bytes, key: bytes) -> bytes:
    start = payload.index(key) + len(key)
    return payload[start : payload.index(b",", start)]
