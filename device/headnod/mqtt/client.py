"""The link to the broker: a thread that keeps a connection, and a reason while there is none.

What is published while nothing is connected is not kept here: whoever publishes is
told, and decides. Alone because it outlives every connection: publishing never
waits, and no callback can end it.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence

from headnod.errors import HeadnodError
from headnod.mqtt import reason_codes
from headnod.mqtt.broker import Broker, Tls, speaks_older
from headnod.mqtt.broker_limits import Limits
from headnod.mqtt.callbacks import Callbacks
from headnod.mqtt.client_id_conflict import Twin
from headnod.mqtt.connection import Connection
from headnod.mqtt.messages import LOST, Acknowledged, Ending, Message, Request
from headnod.mqtt.outgoing import Outgoing
from headnod.retry import REPEAT_SECONDS, Backoff, Cause, RateLimitedLogger

__all__ = ["LOST", "Acknowledged", "Broker", "Message", "MqttClient", "Tls"]

_log = logging.getLogger(__name__)

_STEADY = 10.0
"""A connection that lived so many seconds was a good one."""

_CLOCK_LOOK, _CLOCK_STEP = 5.0, 1.0
"""Seconds between two looks at the clock while a certificate is not valid, and by how much a clock is set at least."""

_GOODBYE = 0.25
"""Seconds that DISCONNECT and the end of the thread may take."""


class MqttClient:
    """A connection to a broker that comes back by itself.

    Callbacks are called on the link's thread; one that raises is logged, once a
    cause and five minutes, and changes nothing.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        will: tuple[str, bytes] | None = None,
        subscriptions: Sequence[str] = (),
        plain: Sequence[str] = (),
        qos: int = 0,
        on_message: Callable[[Message], None] | None = None,
        on_connected: Callable[[], None] | None = None,
        between: Callable[[], float | None] | None = None,
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        largest: int = 2048,
    ) -> None:
        """Prepare a link; nothing happens before `start`.

        Args:
            broker: Where to, and who we are.
            will: Topic and payload that the broker retains if we vanish.
            subscriptions: Filters of what we want to hear.
            plain: The same without wildcards, for a broker that has none.
            qos: How surely we want to hear it: 1 for who must miss nothing.
            on_message: Is given what was heard.
            on_connected: Is called at every connection, when publishing works.
            between: Is called whenever something has happened to a connection, after
                `nudge`, and when it has ended; gives the seconds after which it
                wants to be called again, None if nothing else is to happen. It
                has a thread that waits for the broker anyway, and wakes none.
            rng: Spreads attempts over time.
            monotonic: A clock in seconds that is never set.
            wall: The wall clock in seconds; when it is set, a certificate may be valid that was not.
            largest: Bytes of the largest packet that the broker may send us
                (MQTT 3.1.1 cannot bound it: there a larger one is read and ignored).

        Raises:
            ConfigError: A file that TLS needs cannot be used.
        """
        if broker.tls is not None:
            broker.tls.context()
            if broker.tls.insecure:
                _log.warning("%s is believed whoever it is (mqtt.insecure): anybody in between can read along", broker)
        self._broker, self._will, self._subscriptions = broker, will, tuple(subscriptions)
        self._plain, self._qos = tuple(plain), qos
        self._on_connected, self._between = on_connected, between
        self._monotonic, self._wall, self._largest = monotonic, wall, largest
        self._back_off, self._twin = Backoff(rng), Twin(broker)
        self._complaints, self._complained = RateLimitedLogger(_log, monotonic=monotonic), True
        self._callbacks = Callbacks(self._up, on_message, largest=largest, complaints=self._complaints)
        self._outgoing, self._reason = Outgoing(), "not started"
        self._closing, self._deadline = False, 0.0
        self._session: Connection | None = None
        self._asked_older, self._is_older = -math.inf, False
        self._limits, self._effects = Limits(), list[str]()
        self._last: Sequence[tuple[str, bytes]] = ()
        self._thread = threading.Thread(target=self._run, name=f"link to {broker}", daemon=True)

    @property
    def connected(self) -> bool:
        """What is published now goes to the broker."""
        return self._outgoing.open

    @property
    def reason(self) -> str:
        """Why it is not connected, in one line; empty if it is."""
        return self._reason

    @property
    def limits(self) -> Limits:
        """What the broker announced at the present connection, or at the last."""
        session = self._session
        return session.limits if session is not None else self._limits

    def start(self) -> None:
        """Begin to connect; returns at once and raises for nothing that a network does."""
        self._reason = f"{self._broker}: connecting"
        self._thread.start()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry: int | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> bool:
        """Publish, without ever waiting; false while nothing is connected, and then it is not kept.

        Args:
            topic: Where.
            payload: What.
            qos: 1 for what the broker shall acknowledge, else 0.
            retain: The broker shall keep it for those who come later.
            expiry: Seconds after which the broker drops it undelivered (MQTT 5).
            acknowledged: Is told once what became of it: at once if nothing is
                connected, and else on the link's thread.
        """
        request = Request(topic, payload, qos, retain, expiry, acknowledged)
        taken = self._outgoing.add(request)
        if not taken:
            self._callbacks.settled(request, LOST + (self._reason or "closing"))
        return taken

    def nudge(self) -> bool:
        """Let `between` be called soon; false if there is no connection. What is published does so too."""
        return self._outgoing.nudge()

    def close(self, *, last: Sequence[tuple[str, bytes]] = (), patience: float = 1.0) -> None:
        """Say goodbye and end; may be called twice.

        Args:
            last: Topics and payloads to publish, retained, before the end.
            patience: Seconds that the broker may take to acknowledge.
        """
        if self._closing:
            return
        self._last, self._deadline = last, self._monotonic() + patience
        self._closing = True
        self._outgoing.end()
        if self._thread.is_alive():
            # One that hangs in the resolver ends with the process.
            self._thread.join(patience + _GOODBYE)
        elif self._thread.ident is None:
            self._end()

    def _run(self) -> None:
        try:
            while not self._closing:
                began = self._monotonic()
                offset = self._wall() - began
                ending, greeted = self._live()
                brief = greeted and not self._closing and self._monotonic() - began < _STEADY
                if greeted:
                    ending = self._twin.judge(ending, brief=brief, now=self._monotonic(), pending=self._pending)
                elif ending.unexplained:
                    ending = self._older(ending)
                if size := self._twin.too_large:
                    # As with mosquitto's message_size_limit, which is neither announced nor given as a reason.
                    self._limits = self._limits.without(size)
                    _log.warning(
                        "MQTT: %s closed two connections while a message of %d bytes was on its way: "
                        "from now on it gets smaller ones only, and discovery as one message per entity",
                        self._broker,
                        size,
                    )
                self._reason = f"{self._broker}: {ending.reason}"
                if greeted and not self._twin.possible:
                    self._back_off.reset()
                if not self._closing:
                    pause = self._back_off.after(ending.cause)
                    complaint = f"MQTT: no connection to {self._broker}: {ending.reason}"
                    self._complained |= self._complaints.warn(ending.reason, complaint)
                    self._rest(pause, offset if ending.cause is Cause.CLOCK else None)
        finally:
            self._end()

    def _live(self) -> tuple[Ending, bool]:
        """One connection; why it ended, and whether it ever was one."""
        session: Connection | None = None
        self._pending = 0
        try:
            session = Connection(
                self._broker,
                self._callbacks,
                will=self._will,
                subscriptions=self._subscriptions,
                plain=self._plain,
                qos=self._qos,
                largest=self._largest,
                limits=self._limits,
                monotonic=self._monotonic,
            )
            self._session = session
            ending = self._lived(session)
        except HeadnodError as error:
            ending = Ending(Cause.REFUSED, str(error))
        except Exception as error:
            # A connection that nobody serves looks alive for ever: better none.
            self._complaints.warn(repr(error), "the link to the broker failed", error=error)
            ending = Ending(Cause.NETWORK, f"{type(error).__name__} in headnod")
        self._down(f"{self._broker}: {ending.reason}")
        if session is None:
            return ending, False
        self._pending, self._limits, self._session = session.largest_pending, session.limits, None
        session.close(ending.reason)
        return ending, session.greeted

    def _older(self, ending: Ending) -> Ending:
        """Why a broker that said nothing to MQTT 5 ended a connection: seldom asked, for it takes another."""
        if self._broker.modern and self._monotonic() >= self._asked_older + REPEAT_SECONDS:
            self._asked_older, self._is_older = self._monotonic(), speaks_older(self._broker)
        return Ending(Cause.REFUSED, reason_codes.OLDER) if self._is_older else ending

    def _lived(self, session: Connection) -> Ending:
        session.open()
        wait = None
        while session.ending is None and not self._closing:
            session.serve(self._outgoing.bell, wait=wait)
            wait = self._callbacks.guarded(self._between) if self.connected and self._between is not None else None
            session.send(self._outgoing.take())
        if session.ending is None and session.greeted:
            self._farewell(session)
        return session.ending or Ending(Cause.NETWORK, "closed")

    def _farewell(self, session: Connection) -> None:
        session.send([*self._outgoing.take(), *(Request(topic, payload, retain=True) for topic, payload in self._last)])
        while not session.settled and session.ending is None:
            left = self._deadline - self._monotonic()
            if left <= 0:
                break
            session.serve(self._outgoing.bell, wait=left)
            session.send()
        session.leave()

    def _rest(self, pause: float, offset: float | None) -> None:
        """Wait; with the offset of the wall clock to the monotonic one, until it is another at the latest."""
        end = self._monotonic() + pause
        while not self._closing and (left := end - self._monotonic()) > 0:
            self._outgoing.bell.rest(left if offset is None else min(left, _CLOCK_LOOK))
            if offset is not None and abs(self._wall() - self._monotonic() - offset) > _CLOCK_STEP:
                self._back_off.reset()
                return

    def _down(self, reason: str) -> None:
        was, self._reason = self.connected, reason
        self._outgoing.end()
        for request in self._outgoing.take():
            self._callbacks.settled(request, LOST + reason)
        if was and self._between is not None:
            self._callbacks.guarded(self._between)

    def _end(self) -> None:
        self._down("the link has ended")
        self._outgoing.close()

    def _up(self, limits: Limits) -> None:
        self._reason = ""
        if not self._closing:
            self._outgoing.begin()
        if self._complained:
            self._complained = False
            _log.info("MQTT: connected to %s", self._broker)
        if limits.effects != self._effects:
            self._effects = limits.effects
            level = logging.WARNING if limits.losses else logging.INFO
            _log.log(level, "MQTT: %s: %s", self._broker, "; ".join(self._effects) or "it has no limits any more")
        if self._on_connected is not None:
            self._callbacks.guarded(self._on_connected)
