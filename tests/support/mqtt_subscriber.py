"""A subscriber that receives all that is published, also when the broker is restarted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

if TYPE_CHECKING:
    from support.mqtt_broker import Broker

STARTING = 60.0
"""Seconds that a busy machine may take to start a broker, or to answer."""


class Subscriber:
    """A subscriber that reconnects and misses nothing, because the broker keeps its session."""

    def __init__(
        self,
        broker: Broker,
        *filters: str,
        name: str = "heard",
        user: str = "",
        password: str = "",
        port: int | None = None,
        ca: Path | None = None,
    ):
        self.messages: list[paho.MQTTMessage] = []
        self._filters = filters or ("#",)
        self._news = threading.Condition()
        self._subscribed = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        self._client.on_connect, self._client.on_message = self._on_connect, self._on_message
        self._client.on_subscribe, self._client.on_socket_open = self._on_subscribe, at_once
        self._client.reconnect_delay_set(1, 1)
        if user:
            self._client.username_pw_set(user, password)
        if ca is not None:
            self._client.tls_set(str(ca))
        forever = Properties(PacketTypes.CONNECT)
        forever.SessionExpiryInterval = 0xFFFFFFFF
        self._client.connect(broker.host, port or broker.port, keepalive=60, clean_start=False, properties=forever)
        self._client.loop_start()
        self._until(lambda: self._subscribed, STARTING)

    def _on_connect(self, client, _data, _flags, code, _told):
        assert not code.is_failure, code
        client.subscribe([(filter_, 1) for filter_ in self._filters])

    def _on_subscribe(self, *_):
        with self._news:
            self._subscribed = True
            self._news.notify_all()

    def _on_message(self, _client, _data, message):
        with self._news:
            self.messages.append(message)
            self._news.notify_all()

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False):
        """Publish, at QoS 1."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(STARTING)

    def publish_all(self, messages: Iterable[tuple[str, bytes]]):
        """Publish many, at QoS 1; return when the broker has all of them."""
        messages = iter(messages)
        # So many that nobody's buffer is ever full.
        while some := [self._client.publish(*message, qos=1) for message in islice(messages, 50)]:
            some[-1].wait_for_publish(STARTING)

    def on(self, ending: str) -> list[bytes]:
        """Payloads so far of topics that end so."""
        with self._news:
            return [message.payload for message in self.messages if message.topic.endswith(ending)]

    def until(self, wanted: Callable[[paho.MQTTMessage], bool], within: float = STARTING) -> paho.MQTTMessage:
        """The first message, of all so far or to come, that is wanted."""
        found: list[paho.MQTTMessage] = []

        def look() -> bool:
            found.extend(message for message in self.messages if wanted(message))
            return bool(found)

        self._until(look, within)
        return found[0]

    def until_on(self, ending: str, count: int, within: float) -> list[bytes]:
        """Payloads of topics that end so, when there are so many."""
        self._until(lambda: sum(message.topic.endswith(ending) for message in self.messages) >= count, within)
        return self.on(ending)

    def clear(self):
        """Begin anew with no message."""
        with self._news:
            self.messages.clear()

    def _until(self, there: Callable[[], bool], within: float):
        with self._news:
            seen = self._news.wait_for(there, within)
            topics = [message.topic for message in self.messages][-5:]
            assert seen, f"it did not come within {within:g} s; {len(self.messages)} messages, the last on {topics}"

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
        # Closes a pair of sockets that paho leaves open.
        self._client.reinitialise()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_):
        self.close()


def at_once(_client, _data, connection: socket.socket):
    """Let small packets go out as they come: they would wait for each other, 40 ms at a time."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
