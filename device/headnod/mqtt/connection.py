"""One connection to a broker, from CONNECT to its end, on paho.

paho's own loop is not used: it wakes once a second, and once more for a message; its thread ends with an exception in
a callback and still reports a connection, keeps unacknowledged messages in memory without bound and reconnects by its
own rules. Here its socket is served by the thread of `client`, a connection is opened once, and unacknowledged messages
are handed back.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

try:
    from paho.mqtt import client as paho
    from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage, WebsocketConnectionError, _WebsocketWrapper
    from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
except ImportError as error:
    from headnod.errors import MissingExtraError
    from headnod.system import how_to_install

    raise MissingExtraError(f"MQTT needs paho-mqtt ({how_to_install('device')}, or leave mqtt.host empty)") from error

from headnod.errors import ConfigError
from headnod.mqtt.broker import (
    LOST,
    TOO_LARGE,
    Broker,
    Ending,
    Limits,
    Request,
    disconnected_ending,
    reason_text,
    refused_ending,
    unreachable_ending,
)
from headnod.retry import Cause

WINDOW = 20
"""Messages that may be unacknowledged at once: mosquitto's default, and less where the broker allows less."""

_SOCKET_TIMEOUT = 10.0
"""Seconds that each answer may take until TCP, TLS and WebSocket are established."""

_CONNACK_TIMEOUT = 10.0
"""Seconds that a broker may take to answer CONNECT."""

_OPENING_CHECK = 1.5
"""Seconds between two checks of timeouts until the broker has answered CONNECT."""

_CHECKS = 3
"""Checks of timeouts in one keepalive. A broker ends a connection after one and a half keepalives of silence."""

_KEEPALIVE_TIMEOUT, _TOO_LARGE, _NO_RETAIN, _NO_QOS = 0x8D, 0x95, 0x9A, 0x9B
"""Reason codes: the broker sent nothing; the packet is too large; retained messages, or this QoS, are not supported."""

_DECORATION = re.compile(r"\A\[[^]]*\] *| *\(_ssl\.c:\d+\)\Z")
"""What Python adds to the text of an error: `[Errno 104] `, ` (_ssl.c:2580)`."""


class Message(NamedTuple):
    """A received message."""

    topic: str
    payload: bytes
    retained: bool
    """It was published before we subscribed."""


class Subscriptions(NamedTuple):
    """What to subscribe to."""

    filters: Sequence[str] = ()
    plain: Sequence[str] = ()
    """The same without wildcards, for a broker that has none."""

    qos: int = 0
    """1 for subscribers that must miss nothing. Only for trusted senders: mosquitto 2.0.11 keeps a message that is too
    large for us in flight, and sends nothing more after twenty of them."""


class Will(NamedTuple):
    """The last will, which the broker publishes, retained, if the connection ends without DISCONNECT."""

    topic: str
    payload: bytes
    delay: int = 0
    """Seconds that the broker waits with it; a new connection within them cancels it (MQTT 5)."""


class Events(NamedTuple):
    """Functions that receive the events of a connection; none of them raises."""

    connected: Callable[[Limits], None]
    """The broker has accepted the connection and announced its limits."""

    received: Callable[[Message], None]
    """A message of a subscription."""

    settled: Callable[[Request, str | None], None]
    """The outcome of a message, see `Acknowledged`."""

    warn: Callable[[str, str], None]
    """A problem that a person should see: its cause and one line."""


class Connection:
    """A connection, used on one thread, but for `open`."""

    def __init__(
        self,
        broker: Broker,
        events: Events,
        *,
        will: Will | None,
        subscriptions: Subscriptions,
        largest: int,
        limits: Limits,
        monotonic: Callable[[], float],
    ) -> None:
        """Prepare a connection; the arguments are those of `MqttClient`, and `limits` the last ones known."""
        self._broker, self._events, self._subscriptions, self._will = broker, events, subscriptions, will
        self._largest, self._monotonic = largest, monotonic
        self.limits = replace(limits, modern=broker.modern)
        self.ending: Ending | None = None
        self.established = False
        self._waiting: deque[Request] = deque()
        self._pending: dict[int, tuple[Request, float]] = {}
        self._subscribing: dict[int | None, str] = {}
        self._opened = self._acknowledged = monotonic()
        self._socket_error = ""
        self._client = _Client(broker)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_publish, self._client.on_message = self._on_publish, self._on_message
        self._client.on_subscribe, self._client.on_log = self._on_subscribe, self._on_log
        self._delay = will.delay if will is not None and broker.modern else 0
        if will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=self._delay) if self._delay else None
            qos, retain = min(1, limits.maximum_qos), limits.retain_available
            self._client.will_set(will.topic, will.payload, qos=qos, retain=retain, properties=properties)

    def open(self) -> None:
        """Connect and send CONNECT; blocks for the resolver, TCP and TLS. `ending` is set if it fails."""
        broker, properties = self._broker, None
        if broker.modern:
            # A will is delayed as long as its session lives. Nothing is queued in it: subscriptions have QoS 0.
            session = {"SessionExpiryInterval": self._delay} if self._delay else {}
            properties = _properties(PacketTypes.CONNECT, MaximumPacketSize=self._largest, **session)
        clean = False if self._delay else paho.MQTT_CLEAN_START_FIRST_ONLY
        try:
            self._client.connect(broker.host, broker.port, broker.keepalive, clean_start=clean, properties=properties)
        except WebsocketConnectionError:
            hint = "does this port serve WebSockets, and is mqtt.path right?"
            self.ending = Ending(Cause.NETWORK, f"it accepts no WebSocket at {broker.path} ({hint})")
        except OSError as error:
            self.ending = unreachable_ending(error)
        self._opened = self._monotonic()

    def serve(self, wakeup: int, wait: float) -> None:
        """Wait for the socket, the wake-up (an eventfd) or so many seconds, and process what is due."""
        ours = self._client.socket()
        if ours is None:
            self._lost("the connection was lost")
            return
        poll = select.poll()
        poll.register(wakeup, select.POLLIN)
        poll.register(ours, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        # Data that TLS has already decrypted does not make the socket readable.
        decrypted = isinstance(ours, ssl.SSLSocket | _WebsocketWrapper) and ours.pending() > 0
        keepalive = min(self._broker.keepalive, self.limits.keepalive or math.inf)
        check = keepalive / _CHECKS if self.established else _OPENING_CHECK
        ready = dict(poll.poll(0 if decrypted else 1e3 * min(wait, check)))
        if wakeup in ready:
            os.eventfd_read(wakeup)
        events = ready.get(ours.fileno(), 0)
        if decrypted or events & ~select.POLLOUT:
            self._client.loop_read()
        if events & select.POLLOUT:
            self._client.loop_write()
        self._client.loop_misc()
        self._check_timeouts()

    def send(self, requests: Iterable[Request] = ()) -> None:
        """Publish, as many at once as the broker allows; each request is settled once."""
        self._waiting.extend(requests)
        while self._waiting and len(self._pending) < min(self.limits.receive_maximum, WINDOW):
            self._publish(self._waiting.popleft())

    @property
    def settled(self) -> bool:
        """Nothing waits for an acknowledgement, or to be sent."""
        return not self._pending and not self._waiting

    @property
    def largest_pending(self) -> int:
        """Bytes of the largest packet that was sent and not acknowledged; 0 without any."""
        return max((self.limits.size(self.limits.fit(request)) for request, _ in self._pending.values()), default=0)

    def disconnect(self) -> None:
        """Send DISCONNECT, so that the broker discards our will."""
        self._client.disconnect()
        self._client.loop_write()

    def close(self, reason: str = "closed") -> None:
        """Close the socket and hand back what was not acknowledged, with the reason."""
        ours = self._client.socket()
        if ours is not None:
            ours.close()
        lost = [*(request for request, _ in self._pending.values()), *self._waiting]
        self._pending.clear()
        self._waiting.clear()
        for request in lost:
            self._events.settled(request, LOST + reason)

    def _publish(self, request: Request) -> None:
        fitted = self.limits.fit(request)
        if (size := self.limits.size(fitted)) > self.limits.largest:
            reason = f"{TOO_LARGE}its packet has {size} bytes, the broker accepts {self.limits.largest}"
            self._events.settled(request, reason)
            return
        topic, payload, qos, retain, expiry, _ = fitted
        properties = None if expiry is None else _properties(PacketTypes.PUBLISH, MessageExpiryInterval=expiry)
        try:
            sent = self._client.publish(topic, payload, qos, retain, properties)
        except ValueError as error:
            self._events.settled(request, f"it cannot be published: {error}")
            return
        if not qos and sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS and sent.is_published():
            self._events.settled(request, None)
        else:
            self._pending[sent.mid] = request, self._monotonic()

    def _lost(self, how: str, *, unexplained: bool = True) -> None:
        tls, hint = self._broker.tls, ""
        if tls is not None and tls.certificate is None and not self.established:
            hint = " (does it require a client certificate? see mqtt.cert_file)"
        elif self._will is not None and not self._broker.modern and not self.established:
            hint = " (does it accept a retained last will of QoS 1? MQTT 5 would say so: see mqtt.protocol)"
        error = f": {self._socket_error}" if self._socket_error else ""
        self._end(Ending(Cause.NETWORK, f"{how}{error}{hint}", unexplained))

    def _end(self, ending: Ending) -> None:
        """Note why it ends, unless an earlier event has."""
        self.ending = self.ending or ending

    def _check_timeouts(self) -> None:
        now = self._monotonic()
        if not self.established and now - self._opened > _CONNACK_TIMEOUT:
            self._end(Ending(Cause.NETWORK, "it does not answer (is it a broker, and does it run?)", unexplained=True))
        for _, sent in islice(self._pending.values(), 1):
            # A slow network acknowledges late, but it goes on acknowledging.
            if now - max(sent, self._acknowledged) > self._broker.keepalive:
                self._end(Ending(Cause.NETWORK, f"it has acknowledged nothing for {self._broker.keepalive} s"))

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._end(self._refused(code, properties))
            return
        self.established, self.limits = True, self.limits.announced(properties)
        for topic_filter in self._filters():
            self._subscribing[client.subscribe(topic_filter, self._subscriptions.qos)[1]] = topic_filter
        self._events.connected(self.limits)

    def _refused(self, code: ReasonCode, properties: Properties | None) -> Ending:
        text = reason_text(str(code), properties)
        if self._will is None:
            return refused_ending(code.value, text, modern=self._broker.modern)
        if code.value == _NO_RETAIN and self.limits.retain_available:
            self.limits = replace(self.limits, retain_available=False)
            return Ending(Cause.NETWORK, f"it refuses a retained last will: {text} (the next is not retained)")
        if code.value == _NO_QOS and self.limits.maximum_qos:
            self.limits = replace(self.limits, maximum_qos=0)
            return Ending(Cause.NETWORK, f"it refuses a last will of QoS 1: {text} (the next has QoS 0)")
        return refused_ending(code.value, text, modern=self._broker.modern, will=self._will.topic)

    def _filters(self) -> Sequence[str]:
        """Filters to subscribe to, as far as the broker supports them."""
        filters, plain, _ = self._subscriptions
        if self.limits.wildcards_available:
            return filters
        if plain:
            return plain
        for each in filters:
            if "+" in each or "#" in each:
                self._events.warn(f"subscribe {each}", f"{each} cannot be subscribed to: the broker has no wildcards")
        return [each for each in filters if "+" not in each and "#" not in each]

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            if code.value == _TOO_LARGE and self._pending:
                self.limits = self.limits.without(self.largest_pending)
            text = reason_text(str(code), properties)
            self._end(disconnected_ending(code.value, text, client_id=self._broker.client_id))
        elif code.value == _KEEPALIVE_TIMEOUT:
            self._lost("it was silent for too long", unexplained=False)
        else:
            self._lost("the connection was lost")

    def _on_publish(
        self, _client: paho.Client, _data: object, number: int, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._acknowledged = self._monotonic()
        request, _ = self._pending.pop(number, (None, 0.0))
        if request is not None:
            refusal = reason_text(str(code), properties) if code.is_failure else None
            self._events.settled(request, refusal)

    def _on_message(self, _client: paho.Client, _data: object, message: MQTTMessage) -> None:
        self._events.received(Message(message.topic, bytes(message.payload), message.retain))

    def _on_subscribe(
        self, _client: paho.Client, _data: object, number: int, codes: list[ReasonCode], properties: Properties | None
    ) -> None:
        refused = self._subscribing.pop(number, "")
        for code in codes:
            if code.is_failure:
                message = f"the broker refuses to subscribe to {refused}: {reason_text(str(code), properties)}"
                self._events.warn(f"subscribe {refused}", message)

    def _on_log(self, _client: paho.Client, _data: object, level: int, text: str) -> None:
        # Only here does paho report why a socket failed.
        if level == LogLevel.MQTT_LOG_ERR:
            self._socket_error = _DECORATION.sub("", text.partition("socket: ")[2]).lower()


class _Client(paho.Client):
    """paho's client, with the sockets of `Broker`: paho does not close the socket of an attempt that fails."""

    def __init__(self, broker: Broker, *, timeout: float = _SOCKET_TIMEOUT) -> None:
        protocol = paho.MQTTv5 if broker.modern else paho.MQTTv311
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=broker.client_id, protocol=protocol, reconnect_on_failure=False
        )
        if broker.username:
            self.username_pw_set(broker.username, broker.password)
        self._broker, self._timeout = broker, timeout

    def _create_socket(self) -> socket.socket | _WebsocketWrapper:
        broker, opened = self._broker, self._broker.open_socket(self._timeout)
        try:
            if broker.tls is not None:
                opened = broker.tls.context().wrap_socket(opened, server_hostname=broker.host)
            if broker.transport != "websockets":
                return opened
            host = f"[{broker.host}]" if ":" in broker.host else broker.host
            return _WebsocketWrapper(opened, host, broker.port, broker.tls is not None, broker.path, None)
        except (IndexError, UnicodeDecodeError) as error:
            # paho's parser of the answer raises them.
            opened.close()
            raise WebsocketConnectionError from error
        except BaseException:
            opened.close()
            raise


def speaks_older(broker: Broker, timeout: float = 3.0) -> bool:
    """Whether the broker answers MQTT 3.1.1, be it with a refusal; it is asked without a login."""
    answers: list[ReasonCode] = []
    client_id = f"headnod-{secrets.token_hex(4)}"
    deadline = time.monotonic() + timeout
    try:
        client = _Client(replace(broker, client_id=client_id, username="", protocol=paho.MQTTv311), timeout=timeout)
        client.on_connect = lambda _client, _data, _flags, code, _properties: answers.append(code)
        client.connect(broker.host, broker.port, broker.keepalive)
        while not answers and time.monotonic() < deadline and not client.loop(timeout):
            pass
        client.disconnect()
    except (OSError, ConfigError):
        return False
    return bool(answers)


def _properties(packet: int, **values: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
