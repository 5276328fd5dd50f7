"""The process of the web page: connects to the listener and to the broker, and starts the server.

`headnod dashboard` and the child process of `headnod listen --web` both call `run_page`: the first with a broker only,
the second with the link to its listener, and with a broker where one is configured. The link is one socket of
datagrams, each a JSON object: see `headnod.outputs.web`, the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from headnod.address import page_url
from headnod.dashboard import PageSettings
from headnod.dashboard.auth import Authenticator, Role, Sessions
from headnod.dashboard.fleet import EventStream, Fleet
from headnod.dashboard.remote_history import HISTORY_RESPONSE, LARGEST_ANSWER, RemoteHistories
from headnod.dashboard.routing import RequestError
from headnod.dashboard.server import listen_at, serve
from headnod.dashboard.webhooks import Webhooks, WebhookSender

_RESPONSE_TIMEOUT = 10.0
"""Seconds to wait for the listener's answer to a command."""

_LARGEST = 1 << 18
"""Bytes of the largest message."""

_MOST_COMMANDS = 64
"""Limit of commands that wait for an answer."""

_log = logging.getLogger(__name__)


def _conflict(reason: str) -> RequestError:
    return RequestError(reason, 409)


class _Message(msgspec.Struct, frozen=True):
    """A payload for a topic, if `id` is 0; otherwise the answer to the command with this number."""

    topic: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"null")
    id: int = 0
    ok: msgspec.Raw = msgspec.Raw(b"")
    error: str | None = None


def read_settings(connection: socket.socket) -> PageSettings:
    """Receive the settings of the page, the first message on the socket."""
    return msgspec.json.decode(connection.recv(_LARGEST), type=PageSettings)


class ListenerLink:
    """Passes messages of the listener to the fleet, and commands of browsers to the listener."""

    def __init__(
        self,
        connection: socket.socket,
        fleet: Fleet,
        settings: PageSettings,
        *,
        on_live: Callable[[str, bytes], None] = lambda _topic, _payload: None,
        on_message: Callable[[str, bytes], None] = lambda _topic, _payload: None,
    ) -> None:
        """Use a connected socket.

        `spectrum` and `controls` go to `on_live`, as JSON, every other payload to the fleet and then to `on_message`,
        for webhooks.
        """
        self._connection, self._fleet, self._on_live, self._on_message = connection, fleet, on_live, on_message
        self._topic = f"{settings.base}/{settings.node}/"
        self._numbers = itertools.count(1)
        self._commands: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._watchers = 0
        connection.setblocking(False)

    async def run(self) -> None:
        """Receive messages until the listener ends."""
        loop = asyncio.get_running_loop()
        # The kernel reports a reset if the listener was killed before it read all commands.
        with contextlib.suppress(ConnectionResetError):
            while message := await loop.sock_recv(self._connection, _LARGEST):
                self._process(message)

    async def call(self, command: str, **arguments: object) -> msgspec.Raw:
        """Send a command to the listener, and return its answer as JSON.

        Raises:
            RequestError: The listener refused it, or did not answer in time.
        """
        if len(self._commands) >= _MOST_COMMANDS:
            raise _conflict("too many commands wait for the listener")
        number = next(self._numbers)
        answer = self._commands[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"id": number, "command": command, "arguments": arguments})
            return await asyncio.wait_for(answer, _RESPONSE_TIMEOUT)
        except TimeoutError:
            raise _conflict(f"the listener did not answer within {_RESPONSE_TIMEOUT:.0f} s") from None
        finally:
            del self._commands[number]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Request the spectrum until the context ends."""
        if not self._watchers:
            self._send({"watch": True})
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                with contextlib.suppress(RequestError):
                    self._send({"watch": False})

    def _send(self, message: dict[str, object]) -> None:
        try:
            self._connection.send(msgspec.json.encode(message))
        except BlockingIOError:
            raise _conflict("the listener is busy") from None
        except OSError as error:
            raise _conflict(f"the listener has ended: {error.strerror}") from None

    def _process(self, message: bytes) -> None:
        try:
            received = msgspec.json.decode(message, type=_Message)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            _log.warning("a message from the listener is not valid and is ignored")
            return
        if received.id:
            self._answer(received)
        elif received.topic in {"spectrum", "controls"}:
            self._on_live(received.topic, bytes(received.payload))
        else:
            payload = bytes(received.payload)
            if received.topic == "status":
                # The fleet expects the status as MQTT publishes it: without quotes.
                payload = payload.strip(b'"')
            self._fleet.process(self._topic + received.topic, payload, retained=received.topic == "state")
            self._on_message(received.topic, payload)

    def _answer(self, received: _Message) -> None:
        waiting = self._commands.get(received.id)
        if waiting is None or waiting.done():
            return
        if received.error is not None or not bytes(received.ok):
            waiting.set_exception(_conflict(received.error or "the listener gave no answer"))
        else:
            waiting.set_result(received.ok)


@dataclass(frozen=True)
class PageParts:
    """Everything that the handlers of requests need."""

    settings: PageSettings
    """Settings of the page."""

    fleet: Fleet
    """All listeners."""

    stream: EventStream
    """Events for browsers."""

    authenticator: Authenticator
    """Checks requests."""

    link: ListenerLink | None
    """The listener that serves the page; None for `headnod dashboard`."""

    webhooks: Webhooks
    """Sends events of the listener that serves the page to the configured URLs."""

    remote: RemoteHistories
    """The histories of other listeners."""


def run_page(settings: PageSettings, connection: socket.socket | None = None) -> None:
    """Serve the page until SIGTERM or SIGINT, or until the listener at the other end of the connection ends.

    Raises:
        DashboardError: The address cannot be used, or the event stream failed.
    """
    fleet, rng = Fleet(settings.base), random.Random()  # noqa: S311 - jitter of back-offs
    with contextlib.ExitStack() as stack:
        listening = listen_at(settings.address, settings.port, settings.section)
        for each in listening:
            stack.enter_context(each)
        remote = RemoteHistories(fleet, settings.base)
        reason = stack.enter_context(_broker(settings, fleet, remote, rng))
        stream = EventStream(fleet, reason, now=time.time)
        hooks = Webhooks(WebhookSender(each, settings.webhook_key, rng=rng) for each in settings.webhooks)
        link = None
        if connection is not None:
            link = ListenerLink(connection, fleet, settings, on_live=stream.send_live, on_message=hooks.process)
        tls = bool(settings.certificate)
        authenticator = Authenticator(
            settings.password,
            reader=settings.reader_password,
            everyone=Role.READER if settings.open else None,
            sessions=Sessions(listening[0].getsockname()[1], secure=tls, monotonic=time.monotonic),
            monotonic=time.monotonic,
        )
        _log.info(
            "the %s is at %s", "page" if link else "dashboard", page_url(*listening[0].getsockname()[:2], tls=tls)
        )
        serve(PageParts(settings, fleet, stream, authenticator, link, hooks, remote), listening)


@contextlib.contextmanager
def _broker(settings: PageSettings, fleet: Fleet, remote: RemoteHistories, rng: random.Random) -> Iterator[Any]:
    """Connect to the configured broker while the context is open.

    Yields:
        A function that returns why there is no connection, or an empty text.
    """
    if settings.broker is None:
        yield lambda: ""
        return
    from headnod.mqtt.broker import Broker  # noqa: PLC0415 - MQTT is loaded where a broker is configured
    from headnod.mqtt.client import MqttClient  # noqa: PLC0415
    from headnod.mqtt.connection import Message  # noqa: PLC0415

    # The listener that serves the page sends these messages over its socket.
    own = f"{settings.base}/{settings.node}/" if settings.node else None

    def receive(message: Message) -> None:
        if message.topic.endswith(HISTORY_RESPONSE):
            if not message.retained:
                remote.receive(message.topic, message.payload)
        elif own is None or not message.topic.startswith(own):
            fleet.process(message.topic, message.payload, retained=message.retained)

    client = MqttClient(
        msgspec.convert(settings.broker, Broker, dec_hook=_path),
        subscriptions=(*fleet.subscriptions, remote.subscription),
        # At QoS 0 a broker may drop messages of a burst.
        qos=1,
        on_message=receive,
        rng=rng,
        largest=LARGEST_ANSWER,
    )
    remote.publish = client.publish
    client.start()
    try:
        yield lambda: client.reason
    finally:
        client.close()


def _path(kind: type, value: Any) -> object:  # noqa: ANN401 - any value of JSON
    return Path(value) if kind is Path else value
