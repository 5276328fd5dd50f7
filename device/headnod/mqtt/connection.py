"""One connection to a broker, from its opening to its end.

The one file that knows paho. paho's own thread dies of an exception in a callback
and goes on saying that it is connected, it keeps what was published in its memory
for ever, and it decides by itself when to try again. So its socket is served from
here, a connection is never opened twice, and what it leaves unacknowledged is
given back.
"""

from __future__ import annotations

import select
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice

from paho.mqtt import client as paho
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from headnod.mqtt import reason_codes
from headnod.mqtt.broker import Broker
from headnod.mqtt.broker_limits import Limits
from headnod.mqtt.messages import LOST, TOO_LARGE, Ending, Listener, Message, Request
from headnod.mqtt.wakeup import Bell
from headnod.retry import Cause

_GREETING = 10.0
"""Seconds that a broker may take to answer CONNECT."""

_TICK = 1.5
"""Seconds between two looks at the clock once something is overdue; while all goes well there are none."""

_WINDOW = 20
"""Messages that wait for an acknowledgement at once, where the broker allows more: mosquitto's own bound."""

_TOO_LARGE, _NO_RETAIN, _NO_QOS = 0x95, 0x9A, 0x9B
"""Reason codes: a packet is too large; retained messages, or this QoS, are not supported."""

_WILDCARDS = frozenset("+#")

_HOUR = 3600.0

_HAIR = 0.05
"""Seconds after which what is due is surely due: paho's clock and ours are read one after the other."""


class Connection:
    """A connection. Everything is called, and calls back, on one thread."""

    def __init__(
        self,
        broker: Broker,
        listener: Listener,
        *,
        will: tuple[str, bytes] | None,
        subscriptions: Sequence[str],
        plain: Sequence[str],
        qos: int,
        largest: int,
        limits: Limits,
        monotonic: Callable[[], float],
    ) -> None:
        """Prepare a connection; the arguments are those of `MqttClient`; `limits` are the last ones known."""
        self._broker, self._listener, self._subscriptions, self._qos = broker, listener, subscriptions, qos
        self._plain, self._asked, self._will = plain, dict[int | None, str](), will
        self.limits = replace(limits, modern=broker.modern)
        self._waiting: deque[Request] = deque()
        self._largest, self._monotonic = largest, monotonic
        self._began = self._alive = self._said = self._heard = monotonic()
        self._pending: dict[int, tuple[Request, float]] = {}
        self._complaint = ""
        self.ending: Ending | None = None
        self.greeted = False
        self._client = self._make_client()
        if will is not None:
            self._client.will_set(*will, qos=min(1, limits.maximum_qos), retain=limits.retain_available)

    def open(self) -> None:
        """Connect and send CONNECT: some seconds at most, `ending` says if it failed."""
        properties = None
        if self._broker.modern:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = self._largest
        try:
            self._client.connect(self._broker.host, self._broker.port, self._broker.keepalive, properties=properties)
        except OSError as error:
            self.ending = reason_codes.unreachable(error)
        self._began = self._monotonic()

    def serve(self, bell: Bell, *, wait: float | None = None) -> None:
        """Wait for the socket, or for the bell, and do what is due; at most so many seconds."""
        socket = self._client.socket()
        if socket is None:
            self._lost("the connection was lost")
            return
        ready = select.poll()
        ready.register(bell, select.POLLIN)
        ready.register(socket, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        # What TLS has unpacked already, no poll will tell of.
        unpacked = isinstance(socket, ssl.SSLSocket) and socket.pending() > 0
        patience = self._patience() if wait is None else min(wait, self._patience())
        events = dict(ready.poll(0 if unpacked else 1e3 * patience))
        if bell.fileno() in events:
            bell.hush()
        seen = events.get(socket.fileno(), 0)
        if unpacked or seen & ~select.POLLOUT:
            self._heard = self._monotonic()
            self._client.loop_read()
        if seen & select.POLLOUT:
            self._client.loop_write()
        self._client.loop_misc()
        self._judge()

    def send(self, requests: Iterable[Request] = ()) -> None:
        """Publish, as many at once as the broker allows; each request is settled once."""
        self._waiting.extend(requests)
        while self._waiting and len(self._pending) < min(self.limits.receive_maximum, _WINDOW):
            self._publish(self._waiting.popleft())

    def _publish(self, request: Request) -> None:
        fitted = self.limits.fit(request)
        if (size := self.limits.size(fitted)) > self.limits.largest:
            message = f"{TOO_LARGE}its packet has {size} bytes, the broker takes {self.limits.largest}"
            self._listener.settled(request, message)
            return
        properties = None
        if fitted.expiry is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = fitted.expiry
        try:
            told = self._client.publish(
                fitted.topic, fitted.payload, qos=fitted.qos, retain=fitted.retain, properties=properties
            )
        except ValueError as error:
            self._listener.settled(request, f"it is none that can be published: {error}")
            return
        if not fitted.qos and told.rc == MQTTErrorCode.MQTT_ERR_SUCCESS and told.is_published():
            self._listener.settled(request, None)
        else:
            self._pending[told.mid] = request, self._monotonic()

    @property
    def settled(self) -> bool:
        """Nothing waits for an acknowledgement, or to be sent."""
        return not self._pending and not self._waiting

    @property
    def largest_pending(self) -> int:
        """Bytes of the largest packet that was sent and not acknowledged; 0 without any."""
        return max((self.limits.size(self.limits.fit(request)) for request, _ in self._pending.values()), default=0)

    def leave(self) -> None:
        """Say goodbye, so that the broker forgets our will."""
        self._client.disconnect()
        self._client.loop_write()

    def close(self, reason: str) -> None:
        """Let go of the socket, and give back what was not acknowledged, with the reason."""
        socket = self._client.socket()
        if socket is not None:
            socket.close()
        lost = [*(request for request, _ in self._pending.values()), *self._waiting]
        self._pending.clear()
        self._waiting.clear()
        for request in lost:
            self._listener.settled(request, LOST + reason)

    def _make_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            protocol=paho.MQTTv5 if self._broker.modern else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            context = self._broker.tls.context()
            context.sslsocket_class = _TidySocket
            client.tls_set_context(context)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message = self._on_publish, self._on_message
        client.on_subscribe, client.on_log = self._on_subscribe, self._on_log
        return client

    def _end(self, cause: Cause, reason: str, *, unexplained: bool = False) -> None:
        self.ending = self.ending or Ending(cause, reason, unexplained)

    def _lost(self, how: str, *, unexplained: bool = True) -> None:
        tls, hint = self._broker.tls, ""
        if tls is not None and tls.certificate is None and not self.greeted:
            hint = " (does it want a certificate of ours? see mqtt.cert_file)"
        elif self._will is not None and not self._broker.modern and not self.greeted:
            hint = " (does it take a last will that is retained and has QoS 1? MQTT 5 would say so: see mqtt.protocol)"
        why = f": {self._complaint}" if self._complaint else ""
        self._end(Cause.NETWORK, f"{how}{why}{hint}", unexplained=unexplained)

    def _patience(self) -> float:
        """Seconds for which nothing need be done unless something happens."""
        if not self.greeted:
            return _TICK
        spoken = self._broker.keepalive if self.limits.keepalive is None else self.limits.keepalive
        due = [min(self._said, self._heard) + spoken] if spoken else []
        due += [max(sent, self._alive) + self._broker.keepalive for _, sent in islice(self._pending.values(), 1)]
        left = min(due, default=self._monotonic() + _HOUR) + _HAIR - self._monotonic()
        return left if left > 0 else _TICK

    def _judge(self) -> None:
        now = self._monotonic()
        if not self.greeted and now - self._began > _GREETING:
            self._end(Cause.NETWORK, "it does not answer (is it a broker, and is it well?)", unexplained=True)
        for _, sent in islice(self._pending.values(), 1):
            # A slow network acknowledges late, but it goes on acknowledging.
            if now - max(sent, self._alive) > self._broker.keepalive:
                self._end(Cause.NETWORK, f"it has acknowledged nothing for {self._broker.keepalive} s")

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: ConnectFlags, code: ReasonCode, told: Properties | None
    ) -> None:
        if code.is_failure:
            self.ending = self.ending or self._refused(code, told)
            return
        self.greeted, self.limits = True, self.limits.announced(told)
        # QoS 1 is for who trusts the senders: mosquitto 2.0.11 keeps what is too large for us in flight, and after
        # twenty of those it sends nothing more.
        for filter_ in self._wanted():
            self._asked[client.subscribe(filter_, self._qos)[1]] = filter_
        self._listener.up(self.limits)

    def _refused(self, code: ReasonCode, told: Properties | None) -> Ending:
        words = reason_codes.worded(str(code), told)
        if self._will is not None and code.value == _NO_RETAIN and self.limits.retain_available:
            self.limits = replace(self.limits, retain_available=False)
            return Ending(Cause.NETWORK, f"it refuses a retained last will: {words} (the next is not retained)")
        if self._will is not None and code.value == _NO_QOS and self.limits.maximum_qos:
            self.limits = replace(self.limits, maximum_qos=0)
            return Ending(Cause.NETWORK, f"it refuses a last will of QoS 1: {words} (the next has QoS 0)")
        will = self._will[0] if self._will is not None else ""
        return reason_codes.refused(code.value, words, modern=self._broker.modern, will=will)

    def _wanted(self) -> Sequence[str]:
        """Filters to subscribe to, as far as the broker has such."""
        if self.limits.wildcards_available:
            return self._subscriptions
        if self._plain:
            return self._plain
        refused = [filter_ for filter_ in self._subscriptions if _WILDCARDS & set(filter_)]
        for filter_ in refused:
            self._listener.doubtful(f"subscribe {filter_}", f"{filter_} cannot be subscribed to: it has no wildcards")
        return [filter_ for filter_ in self._subscriptions if filter_ not in refused]

    def _on_disconnect(
        self, _client: paho.Client, _data: object, flags: DisconnectFlags, code: ReasonCode, told: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            if code.value == _TOO_LARGE and self._pending:
                self.limits = self.limits.without(self.largest_pending)
            words = reason_codes.worded(str(code), told)
            self.ending = self.ending or reason_codes.sent_away(code.value, words, client_id=self._broker.client_id)
        else:
            self._lost(reason_codes.silence(code.value), unexplained=not reason_codes.was_silent(code.value))

    def _on_publish(
        self, _client: paho.Client, _data: object, number: int, code: ReasonCode, told: Properties | None
    ) -> None:
        self._alive = self._monotonic()
        request, _ = self._pending.pop(number, (None, 0.0))
        if request is None:
            return
        self._listener.settled(request, reason_codes.worded(str(code), told) if code.is_failure else None)

    def _on_message(self, _client: paho.Client, _data: object, message: MQTTMessage) -> None:
        self._listener.heard(Message(message.topic, bytes(message.payload), message.retain))

    def _on_subscribe(
        self, _client: paho.Client, _data: object, number: int, codes: list[ReasonCode], told: Properties | None
    ) -> None:
        filter_ = self._asked.pop(number, "")
        for code in codes:
            if code.is_failure:
                words = reason_codes.worded(str(code), told)
                self._listener.doubtful(
                    f"subscribe {filter_}", f"the broker refuses to subscribe to {filter_}: {words}"
                )

    def _on_log(self, _client: paho.Client, _data: object, level: int, text: str) -> None:
        # The only place where paho says why a connection was lost, and when it speaks of itself: a ping, an answer.
        if level == LogLevel.MQTT_LOG_ERR:
            self._complaint = reason_codes.complaint(text)
        elif text.startswith("Sending"):
            self._said = self._monotonic()


class _TidySocket(ssl.SSLSocket):
    """Closes itself when no TLS comes about: paho would leave that to chance."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as Python's own
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise
