"""The connection of the page to the listener that serves it.

One socket of datagrams, each a JSON object: see `headnod.outputs.web`, the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable, Iterator

import msgspec

from headnod.dashboard import PageSettings
from headnod.dashboard.fleet import Fleet
from headnod.errors import HeadnodError

PATIENCE = 10.0
"""Seconds that the listener may take to answer a command."""

_LARGEST = 1 << 18
_COMMANDS = 64
"""Limit of commands without an answer."""

_log = logging.getLogger(__name__)


class CommandError(HeadnodError):
    """The listener refused a command, or did not answer."""


class _Message(msgspec.Struct, frozen=True):
    topic: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"null")
    id: int = 0
    ok: msgspec.Raw = msgspec.Raw(b"")
    error: str | None = None


def read_settings(connection: socket.socket) -> PageSettings:
    """The settings of the page, which are the first message."""
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

        Args:
            connection: The socket.
            fleet: Receives what MQTT would publish.
            settings: Names of the listener and of its topics.
            on_live: Receives `spectrum` and `controls`, as JSON.
            on_message: Receives every other payload after the fleet, for webhooks and metrics.
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
        # A listener that is killed with commands unread resets the connection.
        with contextlib.suppress(ConnectionResetError):
            while message := await loop.sock_recv(self._connection, _LARGEST):
                self._process(message)

    async def call(self, command: str, **arguments: object) -> msgspec.Raw:
        """Let the listener apply a command; its answer as JSON.

        Raises:
            CommandError: The listener refused it, or did not answer in time.
        """
        if len(self._commands) >= _COMMANDS:
            raise CommandError("too many commands wait for the listener")
        number = next(self._numbers)
        answer = self._commands[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"id": number, "command": command, "arguments": arguments})
            return await asyncio.wait_for(answer, PATIENCE)
        except TimeoutError:
            raise CommandError(f"the listener did not answer within {PATIENCE:.0f} s") from None
        finally:
            del self._commands[number]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Request the spectrum until the context ends."""
        self._watchers += 1
        if self._watchers == 1:
            self._send({"watch": True})
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                with contextlib.suppress(CommandError):
                    self._send({"watch": False})

    def _send(self, message: dict[str, object]) -> None:
        try:
            self._connection.send(msgspec.json.encode(message))
        except BlockingIOError:
            raise CommandError("the listener is busy") from None
        except OSError as error:
            message_ = f"the listener has ended: {error.strerror}"
            raise CommandError(message_) from None

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
                # MQTT publishes it as plain text.
                payload = payload.strip(b'"')
            self._fleet.process(self._topic + received.topic, payload, retained=received.topic == "state")
            self._on_message(received.topic, payload)

    def _answer(self, received: _Message) -> None:
        waiting = self._commands.get(received.id)
        if waiting is None or waiting.done():
            return
        if received.error is not None or not bytes(received.ok):
            waiting.set_exception(CommandError(received.error or "the listener gave no answer"))
        else:
            waiting.set_result(received.ok)
