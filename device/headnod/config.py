"""The configuration: one frozen object, and where each value of it came from.

Four layers, each over the one before: what the code says, the file, the
environment (`HEADNOD_SECTION__KEY`), the flags of the command line. A key that
nobody knows is an error that names the nearest right one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import msgspec

from headnod.errors import ConfigError
from headnod.layers import Layer, Value, decoded
from headnod.listener import ListenerSettings
from headnod.sections import (
    DashboardSection,
    HistorySection,
    LedsSection,
    LogSection,
    MicrophoneSection,
    ModelSection,
    MqttSection,
)

__all__ = [
    "SECTIONS",
    "Config",
    "DashboardSection",
    "HistorySection",
    "LedsSection",
    "Loaded",
    "LogSection",
    "MicrophoneSection",
    "ModelSection",
    "MqttSection",
    "load",
]

_DEFAULT = "default"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    listen: ListenerSettings = ListenerSettings()
    """When to speak and how sure to be."""

    model: ModelSection = ModelSection()
    """Which model listens."""

    microphone: MicrophoneSection = MicrophoneSection()
    """What hears the room."""

    leds: LedsSection = LedsSection()
    """Lights that show the scores."""

    history: HistorySection = HistorySection()
    """What is remembered."""

    dashboard: DashboardSection = DashboardSection()
    """The page that shows every listener of the broker."""

    mqtt: MqttSection = MqttSection()
    """Who else is told."""

    log: LogSection = LogSection()
    """What is told on stderr."""


SECTIONS: Mapping[str, tuple[str, ...]] = {
    section.name: section.type.__struct_fields__ for section in msgspec.structs.fields(Config)
}
"""Every key, by section."""

_TYPES = {
    section.name: {key.name: key.type for key in msgspec.structs.fields(section.type)}
    for section in msgspec.structs.fields(Config)
}


@dataclass(frozen=True)
class Loaded:
    """A configuration with its history."""

    config: Config
    """What is in force."""

    origins: Mapping[tuple[str, str], str]
    """Where each value came from, by section and key."""


def load(*layers: Layer) -> Loaded:
    """Put layers over the defaults, later ones over earlier ones.

    Raises:
        ConfigError: A key is unknown, or a value cannot be.
    """
    merged = {place: value for layer in layers for place, value in layer.items()}
    nested: dict[str, dict[str, Any]] = {}
    for (section, key), value in merged.items():
        _known(section, key, value.origin)
        if key:
            nested.setdefault(section, {})[key] = _decoded(section, key, value)
    try:
        # Lists and tuples alike come out of TOML as lists.
        config = msgspec.convert(nested, Config)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        section, _, key = path.rstrip("`").partition(".")
        key = re.split(r"[.\[]", key)[0]
        if section and not key:
            # A section that refuses one of its own values names the key first.
            key, _, reason = reason.partition(": ")
        origin = merged[section, key].origin if (section, key) in merged else "configuration"
        message = f"{origin}: {section}.{key}: {reason[:1].lower()}{reason[1:]}"
        raise ConfigError(message) from None
    origins = {
        (section, key): merged[section, key].origin if (section, key) in merged else _DEFAULT
        for section, keys in SECTIONS.items()
        for key in keys
    }
    return Loaded(config, origins)


def _decoded(section: str, key: str, value: Value) -> Any:  # noqa: ANN401 - any value of TOML
    if not value.text:
        return value.value
    # A variable has no type: `7` is text for mqtt.node and a number for leds.count.
    return decoded(value.value, wanted=str if _is_text(_TYPES[section][key]) else None)


def _is_text(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return kind is str or (get_origin(kind) is Literal and all(isinstance(choice, str) for choice in get_args(kind)))


def _known(section: str, key: str, origin: str) -> None:
    if section not in SECTIONS:
        message = f"{origin}: there is no section '{section}'{_nearest(section, SECTIONS)}"
        raise ConfigError(message)
    if key and key not in SECTIONS[section]:
        message = f"{origin}: {section}.{key}: there is no such key{_nearest(key, SECTIONS[section])}"
        raise ConfigError(message)


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else f" (there is {_listed(known)})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
