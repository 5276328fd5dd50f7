"""The link to the broker: a thread that keeps a connection, and a reason while there is none.

What is published while nothing is connected is not kept here: whoever publishes is
told, and decides. Alone because it is where threads meet: publishing never waits,
and no callback can end it.
"""

from __future__ import annotations

import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable, Sequence

from headnod.errors import HeadnodError
from headnod.mqtt.broker import Broker, Tls, is_there
from headnod.mqtt.messages import LOST, Acknowledged, Ending, Message, Request
from headnod.mqtt.patience import BackOff, Cause, Complaints
from headnod.mqtt.session import Session

__all__ = ["LOST", "Acknowledged", "Broker", "Link", "Message", "Tls"]

_log = logging.getLogger(__name__)

_STEADY = 10.0
"""A connection that lived so many seconds was a good one."""

_TAKEOVERS = 3
"""After so many connections in a row that were not, somebody else must have our client id."""

_GOODBYE = 0.25
"""Seconds that DISCONNECT and the end of the thread may take."""


class Link:
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
        qos: int = 0,
        on_message: Callable[[Message], None] | None = None,
        on_connected: Callable[[], None] | None = None,
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
        largest: int = 2048,
    ) -> None:
        """Prepare a link; nothing happens before `start`.

        Args:
            broker: Where to, and who we are.
            will: Topic and payload that the broker retains if we vanish.
            subscriptions: Filters of what we want to hear.
            qos: How surely we want to hear it: 1 for who must miss nothing.
            on_message: Is given what was heard.
            on_connected: Is called at every connection, when publishing works.
            rng: Spreads attempts over time.
            monotonic: A clock in seconds that is never set.
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
        self._qos = qos
        self._on_message, self._on_connected = on_message, on_connected
        self._monotonic, self._largest = monotonic, largest
        self._back_off = BackOff(rng)
        self._complaints = Complaints(_log, monotonic=monotonic)
        self._complained, self._brief = True, 0
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._connected, self._reason = False, "not started"
        self._closing, self._closed, self._deadline = False, False, 0.0
        self._last: Sequence[tuple[str, bytes]] = ()
        self._thread = threading.Thread(target=self._run, name=f"link to {broker}", daemon=True)

    @property
    def connected(self) -> bool:
        """What is published now goes to the broker."""
        return self._connected

    @property
    def reason(self) -> str:
        """Why it is not connected, in one line; empty if it is."""
        return self._reason

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
    ) -> None:
        """Publish, without ever waiting. While nothing is connected, nothing is kept.

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
        with self._lock:
            taken = self._connected and not self._closing
            if taken:
                self._requests.append(request)
                self._ring()
        if not taken:
            self.settled(request, LOST + (self._reason or "closing"))

    def close(self, *, last: Sequence[tuple[str, bytes]] = (), patience: float = 1.0) -> None:
        """Say goodbye and end; may be called twice.

        Args:
            last: Topics and payloads to publish, retained, before the end.
            patience: Seconds that the broker may take to acknowledge.
        """
        with self._lock:
            if self._closing:
                return
            self._last, self._deadline = last, self._monotonic() + patience
            self._closing = True
            self._ring()
        if self._thread.is_alive():
            # One that hangs in the resolver ends with the process.
            self._thread.join(patience + _GOODBYE)
        elif self._thread.ident is None:
            self._end()

    def _run(self) -> None:
        try:
            while not self._closing:
                began = self._monotonic()
                ending, greeted = self._live()
                ending = self._considered(ending, brief=greeted and self._monotonic() - began < _STEADY)
                if greeted and not self._brief:
                    self._back_off.forget()
                if not self._closing:
                    pause = self._back_off.after(ending.cause)
                    complaint = f"MQTT: no connection to {self._broker}: {ending.reason}"
                    self._complained |= self._complaints.warn(ending.reason, complaint)
                    self._rest(pause)
        finally:
            self._end()

    def _considered(self, ending: Ending, *, brief: bool) -> Ending:
        """Why a connection ended, if one looks at those before it too."""
        # mosquitto 2.0.11 does not say that another client took our place; it just goes on to live.
        thrown_out = brief and ending.cause is Cause.NETWORK and not self._closing and is_there(self._broker)
        self._brief = self._brief + 1 if thrown_out else 0
        if self._brief < _TAKEOVERS:
            return ending
        twin = f"does another client call itself {self._broker.client_id} too?"
        ending = Ending(Cause.TAKEN_OVER, f"it ends every connection as soon as it is made ({twin})")
        self._down(f"{self._broker}: {ending.reason}")
        return ending

    def _live(self) -> tuple[Ending, bool]:
        """One connection; why it ended, and whether it ever was one."""
        session: Session | None = None
        try:
            session = Session(
                self._broker,
                self,
                will=self._will,
                subscriptions=self._subscriptions,
                qos=self._qos,
                largest=self._largest,
                monotonic=self._monotonic,
            )
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
        session.close(ending.reason)
        return ending, session.greeted

    def _lived(self, session: Session) -> Ending:
        session.open()
        while session.ending is None and not self._closing:
            session.serve(self._bell)
            session.send(self._taken())
        if session.ending is None and session.greeted:
            self._farewell(session)
        return session.ending or Ending(Cause.NETWORK, "closed")

    def _farewell(self, session: Session) -> None:
        session.send([*self._taken(), *(Request(topic, payload, retain=True) for topic, payload in self._last)])
        while not session.settled and session.ending is None:
            left = self._deadline - self._monotonic()
            if left <= 0:
                break
            session.serve(self._bell, wait=left)
        session.leave()

    def _rest(self, pause: float) -> None:
        end = self._monotonic() + pause
        bell = select.poll()
        bell.register(self._bell, select.POLLIN)
        while not self._closing and (left := end - self._monotonic()) > 0:
            if bell.poll(1e3 * left):
                os.eventfd_read(self._bell)

    def _taken(self) -> list[Request]:
        with self._lock:
            requests, self._requests = self._requests, []
        return requests

    def _ring(self) -> None:
        if not self._closed:
            os.eventfd_write(self._bell, 1)

    def _down(self, reason: str) -> None:
        with self._lock:
            self._connected, self._reason = False, reason
        for request in self._taken():
            self.settled(request, LOST + reason)

    def _end(self) -> None:
        self._down("the link has ended")
        with self._lock:
            self._closed = True
            os.close(self._bell)

    def up(self) -> None:
        """The broker has let us in."""
        with self._lock:
            self._connected, self._reason = True, ""
        if self._complained:
            self._complained = False
            _log.info("MQTT: connected to %s", self._broker)
        if self._on_connected is not None:
            self._guarded(self._on_connected)

    def heard(self, message: Message) -> None:
        """Something was published that we subscribed to."""
        if len(message.payload) > self._largest:
            self.doubtful("large", f"{len(message.payload)} bytes on {message.topic[:80]} are too many to be read")
        elif (hear := self._on_message) is not None:
            self._guarded(lambda: hear(message))

    def settled(self, request: Request, refusal: str | None) -> None:
        """The broker has a message, or will not have it, or was lost before it said so."""
        if (tell := request.acknowledged) is not None:
            self._guarded(lambda: tell(refusal))

    def doubtful(self, cause: str, message: str) -> None:
        """Something that a person should know."""
        self._complaints.warn(cause, f"MQTT: {message}")

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._complaints.warn(repr(error), "a part of MQTT failed", error=error)
