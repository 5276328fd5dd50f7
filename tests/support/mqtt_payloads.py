"""What a listener in the kitchen tells of itself, and a listener that obeys commands, for tests of MQTT."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from headnod.errors import ConfigError
from headnod.mqtt.commands import Commands
from headnod.mqtt.payloads import HealthPayload, InfoPayload, SongPayload
from headnod.mqtt.topics import Topics

KITCHEN = Topics("headnod", "kitchen")
LABELS = ("jazz", "metal", "r&b")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Sent(NamedTuple):
    """A message as a broker delivers it."""

    topic: str
    payload: bytes
    retained: bool = False


def info(**changes: Any) -> InfoPayload:
    """What the listener is, but for some changes."""
    told = {
        "node": "kitchen",
        "boot": "b1",
        "version": "0.1.0",
        "runtime": "LiteRT 2.3.0",
        "python": "3.11.2",
        "board": "Raspberry Pi 5 Model B",
        "microphone": "",
        "model": "genre-0.1.0",
        "model_sha256": "0" * 64,
        "lights": True,
        "effect": "bars",
        "models": ("genre-0.1.0", "genre-0.2.0"),
        "latest_model": "genre-0.2.0",
        "labels": LABELS,
        "every_s": 3.0,
        "window_s": 3.0,
        "health_every_s": 60.0,
        "sample_rate": 22_050,
        "certainty": 0.45,
        "paused": False,
        "brightness": 0.5,
    }
    return InfoPayload(**(told | changes))


def health(**changes: Any) -> HealthPayload:
    """How the listener fares, but for some changes."""
    told = {
        "node": "kitchen",
        "ts": NOON,
        "state": "listening",
        "message": "",
        "uptime_s": 61.5,
        "estimates": 20,
        "dropped_s": 0.0,
        "queued": 2,
        "queued_on_disk": 1,
        "discarded": 0,
        "published": 18,
        "refused": 0,
        "reconnects": 1,
        "memory_mb": 81.5,
        "cpu_percent": 4.2,
        "temperature_c": 51.1,
    }
    return HealthPayload(**(told | changes))


def song(**changes: Any) -> SongPayload:
    """A song that has ended, but for some changes."""
    told = {
        "id": "kitchen-b1-3",
        "node": "kitchen",
        "start": NOON,
        "end": NOON.replace(minute=3),
        "duration_s": 180.0,
        "genre": "jazz",
        "stability": 0.93,
    }
    return SongPayload(**(told | changes))


class RecordingControls:
    """Controls that record what is applied."""

    def __init__(self, *, breaks: Exception | None = None):
        self.did: list[tuple[str, object]] = []
        self._breaks = breaks

    def threshold(self, certainty: float) -> None:
        self._do("threshold", certainty)

    def pause(self, paused: bool, seconds: float | None = None) -> None:  # noqa: FBT001 - as the controls have it
        self._do("pause", paused if seconds is None else (paused, seconds))

    def quiet_hours(self, spans: tuple[str, ...]) -> None:
        self._do("quiet_hours", spans)

    def output(self, name: str, on: bool) -> None:  # noqa: FBT001 - as the controls have it
        self._do("output", (name, on))

    def brightness(self, level: float) -> None:
        self._do("brightness", level)

    def activate(self, model: str) -> None:
        self._do("activate", model)

    def lights(self, **changes: object) -> None:
        self._do("lights", changes)

    def reset(self) -> None:
        self._do("reset", None)

    def _do(self, verb: str, value: object) -> None:
        if self._breaks is not None:
            raise self._breaks
        self.did.append((verb, value))


def refusing_controls() -> RecordingControls:
    """Controls that refuse with a reason."""
    return RecordingControls(breaks=ConfigError("there are no lights (set leds.kind)"))


class RefusingCommands:
    """Commands of a listener that refuse."""

    def call(self, name: str, _arguments: dict[str, Any]) -> object:
        raise ConfigError(f"{name}: refused")


def commands_for(controls: RecordingControls, more: Any = None, **others: Any) -> Commands:
    """The commands of the listener in the kitchen."""
    more = more or RefusingCommands()
    return Commands(KITCHEN, controls, more, info=info, health=lambda: health(temperature_c=None), **others)
