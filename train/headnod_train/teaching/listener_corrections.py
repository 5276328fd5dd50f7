"""The corrections of a listener by MQTT: `request/export_corrections`, part by part.

Answers come from another machine: each value is checked, and sizes are bounded.
"""

from __future__ import annotations

import random
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import numpy as np
from msgspec.structs import replace

from headnod.address import split_address
from headnod.config import MqttSection
from headnod.errors import ConfigError, HeadnodError
from headnod.escaping import printable
from headnod.mqtt.broker import Broker
from headnod.mqtt.client import MqttClient
from headnod.mqtt.commands import PACKET_LIMIT
from headnod.mqtt.connection import Message
from headnod.mqtt.payloads import ResponsePayload
from headnod.mqtt.topics import Topics
from headnod.teaching.correction_commands import LARGEST
from headnod.teaching.corrections import CAPACITY, CorrectionPart, CorrectionStore, EmbeddedWindows, LabelledEmbeddings

VERB = "export_corrections"

SIZES = (98_304, 32_768, 8_192, 2_048, 512)
"""Bytes of a part that are tried, the first first."""

_ENVELOPE = 2_048
"""Bytes of an answer beside its content."""
_ATTEMPT, _CONNECTING, _ATTEMPTS = 5.0, 15.0, 4
_BURST, _PACE = 8, 0.25
"""Requests that are sent at once, and seconds between later ones: a listener applies 5 per second."""
_TEXT, _LATEST = 200, 4e9


class ListenerCorrectionsError(HeadnodError, RuntimeError):
    """The corrections of a listener cannot be received."""


def split_url(url: str, section: MqttSection) -> MqttSection:
    """Broker, user and node of `mqtt://[USER@]HOST[:PORT]/[BASE/]NODE` in place of those of the configuration.

    Without a host the broker is that of the configuration; `mqtts` is TLS.
    """
    parts = urlsplit(url)
    base, _, node = parts.path.strip("/").rpartition("/")
    if parts.scheme not in {"mqtt", "mqtts"} or not node or parts.query or parts.fragment:
        raise ConfigError(f"'{printable(url)}' is not the address of a listener (write mqtt://broker.lan/kitchen)")
    user, _, address = parts.netloc.rpartition("@")
    if ":" in user:
        raise ConfigError("an address has no password, because others can see it (set HEADNOD_MQTT__PASSWORD_FILE)")
    try:
        host, port = split_address(address) if address else (section.host, section.port)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    named = replace(section, host=host, port=port, node=node, base=base or section.base)
    return replace(named, tls=section.tls or parts.scheme == "mqtts", username=unquote(user) or section.username)


def fetch(
    broker: Broker, topics: Topics, *, pause: Callable[[float], None] = time.sleep, attempt: float = _ATTEMPT
) -> tuple[LabelledEmbeddings, int]:
    """The corrections of a listener that were made with the network of the newest one.

    Returns:
        The corrections, and the number of those of other networks.

    Raises:
        ListenerCorrectionsError: There is no connection or no answer, or the answers are not valid.
        CorrectionError: A label cannot be one.
    """
    requests = _Requests(broker, topics, pause, attempt)
    with tempfile.TemporaryDirectory() as folder:
        store = CorrectionStore(Path(folder))
        try:
            requests.open()
            _receive(requests, store)
        finally:
            requests.close()
        received = store.all()
        labelled = store.labelled(received[-1].body) if received else None
        if labelled is None:
            raise ListenerCorrectionsError(f"{topics.node} has no corrections yet (correct a song on its page)")
        return labelled, sum(each.body != labelled.body for each in received)


def _receive(requests: _Requests, store: CorrectionStore) -> None:
    after = windows = total = 0
    while (part := requests.part(after, 0)) is not None:
        content = bytearray(part.content)
        windows, total = windows + part.windows, total + part.size
        if part.id <= after or not 0 < part.windows <= CAPACITY or windows > CAPACITY or total > LARGEST:
            raise ListenerCorrectionsError(f"more than {CAPACITY} windows or {LARGEST >> 20} MiB, or not in order")
        while len(content) < part.size:
            further = requests.part(after, len(content))
            if further is None or replace(further, content=b"") != replace(part, content=b""):
                raise ListenerCorrectionsError("a correction was deleted in the meantime: run the command again")
            if not 0 < len(further.content) <= part.size - len(content):
                raise ListenerCorrectionsError("a part of a correction has a wrong size")
            content += further.content
        chosen, context = _windows(part, bytes(content))
        store.add(
            chosen, part.label, start=part.start, end=part.end, made=part.made, source=part.source, context=context
        )
        after = part.id


def _windows(part: CorrectionPart, content: bytes) -> tuple[EmbeddedWindows, EmbeddedWindows]:
    """Windows of a correction and of its context."""
    count, context = part.windows, part.context_windows
    width, rest = divmod(len(content) - 8 * (count + context), 2 * (count + context)) if context >= 0 else (0, 1)
    dated = all(0.0 <= moment <= _LATEST for moment in (part.made, part.start, part.end))
    if not dated or len(content) != part.size or width < 1 or rest or max(len(part.model), len(part.body)) > _TEXT:
        raise ListenerCorrectionsError(
            f"correction {part.id} is not valid: {len(content)} bytes for {count} windows and {context} of context"
        )
    made, start = [], 0
    for rows in (count, context):
        times = np.frombuffer(content, "<i8", rows, start)
        values = np.frombuffer(content, "<f2", rows * width, start + 8 * rows).reshape(rows, width)
        start += (8 + 2 * width) * rows
        if not np.isfinite(values).all() or (rows and not 0 <= times.min() <= times.max() <= 1e3 * _LATEST):
            message = f"correction {part.id} is not valid: a time or a number of an embedding is out of range"
            raise ListenerCorrectionsError(message)
        made.append(EmbeddedWindows(part.model, part.body, (), times / 1e3, values, np.empty((rows, 0), np.float16)))
    return made[0], made[1]


class _Requests:
    """Requests to one listener, each with its answer."""

    def __init__(self, broker: Broker, topics: Topics, pause: Callable[[float], None], attempt: float) -> None:
        self._broker, self._topics, self._pause, self._attempt = broker, topics, pause, attempt
        self._sizes, self._sent, self._transaction = list(SIZES), 0, ""
        self._answer: ResponsePayload | None = None
        self._received = threading.Condition()
        self._client = MqttClient(
            broker,
            subscriptions=(topics.response(VERB),),
            qos=1,
            on_message=self._process,
            rng=random.Random(),  # noqa: S311 - it spreads attempts over time
            largest=2 * SIZES[0],
        )

    def open(self) -> None:
        self._client.start()
        if not self._client.wait_connected(_CONNECTING, attempts=1):
            raise ListenerCorrectionsError(f"no connection to {self._broker}: {self._client.reason}")

    def close(self) -> None:
        self._client.close()

    def part(self, after: int, offset: int) -> CorrectionPart | None:
        """A part of the next correction; smaller parts are requested if the broker does not pass large ones."""
        while self._sizes[1:] and self._sizes[0] * 4 // 3 + _ENVELOPE > self._client.limits.largest:
            del self._sizes[0]
        silent = 0
        while True:
            answer = self._request({"after": after, "offset": offset, "most": self._sizes[0]})
            if answer is not None and answer.status == "ok":
                return self._checked(answer.data or {}, offset)
            smaller = len(self._sizes) > 1
            if answer is not None:
                refusal = printable((answer.error or "")[:_TEXT])
                if not smaller or PACKET_LIMIT not in refusal:
                    raise ListenerCorrectionsError(f"{self._topics.node}: {refusal}")
            elif (silent := silent + 1) >= _ATTEMPTS and not smaller:
                raise ListenerCorrectionsError(
                    f"no answer from {self._topics.node} at {self._broker} (is it online, and of this version? "
                    f"May the user write to {self._topics.request(VERB)} and read {self._topics.response(VERB)}?)"
                )
            # Some brokers drop what is too large without a word.
            if smaller:
                del self._sizes[0]

    def _checked(self, data: dict[str, Any], offset: int) -> CorrectionPart | None:
        if not data:
            return None
        try:
            part = msgspec.convert(data, CorrectionPart)
        except msgspec.ValidationError as error:
            message = f"{self._topics.node}: its answer is not valid: {printable(str(error))}"
            raise ListenerCorrectionsError(message) from None
        if not 0 < len(part.content) <= min(self._sizes[0], part.size - offset):
            raise ListenerCorrectionsError("a part of a correction has a wrong size")
        return part

    def _request(self, arguments: dict[str, int]) -> ResponsePayload | None:
        """The answer to a request; None if it does not come."""
        self._sent += 1
        if self._sent > _BURST:
            self._pause(_PACE)
        with self._received:
            self._transaction, self._answer = secrets.token_hex(8), None
            payload = msgspec.json.encode({**arguments, "transaction": self._transaction})
        self._client.publish(self._topics.request(VERB), payload)
        with self._received:
            self._received.wait_for(lambda: self._answer is not None, self._attempt)
            return self._answer

    def _process(self, message: Message) -> None:
        try:
            answer = msgspec.json.decode(message.payload, type=ResponsePayload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        with self._received:
            # The topic has the answers to other programs, too.
            if not message.retained and answer.transaction == self._transaction:
                self._answer = answer
                self._received.notify_all()
