"""The remote commands: a fixed list, strictly validated.

`set/` threshold, pause, brightness, lights, quiet_hours and output; `request/` health, info, activate, reset, rollback,
restart, correct, label, export_corrections and history. Anyone with write access to the broker can send these, so a
payload is small, flat JSON that is refused when it is ambiguous; no path and no program is ever taken from one.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from headnod.errors import HeadnodError
from headnod.mqtt.payloads import HealthPayload, InfoPayload, ResponsePayload, encode, present
from headnod.mqtt.topics import Topics, is_name
from headnod.retry import RateLimitedLogger

if TYPE_CHECKING:
    # Not at run time: it loads paho.
    from headnod.listener_commands import ListenerCommands
    from headnod.mqtt.connection import Message
    from headnod.remote_controls import RemoteControls

_log = logging.getLogger(__name__)

RATE, BURST = 5.0, 10
"""Commands per second that are applied, and how many at once after a pause."""

MAXIMUM_BYTES = 2048
"""Size of a payload; the broker is asked to send no more, too."""

PACKET_LIMIT = "the broker accepts packets of up to"
"""Part of the error in place of an answer that is larger than the broker accepts."""

EFFECTS = ("bars", "mood")
"""What LEDs can show: `leds.mode`."""

ERROR_LENGTH = 240
"""Characters of the longest error in an answer."""

UNKNOWN_VERB = "unknown"
"""Name in the topic of the answer to a command whose own name is not allowed in a topic."""

_SHOWN_LENGTH = 40
_TRANSACTION_LENGTH = 64
_MAXIMUM_DIGITS = 20
_SET, _REQUEST = "set", "request"
_HISTORY = "history"
_MORE = ("rollback", "restart", "correct", "label", "export_corrections")
_COMMANDS = {
    _SET: ("threshold", "pause", "brightness", "lights", "quiet_hours", "output"),
    _REQUEST: ("health", "info", "activate", "reset", *_MORE, _HISTORY),
}
VERBS = (*_COMMANDS[_SET], *_COMMANDS[_REQUEST])
"""The name of every command."""

TEST_VERB = "test"
"""The request that `mqtt test` sends to itself; a listener ignores it."""

_SWITCH = {b"ON": True, b"OFF": False}

HistoryHandler = Callable[[dict[str, Any], str | None], None]
"""Takes the fields of `request/history` and its transaction, and answers later; a `HeadnodError` refuses."""


class InvalidCommandError(HeadnodError, ValueError):
    """A command is not valid."""


def command_topics(topics: Topics) -> tuple[str, ...]:
    """The topic of every command, without wildcards."""
    return (*map(topics.setting, _COMMANDS[_SET]), *map(topics.request, _COMMANDS[_REQUEST]))


def shortened(answer: bytes, size: int) -> bytes:
    """An error in place of an answer that is larger than the packets that the broker accepts."""
    transaction = msgspec.json.decode(answer, type=ResponsePayload).transaction
    error = f"the answer has {len(answer)} bytes, {PACKET_LIMIT} {size}"
    return encode(ResponsePayload(status="error", error=error, transaction=transaction))


class Commands:
    """Validates commands, applies them to the controls and makes the answers.

    Nothing is raised, whatever is received. A cause is logged once in five minutes. Controls return at once, and
    refuse by a `HeadnodError`, whose message is the answer. `more` has the commands that the page has too.
    """

    def __init__(
        self,
        topics: Topics,
        controls: RemoteControls,
        more: ListenerCommands,
        *,
        info: Callable[[], InfoPayload],
        health: Callable[[], HealthPayload],
        history: HistoryHandler | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._info, self._health, self._history = info, health, history
        self._topics, self._controls, self._more, self._monotonic = topics, controls, more, monotonic
        self._tokens, self._filled_at, self._limited = float(BURST), monotonic(), False
        # Causes are few and our own words: a sender cannot fill the memory with them.
        self._warnings = RateLimitedLogger(_log, monotonic=monotonic)

    def handle(self, message: Message) -> list[tuple[str, bytes]]:
        """Apply one message.

        A retained message is ignored: it was published earlier and not for this run. So is that of `mqtt test`. Of
        commands over the rate limit the first is answered and none is applied.

        Returns:
            Topics and payloads of the answer; empty if the message was no command.
        """
        try:
            command = self._parse_topic(message.topic)
            if command is None or command == (_REQUEST, TEST_VERB):
                return []
            if message.retained:
                self._warn_of_retained(*command)
                return []
            answer = self._apply(*command, message.payload) if self._within_rate() else self._rate_exceeded()
            if answer is None:
                return []
            verb = command[1] if is_name(command[1]) else UNKNOWN_VERB
            return [(self._topics.response(verb), encode(answer))]
        except Exception as error:
            self._warnings.warn("handling", "an MQTT command could not be handled", error=error)
            return []

    def _warn_of_retained(self, kind: str, verb: str) -> None:
        cause = f"{kind}/{verb}" if verb in _COMMANDS[kind] else "an unknown command"
        message = "is ignored: the broker retains it from before (publish commands without retain, and clear this one)"
        self._warnings.warn(f"{cause}, retained", f"{cause} by MQTT {message}")

    def _parse_topic(self, topic: str) -> tuple[str, str] | None:
        """Kind and verb of a command; None for any other topic."""
        for kind, stem in ((_SET, self._topics.setting("")), (_REQUEST, self._topics.request(""))):
            if topic.startswith(stem):
                return kind, topic.removeprefix(stem)
        return None

    def _apply(self, kind: str, verb: str, payload: bytes) -> ResponsePayload | None:
        transaction = None
        try:
            if verb not in _COMMANDS[kind]:
                raise InvalidCommandError(
                    f"there is no {kind}/{_shown(verb)[1:-1]} (there is {', '.join(_COMMANDS[kind])})"
                )
            value = _SWITCH[payload] if verb == "pause" and payload in _SWITCH else _parse(payload or b"{}")
            transaction = _transaction(value)
            if (kind, verb) == (_REQUEST, _HISTORY):
                if self._history is None:
                    raise InvalidCommandError("the history is not answered here")
                self._history(_arguments(value), transaction)
                return None
            data = self._set(verb, value) if kind == _SET else self._request(verb, value)
        except HeadnodError as error:
            cause = f"{kind}/{verb}" if verb in _COMMANDS[kind] else "an unknown command"
            self._warnings.warn(cause, f"{cause} by MQTT was refused: {error}")
            return ResponsePayload(status="error", error=str(error)[:ERROR_LENGTH], transaction=transaction)
        except Exception as error:
            self._warnings.warn(f"{kind}/{verb} failed", f"{kind}/{verb} by MQTT failed", error=error)
            return ResponsePayload(status="error", error="it failed: see headnod's log", transaction=transaction)
        return ResponsePayload(status="ok", data=data, transaction=transaction)

    def _set(self, key: str, value: object) -> dict[str, Any]:
        if key == "output":
            given = _fields(value, "name", "on")
            self._controls.output(_text(given["name"]), _boolean(given["on"]))
            return {"output": given["name"], "on": given["on"]}
        if key == "lights":
            return self._set_lights(value)
        seconds = None
        if isinstance(value, dict):
            given = _fields(value, "value", optional=("seconds",) if key == "pause" else ())
            value, seconds = given["value"], given.get("seconds")
        match key:
            case "threshold":
                self._controls.threshold(value := _probability(value))
            case "brightness":
                self._controls.brightness(value := _probability(value))
            case "quiet_hours":
                spans = tuple(span.strip() for span in _text(value).split(",") if span.strip())
                self._controls.quiet_hours(spans)
            case _ if seconds is None:
                self._controls.pause(value := _boolean(value))
            case _:
                self._controls.pause(_boolean(value), _positive(seconds))
                return {key: value, "seconds": seconds}
        return {key: value}

    def _set_lights(self, value: object) -> dict[str, Any]:
        allowed = ("on", "brightness", "effect")
        fields = _fields(value, optional=allowed)
        changes: dict[str, Any] = {key: fields[key] for key in allowed if key in fields}
        if "on" in changes:
            _boolean(changes["on"])
        if "brightness" in changes:
            changes["brightness"] = _probability(changes["brightness"])
        if changes.get("effect", EFFECTS[0]) not in EFFECTS:
            raise _wrong(changes["effect"], f"there is {', '.join(EFFECTS)}", "effect: ")
        if not changes:
            raise InvalidCommandError(f"is empty (an object with one or more of {', '.join(allowed)})")
        self._controls.lights(**changes)
        return changes

    def _request(self, verb: str, value: object) -> dict[str, Any]:
        if verb in _MORE:
            return dict(msgspec.to_builtins(self._more.call(verb, _arguments(value))))
        fields = _fields(value, *(("model",) if verb == "activate" else ()))
        if verb == "health":
            return present(self._health())
        if verb == "reset":
            self._controls.reset()
            return {}
        info = self._info()
        if verb == "info":
            return present(info)
        if fields["model"] not in info.models:
            raise InvalidCommandError(
                f"there is no model {_shown(fields['model'])} (there is {', '.join(info.models)})"
            )
        self._controls.activate(fields["model"])
        return {"model": fields["model"]}

    def _within_rate(self) -> bool:
        now = self._monotonic()
        self._tokens = min(BURST, self._tokens + RATE * (now - self._filled_at))
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        self._limited = False
        return True

    def _rate_exceeded(self) -> ResponsePayload | None:
        if self._limited:
            return None
        self._limited = True
        self._warnings.warn("rate", f"too many MQTT commands: more than {RATE:g} per second are ignored")
        return ResponsePayload(status="error", error=f"too many commands: at most {RATE:g} per second are applied")


def _parse(payload: bytes) -> Any:  # noqa: ANN401 - any scalar of JSON
    """One JSON scalar, or an object of scalars.

    Python's and msgspec's parsers take the last of two equal keys, make infinity of
    1e999, and accept numbers of any length and strings that cannot be encoded again.

    Raises:
        InvalidCommandError: It is longer than `MAXIMUM_BYTES`, not UTF-8, not JSON, nested, or has a duplicate key, a
            number that is not finite or has more than 20 digits, or half of a surrogate pair.
    """
    if len(payload) > MAXIMUM_BYTES:
        raise InvalidCommandError(f"is longer than {MAXIMUM_BYTES} bytes")
    try:
        value = json.loads(payload.decode(), object_pairs_hook=_unique_keys)
    except UnicodeDecodeError:
        raise InvalidCommandError("is not UTF-8") from None
    except json.JSONDecodeError:
        raise InvalidCommandError(
            f"{_shown(payload.decode())} is not JSON (a number, true, false, a text in quotation marks, or an object)"
        ) from None
    except RecursionError:
        raise InvalidCommandError("is nested") from None
    for part in value.values() if isinstance(value, dict) else [value]:
        _check_scalar(part)
    return value


def _probability(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _wrong(value, "a number from 0 to 1")
    return float(value)


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise _wrong(value, "a number over 0")
    return float(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, "ON, OFF, true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a text")
    return value


def _transaction(value: object) -> str | None:
    """The id that the answer repeats; None if the command has none."""
    transaction = value.get("transaction") if isinstance(value, dict) else None
    if transaction is None or (isinstance(transaction, str) and 0 < len(transaction) <= _TRANSACTION_LENGTH):
        return transaction
    raise _wrong(transaction, f"a text of up to {_TRANSACTION_LENGTH} characters", "transaction: ")


def _wrong(value: object, wanted: str, key: str = "") -> InvalidCommandError:
    return InvalidCommandError(f"{key}is {_shown(value)} ({wanted})")


def _shown(value: object) -> str:
    """A received value for a log or an answer: short, and in ASCII without control characters."""
    # As JSON has it: null, true, false.
    text = json.dumps(value) if value is None or isinstance(value, bool) else ascii(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."


def _fields(value: object, *needed: str, optional: Sequence[str] = ()) -> dict[str, Any]:
    """The arguments, which must have exactly these keys, and optionally others."""
    given = _arguments(value)
    for key in sorted(given.keys() - {*needed, *optional}):
        raise InvalidCommandError(f"there is no key {_shown(key)}")
    for key in needed:
        if key not in given:
            raise InvalidCommandError(f"'{key}' is missing")
    return given


def _arguments(value: object) -> dict[str, Any]:
    """An object without its transaction."""
    if not isinstance(value, dict):
        raise _wrong(value, "an object")
    return {key: each for key, each in value.items() if key != "transaction"}


def _check_scalar(value: object) -> None:
    match value:
        case dict() | list():
            raise InvalidCommandError("is nested")
        case float() if not math.isfinite(value):
            raise InvalidCommandError(f"has a number that is not finite: {value}")
        case int() if len(str(abs(value))) > _MAXIMUM_DIGITS:
            raise InvalidCommandError(f"has a number of {len(str(abs(value)))} digits")
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InvalidCommandError("has half of a surrogate pair") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for key, value in pairs:
        if key in unique:
            raise InvalidCommandError(f"has {_shown(key)} twice")
        unique[key] = value
    return unique
