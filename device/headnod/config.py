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
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headnod.errors import ConfigError
from headnod.layers import Layer
from headnod.listener import ListenerSettings

_DEFAULT = "default"


class ModelSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which model listens."""

    name: str = "genre"
    """A shipped model, with its version or without, or a bundle's folder."""

    installed: bool = True
    """A model that was installed and activated goes before that."""

    keys: Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=2)] = ()
    """Public keys of who may send models: the present one and the next; empty takes none."""

    channel: Literal["stable", "canary"] = "stable"
    """Whose models are taken: everybody's, or those that are tried first."""

    updates: Literal["activate", "offer"] = "activate"
    """Let a model that was sent listen at once, or keep it until somebody asks for it."""

    probation: Annotated[int, Meta(ge=3, le=10_000)] = 10
    """Windows that a new model is watched for, before it is kept."""


class MicrophoneSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What hears the room."""

    device: str = ""
    """A name as `headnod devices` gives it; empty takes a USB microphone if there is one."""

    command: tuple[str, ...] = ()
    """A program that writes raw 16-bit samples, in place of a device."""

    rate: Annotated[int, Meta(ge=16_000, le=192_000)] = 22_050
    """Samples per second of that program's output."""

    channels: Annotated[int, Meta(ge=1, le=32)] = 1
    """Channels of that program's output."""


class LedsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lights that show the scores."""

    kind: Literal["none", "pins", "ws2812", "apa102", "wled"] = "none"
    """Single LEDs on GPIO pins, a strip on SPI, or a WLED lamp in the network."""

    brightness: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    """Of full brightness (0-1)."""

    pins: dict[str, Annotated[int, Meta(ge=0, le=27)]] = {}
    """GPIO number of each genre's LED; or of each place of a bar, "1" the best."""

    count: Annotated[int, Meta(ge=1, le=1000)] = 60
    """LEDs of the strip or lamp."""

    mode: Literal["bars", "mood"] = "bars"
    """A stretch for every genre, or the whole strip in the colour of the one that plays."""

    spi: str = "0.0"
    """SPI bus and device of the strip."""

    host: str = ""
    """Name or address of the WLED lamp."""


class HistorySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is remembered."""

    path: str = ""
    """The database; empty keeps it in the state directory of the service, or none elsewhere."""

    days: Annotated[int, Meta(ge=1, le=3650)] = 90
    """Estimates and songs older than this are forgotten."""

    megabytes: Annotated[int, Meta(ge=1, le=4096)] = 64
    """The database grows no larger than this."""


class DashboardSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The page that shows every listener of the broker."""

    host: str = "127.0.0.1"
    """Address to serve it at; any but this machine's own needs a password."""

    port: Annotated[int, Meta(ge=1, le=65_535)] = 8137
    """Port to serve it at."""

    password_file: str = ""
    """A file whose first line is the page's password; empty asks for none."""


class MqttSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who else is told."""

    host: str = ""
    """Name or address of the broker; empty tells nobody."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Its port; 0 is 1883, and 8883 with TLS."""

    node: str = ""
    """What this listener is called in topics; empty takes the host name."""

    base: str = "headnod"
    """What every topic begins with."""

    username: str = ""
    """Who we are to the broker; empty says nothing."""

    password_file: str = ""
    """A file with the password alone; empty takes systemd's credential mqtt_password, if there is one."""

    tls: bool = False
    """Encrypt, and never do without."""

    ca_file: str = ""
    """Certificates that are trusted, in place of the system's."""

    cert_file: str = ""
    """Our own certificate, if the broker wants one."""

    key_file: str = ""
    """Its key; empty if it is in the same file."""

    insecure: bool = False
    """Believe any broker's certificate: for a trial on a bench only."""

    protocol: Literal[5, 4] = 5
    """5, or 4 for MQTT 3.1.1, which hides refusals and cannot bound what is sent to us."""

    keepalive: Annotated[int, Meta(ge=1, le=600)] = 15
    """Seconds of silence after which it is asked whether the other still lives."""

    queue: Annotated[int, Meta(ge=20, le=1_000_000)] = 28_800
    """Estimates and songs that wait for an absent broker, at most: then the oldest go."""

    health_every: Annotated[float, Meta(ge=1.0, le=86_400.0)] = 60.0
    """Seconds between reports of health."""

    discovery: bool = True
    """Let Home Assistant find this listener by itself."""

    discovery_prefix: str = "homeassistant"
    """Where Home Assistant looks."""

    discovery_form: Literal["device", "component"] = "device"
    """`component` is for a Home Assistant older than 2024.11."""


class LogSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is told on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important thing that is told."""


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
            nested.setdefault(section, {})[key] = value.value
    try:
        # Lists and tuples alike come out of TOML as lists.
        config = msgspec.convert(nested, Config)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        section, _, key = path.rstrip("`").partition(".")
        key = re.split(r"[.\[]", key)[0]
        origin = merged[section, key].origin if (section, key) in merged else "configuration"
        message = f"{origin}: {section}.{key}: {reason[:1].lower()}{reason[1:]}"
        raise ConfigError(message) from None
    origins = {
        (section, key): merged[section, key].origin if (section, key) in merged else _DEFAULT
        for section, keys in SECTIONS.items()
        for key in keys
    }
    return Loaded(config, origins)


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
