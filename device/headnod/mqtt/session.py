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
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from paho.mqtt import client as paho
from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from headnod.mqtt import reasons
from headnod.mqtt.bell import Bell
from headnod.mqtt.broker import Broker
from headnod.mqtt.messages import LOST, Ending, Listener, Message, Request
from headnod.mqtt.patience import Cause

_GREETING = 10.0
"""Seconds that a broker may take to answer CONNECT."""

_TICK = 1.5
"""Seconds between two looks at the clock once something is overdue; while all goes well there are none."""

_HAIR = 0.05
"""Seconds after which what is due is surely due: paho's clock and ours are read one after the other."""


class Session:
    """A connection. Everything is called, and calls back, on one thread."""

    def __init__(
        self,
        broker: Broker,
        listener: Listener,
        *,
        will: tuple[str, bytes] | None,
        subscriptions: Sequence[str],
        qos: int,
        largest: int,
        monotonic: Callable[[], float],
    ) -> None:
        """Prepare a connection; the arguments are those of `Link`."""
        self._broker, self._listener, self._subscriptions, self._qos = broker, listener, subscriptions, qos
        self._largest, self._monotonic = largest, monotonic
        self._began = self._alive = self._said = self._heard = monotonic()
        self._pending: dict[int, tuple[Request, float]] = {}
        self._complaint = ""
        self.ending: Ending | None = None
        self.greeted = False
        self._client = self._make_client()
        if will is not None:
            self._client.will_set(*will, qos=1, retain=True)

    def open(self) -> None:
        """Connect and send CONNECT: some seconds at most, `ending` says if it failed."""
        properties = None
        if self._broker.modern:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = self._largest
        try:
            self._client.connect(self._broker.host, self._broker.port, self._broker.keepalive, properties=properties)
        except OSError as error:
            self.ending = reasons.unreachable(error)
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

    def send(self, requests: Iterable[Request]) -> None:
        """Publish; each request is settled once."""
        for request in requests:
            properties = None
            if request.expiry is not None and self._broker.modern:
                properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
                properties.MessageExpiryInterval = request.expiry
            try:
                told = self._client.publish(
                    request.topic, request.payload, qos=request.qos, retain=request.retain, properties=properties
                )
            except ValueError as error:
                self._listener.settled(request, f"it is none that can be published: {error}")
                continue
            if request.qos:
                self._pending[told.mid] = request, self._monotonic()
            else:
                self._listener.settled(request, None)

    @property
    def settled(self) -> bool:
        """Nothing waits for an acknowledgement."""
        return not self._pending

    def leave(self) -> None:
        """Say goodbye, so that the broker forgets our will."""
        self._client.disconnect()
        self._client.loop_write()

    def close(self, reason: str) -> None:
        """Let go of the socket, and give back what was not acknowledged, with the reason."""
        socket = self._client.socket()
        if socket is not None:
            socket.close()
        lost, self._pending = self._pending, {}
        for request, _ in lost.values():
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

    def _end(self, cause: Cause, reason: str) -> None:
        self.ending = self.ending or Ending(cause, reason)

    def _lost(self, how: str) -> None:
        tls, hint = self._broker.tls, ""
        if tls is not None and tls.certificate is None and not self.greeted:
            hint = " (does it want a certificate of ours? see mqtt.cert_file)"
        why = f": {self._complaint}" if self._complaint else ""
        self._end(Cause.NETWORK, f"{how}{why}{hint}")

    def _patience(self) -> float:
        """Seconds for which nothing need be done unless something happens."""
        if not self.greeted:
            return _TICK
        oldest = min(
            self._said, self._heard, *(max(sent, self._alive) for _, sent in islice(self._pending.values(), 1))
        )
        return max(oldest + self._broker.keepalive + _HAIR - self._monotonic(), _TICK)

    def _judge(self) -> None:
        now = self._monotonic()
        if not self.greeted and now - self._began > _GREETING:
            self._end(Cause.NETWORK, "it does not answer (is it a broker, and is it well?)")
        for _, sent in islice(self._pending.values(), 1):
            # A slow network acknowledges late, but it goes on acknowledging.
            if now - max(sent, self._alive) > self._broker.keepalive:
                self._end(Cause.NETWORK, f"it has acknowledged nothing for {self._broker.keepalive} s")

    def _on_connect(
        self, client: paho.Client, _data: object, _flags: ConnectFlags, code: ReasonCode, _told: Properties | None
    ) -> None:
        if code.is_failure:
            self.ending = self.ending or reasons.refused(code.value, str(code))
            return
        self.greeted = True
        if self._subscriptions:
            # QoS 1 is for who trusts the senders: mosquitto 2.0.11 keeps what is too large for us in flight, and after
            # twenty of those it sends nothing more.
            client.subscribe([(filter_, self._qos) for filter_ in self._subscriptions])
        self._listener.up()

    def _on_disconnect(
        self, _client: paho.Client, _data: object, flags: DisconnectFlags, code: ReasonCode, _told: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            told = reasons.sent_away(code.value, str(code), client_id=self._broker.client_id)
            self.ending = self.ending or told
        else:
            self._lost(reasons.silence(code.value))

    def _on_publish(
        self, _client: paho.Client, _data: object, number: int, code: ReasonCode, _told: Properties | None
    ) -> None:
        self._alive = self._monotonic()
        request, _ = self._pending.pop(number, (None, 0.0))
        if request is not None:
            self._listener.settled(request, str(code).lower() if code.is_failure else None)

    def _on_message(self, _client: paho.Client, _data: object, message: MQTTMessage) -> None:
        self._listener.heard(Message(message.topic, bytes(message.payload), message.retain))

    def _on_subscribe(
        self, _client: paho.Client, _data: object, _number: int, codes: list[ReasonCode], _told: Properties | None
    ) -> None:
        for filter_, code in zip(self._subscriptions, codes, strict=False):
            if code.is_failure:
                self._listener.doubtful(f"subscribe {filter_}", f"{filter_} cannot be heard: {str(code).lower()}")

    def _on_log(self, _client: paho.Client, _data: object, level: int, text: str) -> None:
        # The only place where paho says why a connection was lost, and when it speaks of itself: a ping, an answer.
        if level == LogLevel.MQTT_LOG_ERR:
            self._complaint = reasons.complaint(text)
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
