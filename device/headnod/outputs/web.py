"""The web page of a listener, served by a process of its own, and the arguments of its commands.

Listener and process are connected by a socket pair. Each datagram is one JSON object: what MQTT would publish goes to
the process as `{"topic": ..., "payload": ...}`, commands of the page come back as `{"id": ..., "command": ...}`.
Sending never waits: messages that the process does not read in time are dropped, the oldest first. A process that
ends is started again, and gets the latest state.
"""

from __future__ import annotations

import contextlib
import logging
import math
import random
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec
from msgspec import Meta

from headnod.errors import HeadnodError
from headnod.outputs import EventReports
from headnod.pipeline.estimate import Estimate, Seconds, Share, StatusEvent
from headnod.retry import Backoff, Cause, RateLimitedLogger

LARGEST = 1 << 16
"""Bytes of the largest message from the page."""

LARGEST_ANSWER = 160_000
"""Bytes of the largest message to the page: a socket of Linux holds 212,992 by default."""

_WAITING = 256
"""Messages that may wait for the process."""

_RETAINED = ("status", "info", "controls", "health", "state")
"""Topics whose latest message a new process gets first."""

_SONG = b'{"topic":"song"'
_HEALTH_EVERY = 60.0
_SETTLED = 60.0
"""Seconds after which an end of the process is not counted as a failed start."""

_CLOSING = 2.0

_log = logging.getLogger(__name__)


class Payloads(Protocol):
    """Makes the payloads that MQTT publishes as well."""

    def update(self, event: Estimate | StatusEvent) -> EventReports:
        """The payloads of an event."""

    def finish(self) -> bytes | None:
        """The payload of a song that ends with the listener."""


class Page(NamedTuple):
    """What the page is served with."""

    command: tuple[str, ...]
    """The program of the process."""

    settings: bytes
    """First datagram: settings and secrets, which are on no command line."""


class Command(msgspec.Struct, frozen=True):
    """A message from the page."""

    id: int = 0
    command: str = ""
    arguments: dict[str, Any] = {}
    watch: bool | None = None
    """Whether a browser shows the spectrum; None if the message is a command."""


Handler = Callable[[str, dict[str, Any]], object]
"""Applies a command and returns its answer; a `HeadnodError` refuses."""


class WebOutput:
    """Feeds the process that serves the page, keeps it running, and applies the page's commands."""

    def __init__(
        self,
        page: Page,
        payloads: Payloads,
        *,
        info: Callable[[], bytes],
        health: Callable[[], bytes],
        controls: Callable[[], bytes] | None = None,
        handle: Handler,
        rng: random.Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the process.

        `payloads` makes the payloads of events; `info` and `health` give those, and `controls` what can be set, as it
        is now; None where nothing can. `handle` applies commands, on a thread of its own. `rng` spreads attempts over
        time.
        """
        self._page, self._payloads, self._info, self._health = page, payloads, info, health
        self._controls = controls
        self._handle, self._monotonic = handle, monotonic
        self._backoff, self._warnings = Backoff(rng), RateLimitedLogger(_log, monotonic=monotonic)
        self._latest: dict[str, bytes] = {"status": b'"online"'}
        self._waiting: deque[bytes] = deque(maxlen=_WAITING)
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._health_due = -math.inf
        self.watched = False
        """Whether a browser shows the spectrum."""
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()

    @property
    def process(self) -> int | None:
        """Process id of the web server; None between two starts."""
        process = self._process
        return process.pid if process is not None else None

    def show(self, estimate: Estimate) -> None:
        """Send an estimate."""
        self._send_reports(self._payloads.update(estimate))

    def show_status(self, event: StatusEvent) -> None:
        """Send why there are no estimates."""
        self._send_reports(self._payloads.update(event))

    def changed(self) -> None:
        """Send info and controls again: another model, other labels, another setting."""
        self.send("info", self._info())
        if self._controls is not None:
            self.send("controls", self._controls())

    def send(self, topic: str, payload: bytes) -> None:
        """Send a payload of JSON; for any thread."""
        with self._lock:
            if topic in _RETAINED:
                self._latest[topic] = payload
            self._waiting.append(_message(topic, payload))
            self._flush()

    def close(self) -> None:
        """End the process; may be called twice."""
        if self._ending.is_set():
            return
        if (song := self._payloads.finish()) is not None:
            self.send("song", song)
        self.send("status", b'"offline"')
        self._ending.set()
        with self._lock:
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _send_reports(self, reports: EventReports) -> None:
        if reports.song is not None:
            self.send("song", reports.song)
        if reports.song_start is not None:
            self.send("song_start", reports.song_start)
        if reports.estimate is not None:
            with self._lock:
                self._latest["state"] = reports.estimate
            self.send("estimate", reports.estimate)
        now = self._monotonic()
        if reports.changed or now >= self._health_due:
            self._health_due = now + _HEALTH_EVERY
            self.send("health", self._health())

    def _flush(self) -> None:
        while self._waiting and self._socket is not None:
            try:
                self._socket.send(self._waiting[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                # The process has ended; the thread starts another.
                self._socket = None
                return
            self._waiting.popleft()

    def _run(self) -> None:
        while not self._ending.is_set():
            began = self._monotonic()
            try:
                status = self._serve()
                reason = f"ended with status {status}"
            except OSError as error:
                status, reason = 1, f"cannot be started: {error.strerror}"
            if self._ending.is_set():
                return
            if self._monotonic() - began > _SETTLED:
                self._backoff.reset()
            self._warnings.warn(reason, f"the web page {reason}; it is started again")
            # A signal ended it, or an error that it has logged.
            self._ending.wait(self._backoff.after(Cause.NETWORK if status < 0 else Cause.REFUSED))

    def _serve(self) -> int:
        """Run the process until it ends; returns its exit status."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with its:
                # A session of its own: Ctrl-C is for the listener, which then ends the process.
                process = subprocess.Popen(self._page.command, stdin=its.fileno(), start_new_session=True)  # noqa: S603 - our own
            with process:
                try:
                    self._begin(ours, process)
                    self._receive(ours)
                finally:
                    with self._lock:
                        self._socket = self._process = None
                    self.watched = False
                    ours.close()
                    self._end(process)
        return process.returncode

    def _begin(self, ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
        info, controls = self._info(), self._controls() if self._controls is not None else None
        with self._lock:
            self._latest["info"] = info
            if controls is not None:
                self._latest["controls"] = controls
            songs = [each for each in self._waiting if each.startswith(_SONG)]
            latest = [_message(topic, self._latest[topic]) for topic in _RETAINED if topic in self._latest]
            self._waiting = deque([self._page.settings, *latest, *songs], _WAITING)
            self._socket, self._process = ours, process
            self._flush()

    def _receive(self, ours: socket.socket) -> None:
        while not self._ending.is_set():
            try:
                message = ours.recv(LARGEST)
            except OSError:
                return
            if not message:
                return
            try:
                command = msgspec.json.decode(message, type=Command)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                self._warnings.warn("message", "a message from the web page is not valid and is ignored")
                continue
            if command.watch is not None:
                self.watched = command.watch
            else:
                self._answer(ours, command)

    def _answer(self, ours: socket.socket, command: Command) -> None:
        answer: dict[str, object] = {"id": command.id}
        try:
            answer["ok"] = self._handle(command.command, command.arguments)
            message = msgspec.json.encode(answer)
            if len(message) > LARGEST_ANSWER:
                message = _refusal(command, f"the answer has {len(message)} bytes, {LARGEST_ANSWER} fit")
        except HeadnodError as error:
            message = _refusal(command, str(error))
        except Exception as error:
            self._warnings.warn(f"command {command.command[:20]!a}", "a command of the page failed", error=error)
            message = _refusal(command, "it failed: see headnod's log")
        with contextlib.suppress(OSError):
            # On the thread of commands, which may wait; a process that ends interrupts it.
            ours.send(message, socket.MSG_NOSIGNAL)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            process.kill()


def _message(topic: str, payload: bytes) -> bytes:
    return b'{"topic":"%b","payload":%b}' % (topic.encode(), payload)


def _refusal(command: Command, reason: str) -> bytes:
    return msgspec.json.encode({"id": command.id, "error": reason})


Label = Annotated[str, Meta(max_length=256)]
"""A label of 64 characters may have more before it is composed."""


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of a command without any."""


class Correct(Arguments, frozen=True):
    """A time range, in seconds since 1970, and its label."""

    start: Seconds
    end: Seconds
    label: Label


class PlayerLabel(Arguments, frozen=True):
    """What a media player plays from now on; empty for nothing."""

    label: Label


class Numbers(Arguments, frozen=True):
    """Corrections to delete; none given means all."""

    ids: tuple[int, ...] | None = None


class CorrectionSpan(Arguments, frozen=True):
    """A part of a stored correction."""

    after: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    """The first correction with a greater number is meant."""
    offset: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    """First byte of the part."""
    most: Annotated[int, Meta(ge=1, le=98_304)] = 32_768
    """Bytes of the part at most."""


class LogSpan(Arguments, frozen=True):
    """Hours of the log before now."""

    hours: Annotated[float, Meta(gt=0.0, le=168.0)] = 24.0


class ChosenDevice(Arguments, frozen=True):
    """A microphone by one of its names; empty returns to the configured one."""

    device: Annotated[str, Meta(max_length=200)]


class Values(Arguments, frozen=True):
    """Values by `section.key`; null returns to the configuration."""

    values: Annotated[dict[str, Any], Meta(min_length=1, max_length=40)]


class OutputSwitch(Arguments, frozen=True):
    """An output, on or off."""

    name: Annotated[str, Meta(max_length=20)]
    on: bool


class ControlsChange(Arguments, frozen=True):
    """Any of the controls; what is absent stays."""

    paused: bool | None = None
    paused_until: Seconds | None = None
    """Seconds since 1970; pauses until then."""
    pause_seconds: Annotated[float, Meta(gt=0.0)] | None = None
    quiet_hours: Annotated[tuple[tuple[str, str], ...], Meta(max_length=8)] | None = None
    threshold: Share | None = None
    brightness: Share | None = None
    outputs: tuple[OutputSwitch, ...] = ()


class ModelName(Arguments, frozen=True):
    """A model, as the list of models names it."""

    model: Annotated[str, Meta(max_length=64)]
