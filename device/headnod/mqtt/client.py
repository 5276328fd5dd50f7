"""The MQTT client: one thread that keeps a connection to the broker and runs its owner's work between events.

A message that is published while there is no connection is handed back at once, so its
owner decides what to keep. Nothing that the thread calls can end it.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import Enum, auto
from typing import TypeVar

from headnod.errors import HeadnodError
from headnod.mqtt.broker import (
    ANSWERS_OLDER,
    LOST,
    TOO_LARGE,
    Acknowledged,
    Broker,
    Ending,
    Limits,
    Request,
    UnexplainedEndings,
)
from headnod.mqtt.connection import Connection, Events, Message, Subscriptions, Will, speaks_older
from headnod.retry import REPEAT_SECONDS, Backoff, Cause, RateLimitedLogger

_log = logging.getLogger(__name__)

T = TypeVar("T")

_STABLE = 10.0
"""Seconds that a connection must last; one that ends earlier counts as brief."""

CLOCK_CHECK, _CLOCK_STEP = 5.0, 1.0
"""Seconds between two checks of the clock while a certificate is not valid, and by how much a clock is set at least."""

_AFTER_FAILURE = 1.0
"""Seconds after which work that raised is called again."""

_FLUSH, _CALL = 0.5, 5.0
"""Seconds at the end for messages that wait, and for a callback that is still running."""

_LONG = 3600.0


def _ignore(*_values: object) -> None:
    """The callback of an owner that needs none."""


def _check_tls(broker: Broker) -> None:
    if broker.tls is not None:
        broker.tls.context()
        if broker.tls.insecure:
            _log.warning(
                "%s is not verified (mqtt.insecure): an attacker on the network can read what is published", broker
            )


class ConnectionState(Enum):
    """Whether there is a connection."""

    NOT_STARTED = auto()
    CONNECTING = auto()
    """The first attempt is under way."""

    CONNECTED = auto()
    DISCONNECTED = auto()
    """An attempt failed, or the connection ended: `MqttClient.reason` says why. It is tried again."""

    CLOSED = auto()


class MqttClient:
    """A connection to a broker that is established again whenever it ends.

    Callbacks are called on the client's thread; an exception in one is logged, once a
    cause and five minutes, and changes nothing.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        will: Will | None = None,
        subscriptions: Sequence[str] = (),
        plain: Sequence[str] = (),
        qos: int = 0,
        on_message: Callable[[Message], None] = _ignore,
        on_connected: Callable[[], None] = _ignore,
        work: Callable[[], float | None] = _ignore,
        on_end: Callable[[], None] = _ignore,
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        largest: int = 2048,
    ) -> None:
        """Prepare a client; nothing happens before `start`.

        Topics, wildcards and QoS of the subscriptions are those of `Subscriptions`. `on_connected` is called at every
        connection, when publishing works. `work` is called after every event, with or without a connection, and returns
        the seconds after which it must be called again, None if only an event can give it more to do. `rng` spreads
        attempts over time. When the clock `wall` is set, a certificate may become valid. The broker may send packets of
        up to `largest` bytes (MQTT 3.1.1 cannot limit them: there a larger message is received and ignored).

        Raises:
            ConfigError: A file that TLS needs cannot be used.
        """
        _check_tls(broker)
        self._broker, self._largest, self._monotonic, self._wall = broker, largest, monotonic, wall
        self._on_message, self._on_connected, self._work, self._on_end = on_message, on_connected, work, on_end
        self._new_connection = functools.partial(
            Connection,
            broker,
            Events(self._connected, self._received, self._settled, self._warn),
            will=will,
            subscriptions=Subscriptions(subscriptions, plain, qos),
            largest=largest,
            monotonic=monotonic,
        )
        self._backoff, self._unexplained = Backoff(rng, spread=broker.spread), UnexplainedEndings(broker.client_id)
        self._first_wait = rng.uniform(0.0, broker.spread) if broker.spread else 0.0
        self._warnings, self._warned = RateLimitedLogger(_log, monotonic=monotonic), True
        self.state = ConnectionState.NOT_STARTED
        """Whether there is a connection."""

        self.reason = "not started"
        """Why there is no connection, in one line; empty if there is one."""

        self.ending: Ending | None = None
        """Why the last connection, or the last attempt, ended."""

        self.limits = Limits()
        """The limits that the broker announced at the present connection, or at the last."""

        self._effects, self._pending, self._failures = list[str](), 0, 0
        self._older_checked, self._is_older = -math.inf, False
        # Guards what other threads use: the state, the requests and the wake-up.
        self._lock = threading.Lock()
        self._state_changed = threading.Condition(self._lock)
        self._requests: deque[Request] = deque()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing, self._last, self._last_timeout = False, tuple[tuple[str, bytes], ...](), 0.0
        self._flushing: Callable[[], object] = _ignore
        self._thread = threading.Thread(target=self._run, name=f"MQTT to {broker}", daemon=True)

    @property
    def connected(self) -> bool:
        """A message published now is sent to the broker."""
        return self.state is ConnectionState.CONNECTED

    def start(self) -> None:
        """Start to connect; returns at once and raises for no error of the network."""
        self.state, self.reason = ConnectionState.CONNECTING, f"{self._broker}: connecting"
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
        """Publish without waiting; false if there is no connection, and then the message is not kept.

        `acknowledged` is called once with the outcome: at once if there is no connection, else on the client's thread.
        The broker drops an undelivered message after `expiry` seconds (MQTT 5).
        """
        request = Request(topic, payload, qos, retain, expiry, acknowledged)
        with self._lock:
            accepted = self.state is ConnectionState.CONNECTED
            if accepted:
                self._requests.append(request)
        if not accepted:
            self._settled(request, LOST + (self.reason or "closing"))
        elif threading.get_ident() != self._thread.ident:
            self.wake()
        return accepted

    def wait_connected(self, timeout: float, *, attempts: int = 1 << 30) -> bool:
        """Wait for a connection, at most so many seconds and until so many attempts have failed."""
        with self._state_changed:
            self._state_changed.wait_for(lambda: self.connected or self._failures >= attempts, timeout)
            return self.connected

    def publish_and_wait(self, topic: str, payload: bytes, *, retain: bool = False, timeout: float) -> str | None:
        """Publish at QoS 1; returns None, or the reason why the broker does not have the message."""
        outcomes: list[str | None] = []
        settled = threading.Event()

        def settle(refusal: str | None) -> None:
            outcomes.append(refusal)
            settled.set()

        self.publish(topic, payload, retain=retain, acknowledged=settle)
        settled.wait(timeout)
        return outcomes[0] if outcomes else f"no answer within {timeout:g} s"

    def wake(self) -> None:
        """Call `work` soon; for any thread."""
        with self._lock:
            if self.state is not ConnectionState.CLOSED:
                os.eventfd_write(self._wakeup, 1)

    def close(
        self,
        *,
        last: Sequence[tuple[str, bytes]] = (),
        timeout: float = 1.0,
        flushing: Callable[[], object] = _ignore,
    ) -> None:
        """Disconnect and end; may be called twice.

        `last` has topics and payloads to publish, retained, before the end; the broker may take `timeout` seconds to
        acknowledge them. Before that, `work` goes on for a moment while `flushing` returns true.
        """
        if self._closing:
            return
        self._last, self._last_timeout, self._flushing = tuple(last), timeout, flushing
        self._closing = True
        self.wake()
        if self._thread.is_alive():
            # A thread that hangs in a disk ends with the process.
            self._thread.join(_FLUSH + timeout + _CALL)
        elif self._thread.ident is None:
            self._end()

    def _run(self) -> None:
        try:
            self._wait(self._first_wait)
            while not self._closing:
                began = self._monotonic()
                offset = self._wall() - began
                ending, established = self._live()
                if established:
                    brief = self._monotonic() - began < _STABLE
                    ending = self._with_causes(ending, brief=brief)
                elif ending.unexplained:
                    ending = self._with_version(ending)
                self.reason = f"{self._broker}: {ending.reason}"
                if not self._closing:
                    self._warned |= self._warnings.warn(ending.reason, f"MQTT: no connection to {self.reason}")
                    pause = self._backoff.after(ending.cause)
                    self._wait(pause, offset=offset if ending.cause is Cause.CLOCK else None)
        finally:
            self._end()

    def _live(self) -> tuple[Ending, bool]:
        """Make one connection and serve it; returns why it ended, and whether it was ever established."""
        connection: Connection | None = None
        try:
            connection = self._new_connection(limits=self.limits)
            ending = self._serve(connection)
        except HeadnodError as error:
            ending = Ending(Cause.REFUSED, str(error))
        except Exception as error:
            # A connection that is not served any more looks alive for ever.
            self._warnings.warn(repr(error), "the connection to the broker failed", error=error)
            ending = Ending(Cause.NETWORK, f"{type(error).__name__} in headnod")
        self.ending = ending
        self._disconnected(ConnectionState.DISCONNECTED, f"{self._broker}: {ending.reason}")
        if connection is None:
            return ending, False
        self.limits, self._pending = connection.limits, connection.largest_pending
        connection.close(ending.reason)
        return ending, connection.established

    def _serve(self, connection: Connection) -> Ending:
        def open_it() -> None:
            connection.open()
            if self._closing:
                connection.close()

        self._beside(open_it)
        while connection.ending is None and not self._closing:
            self._step(connection)
        if connection.ending is None and connection.established:
            self._say_goodbye(connection)
        return connection.ending or Ending(Cause.NETWORK, "closed")

    def _step(self, connection: Connection, most: float = _LONG) -> None:
        wait = self._call_work()
        connection.send(self._take() if self._requests else ())
        connection.serve(self._wakeup, min(wait, most))

    def _say_goodbye(self, connection: Connection) -> None:
        end = self._monotonic() + _FLUSH
        while connection.ending is None and (left := end - self._monotonic()) > 0 and self._flushing():
            self._step(connection, left)
        connection.send(self._take())
        connection.send(Request(topic, payload, retain=True) for topic, payload in self._last)
        end = self._monotonic() + self._last_timeout
        while not connection.settled and connection.ending is None and (left := end - self._monotonic()) > 0:
            connection.serve(self._wakeup, left)
            connection.send()
        connection.disconnect()

    def _take(self) -> deque[Request]:
        with self._lock:
            requests, self._requests = self._requests, deque()
            return requests

    def _beside(self, call: Callable[[], T]) -> T | None:
        """Call what may block in a thread of its own, while the work goes on; None if the client ends before."""
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(call())
            except Exception as error:  # raised again on the client's thread
                result.set_exception(error)
            self.wake()

        threading.Thread(target=run, name=f"connecting to {self._broker}", daemon=True).start()
        while not result.done() and not self._closing:
            self._pause(_LONG)
        return result.result() if result.done() else None

    def _pause(self, seconds: float) -> None:
        """Call the work, and wait for a wake-up or so many seconds."""
        wait = min(self._call_work(), seconds)
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if poll.poll(1e3 * wait):
            os.eventfd_read(self._wakeup)

    def _call_work(self) -> float:
        try:
            wait = self._work()
        except Exception as error:
            self._warnings.warn(repr(error), "a part of MQTT failed", error=error)
            return _AFTER_FAILURE
        return _LONG if wait is None else wait

    def _wait(self, seconds: float, *, offset: float | None = None) -> None:
        """Call the work for `seconds`; with an offset of the clock, only until the clock is set."""
        end = self._monotonic() + seconds
        while not self._closing and (left := end - self._monotonic()) > 0:
            self._pause(left if offset is None else min(left, CLOCK_CHECK))
            if offset is not None and abs(self._wall() - self._monotonic() - offset) > _CLOCK_STEP:
                self._backoff.reset()
                return

    def _with_causes(self, ending: Ending, *, brief: bool) -> Ending:
        """The ending of an established connection, with possible causes if there have been several without a reason."""
        if ending.unexplained and self._beside(self._is_reachable):
            ending = self._unexplained.count(ending, brief=brief, now=self._monotonic(), pending=self._pending)
        else:
            self._unexplained.reset()
        if not self._unexplained.brief:
            self._backoff.reset()
        if size := self._unexplained.too_large:
            # As with mosquitto's message_size_limit, which is neither announced nor given as a reason.
            self.limits = self.limits.without(size)
            _log.warning(
                "MQTT: %s closed two connections while a message of %d bytes was unacknowledged: "
                "from now on only smaller ones are published, and discovery as one message per entity",
                self._broker,
                size,
            )
        return ending

    def _is_reachable(self) -> bool:
        try:
            self._broker.open_socket(timeout=1.0).close()
        except OSError:
            return False
        return True

    def _with_version(self, ending: Ending) -> Ending:
        """The ending before an answer to MQTT 5; now and then another connection checks whether it knows 3.1.1 only."""
        if self._broker.modern and self._monotonic() >= self._older_checked + REPEAT_SECONDS:
            self._older_checked = self._monotonic()
            self._is_older = self._beside(lambda: speaks_older(self._broker)) or False
        return Ending(Cause.REFUSED, ANSWERS_OLDER) if self._is_older else ending

    def _disconnected(self, state: ConnectionState, reason: str) -> None:
        with self._state_changed:
            self.state, self.reason = state, reason
            self._failures += 1
            self._state_changed.notify_all()
        for request in self._take():
            self._settled(request, LOST + reason)

    def _end(self) -> None:
        self._guarded(self._on_end)
        self._disconnected(ConnectionState.CLOSED, "the client has ended")
        os.close(self._wakeup)

    def _connected(self, limits: Limits) -> None:
        self.limits = limits
        with self._state_changed:
            self.state, self.reason = ConnectionState.CONNECTED, ""
            self._state_changed.notify_all()
        if self._warned:
            self._warned = False
            _log.info("MQTT: connected to %s", self._broker)
        if limits.effects != self._effects:
            self._effects = limits.effects
            level = logging.WARNING if limits.losses else logging.INFO
            _log.log(level, "MQTT: %s: %s", self._broker, "; ".join(self._effects) or "it has no limits any more")
        self._guarded(self._on_connected)

    def _received(self, message: Message) -> None:
        if len(message.payload) > self._largest:
            size = f"{len(message.payload)} bytes on {message.topic[:80]}"
            self._warn("large", f"{size} are more than the {self._largest} that are read")
        else:
            self._guarded(self._on_message, message)

    def _settled(self, request: Request, refusal: str | None) -> None:
        if refusal is not None and not refusal.startswith(LOST):
            if refusal.startswith(TOO_LARGE):
                message = f"{request.topic} is not published: {refusal.removeprefix(TOO_LARGE)}"
            else:
                denied = "not authorized" in refusal
                hint = " (does the broker's access list let this user write there?)" if denied else ""
                message = f"the broker refuses {request.topic}: {refusal}{hint}"
            self._warn(f"publish {request.topic}", message)
        if request.acknowledged is not None:
            self._guarded(request.acknowledged, refusal)

    def _warn(self, cause: str, message: str) -> None:
        self._warnings.warn(cause, f"MQTT: {message}")

    def _guarded(self, call: Callable[..., object], *values: object) -> None:
        try:
            call(*values)
        except Exception as error:
            self._warnings.warn(repr(error), "a part of MQTT failed", error=error)
