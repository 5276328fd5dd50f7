"""What may be done from afar: the whole list, and nothing beside it.

`set/threshold`, `set/pause`, `set/brightness`, `request/health`,
`request/info`, `request/activate`, `request/reset`. Whoever may write to the broker may write
here, so a payload is short, strict and refused for any doubt; no path and no
command is ever taken from one. Alone because this is where strangers speak.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from headnod.errors import HeadnodError
from headnod.mqtt.json_validation import RefusedError, flag, read, share, shown, transaction_of
from headnod.mqtt.payloads import HealthPayload, InfoPayload, ResponsePayload, encode, present
from headnod.mqtt.topics import Topics, is_name
from headnod.retry import RateLimitedLogger

_log = logging.getLogger(__name__)

RATE, BURST = 5.0, 10
"""Commands a second that are heard, and how many at once after a pause."""

UNKNOWN_VERB = "unknown"
"""Where a command is answered whose name no topic should have."""

_LONGEST_ERROR = 240
_SET, _REQUEST = "set", "request"
_KNOWN = {_SET: ("threshold", "pause", "brightness"), _REQUEST: ("health", "info", "activate", "reset")}
_SWITCHED = {b"ON": True, b"OFF": False}


def command_topics(topics: Topics) -> tuple[str, ...]:
    """Every topic that is a command, without wildcards."""
    return (*map(topics.setting, _KNOWN[_SET]), *map(topics.request, _KNOWN[_REQUEST]))


def shortened(answer: bytes, size: int) -> bytes:
    """An answer without its data, which the broker does not take.

    Args:
        answer: What would be published on `response/`.
        size: Bytes of a packet that the broker takes.
    """
    said = msgspec.json.decode(answer, type=ResponsePayload)
    error = f"the answer has {len(answer)} bytes, and the broker takes packets of up to {size}"
    return encode(ResponsePayload(status="error", error=error, transaction=said.transaction))


class Received(Protocol):
    """A message as the link gives it."""

    @property
    def topic(self) -> str:
        """Where it was published."""

    @property
    def payload(self) -> bytes:
        """What it says."""

    @property
    def retained(self) -> bool:
        """It was said before we listened."""


class Controls(Protocol):
    """What a command may do.

    Each is called on the link's thread and returns at once: what takes time is
    noted and done elsewhere. A `HeadnodError` refuses, and its message is sent
    to whoever asked.
    """

    def info(self) -> InfoPayload:
        """What the listener is."""

    def health(self) -> HealthPayload:
        """How it fares."""

    def threshold(self, certainty: float) -> None:
        """Name a genre from this probability on (0-1); 0 takes the model's own."""

    def pause(self, paused: bool) -> None:  # noqa: FBT001 - the word of the topic, and its only value
        """Be quiet, or no longer."""

    def brightness(self, level: float) -> None:
        """Light the LEDs so brightly (0-1)."""

    def reset(self) -> None:
        """Go back to threshold and brightness of the configuration, and end a pause."""

    def activate(self, model: str) -> None:
        """Listen with this model, which is one of `info().models`."""


class Commands:
    """Reads commands, lets the controls obey, and words the answers.

    Whatever is sent, nothing is raised, nothing is logged more than once a
    cause and five minutes, and the next good command is obeyed.
    """

    def __init__(self, topics: Topics, controls: Controls, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Obey what is published under these topics.

        Args:
            topics: The topics of this listener.
            controls: What commands may do.
            monotonic: A clock in seconds that is never set.
        """
        self._topics, self._controls, self._monotonic = topics, controls, monotonic
        self._tokens, self._filled_at, self._hurried = float(BURST), monotonic(), False
        # Causes are our own words and few: a stranger cannot fill the memory with them.
        self._complaints = RateLimitedLogger(_log, monotonic=monotonic)

    def handle(self, message: Received) -> list[tuple[str, bytes]]:
        """Obey one message.

        A retained message is left alone: it was said some time ago, and to somebody
        else. Of those that come too fast the first is answered and none is obeyed.

        Returns:
            Topics and payloads to publish in answer; none if it was no command.
        """
        try:
            place = self._place(message.topic)
            if place is None or message.retained:
                return []
            answer = self._obey(*place, message.payload) if self._in_time() else self._hurry()
            if answer is None:
                return []
            verb = place[1] if is_name(place[1]) else UNKNOWN_VERB
            return [(self._topics.response(verb), encode(answer))]
        except Exception as error:
            self._complaints.warn("handling", "a command by MQTT could not be handled", error=error)
            return []

    def _place(self, topic: str) -> tuple[str, str] | None:
        """Kind and verb of a command, or None for anything else."""
        for kind, stem in ((_SET, self._topics.setting("")), (_REQUEST, self._topics.request(""))):
            if topic.startswith(stem):
                return kind, topic.removeprefix(stem)
        return None

    def _obey(self, kind: str, verb: str, payload: bytes) -> ResponsePayload:
        transaction = None
        try:
            if verb not in _KNOWN[kind]:
                message = f"there is no {kind}/{shown(verb)[1:-1]} (there is {', '.join(_KNOWN[kind])})"
                raise RefusedError(message)
            said = _SWITCHED[payload] if verb == "pause" and payload in _SWITCHED else read(payload or b"{}")
            transaction = transaction_of(said)
            data = self._set(verb, said) if kind == _SET else self._ask(verb, said)
        except HeadnodError as error:
            cause = f"{kind}/{verb}" if verb in _KNOWN[kind] else "an unknown command"
            self._complaints.warn(cause, f"{cause} by MQTT was refused: {error}")
            return ResponsePayload(status="error", error=str(error)[:_LONGEST_ERROR], transaction=transaction)
        except Exception as error:
            self._complaints.warn(f"{kind}/{verb} failed", f"{kind}/{verb} by MQTT failed", error=error)
            return ResponsePayload(status="error", error="it failed: see headnod's log", transaction=transaction)
        return ResponsePayload(status="ok", data=data, transaction=transaction)

    def _set(self, key: str, said: object) -> dict[str, Any]:
        value = _only(said, "value")["value"] if isinstance(said, dict) else said
        match key:
            case "threshold":
                self._controls.threshold(value := share(value))
            case "brightness":
                self._controls.brightness(value := share(value))
            case _:
                self._controls.pause(value := flag(value))
        return {key: value}

    def _ask(self, verb: str, said: object) -> dict[str, Any]:
        asked = _only(said, *(("model",) if verb == "activate" else ()))
        if verb == "health":
            return present(self._controls.health())
        if verb == "reset":
            self._controls.reset()
            return {}
        info = self._controls.info()
        if verb == "info":
            return present(info)
        if asked["model"] not in info.models:
            message = f"there is no model {shown(asked['model'])} (there is {', '.join(info.models)})"
            raise RefusedError(message)
        self._controls.activate(asked["model"])
        return {"model": asked["model"]}

    def _in_time(self) -> bool:
        now = self._monotonic()
        self._tokens = min(BURST, self._tokens + RATE * (now - self._filled_at))
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        self._hurried = False
        return True

    def _hurry(self) -> ResponsePayload | None:
        if self._hurried:
            return None
        self._hurried = True
        self._complaints.warn("hurry", f"commands by MQTT come too fast: more than {RATE:g} a second are left out")
        return ResponsePayload(status="error", error=f"too many commands: up to {RATE:g} a second are heard")


def _only(said: object, *needed: str) -> dict[str, Any]:
    """An object with these keys, and perhaps a transaction.

    Raises:
        RefusedError: It is no object, or has more or fewer.
    """
    if not isinstance(said, dict):
        message = f"is {shown(said)} (an object)"
        raise RefusedError(message)
    for key in sorted(said.keys() - {*needed, "transaction"}):
        message = f"there is no key {shown(key)}"
        raise RefusedError(message)
    for key in needed:
        if key not in said:
            message = f"'{key}' is missing"
            raise RefusedError(message)
    return said
