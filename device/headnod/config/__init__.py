"""The configuration: one frozen object, and the origin of each of its values.

Five layers, each over the one before: defaults, the file, values that were set on the
page (`headnod.local.toml` in the state folder), the environment (`HEADNOD_SECTION__KEY`),
the flags of the command line. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec

from headnod.address import without_login
from headnod.config.layers import Layer, Value, decoded, file_layer
from headnod.config.sections import (
    DashboardSection,
    HistorySection,
    LedsSection,
    LogSection,
    MicrophoneSection,
    Mode,
    ModelSection,
    MqttSection,
    WebSection,
)
from headnod.errors import ConfigError, UsageError
from headnod.files import exclusive, inherit_owner, make_folder, write_atomically
from headnod.pipeline.listener import ListenerSettings

__all__ = [
    "CHANGEABLE",
    "OVERLAY_FILE",
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
    "Overlay",
    "WebSection",
    "load",
    "misspelt_variables",
    "named_outputs",
]

_DEFAULT = "default"

_TOML_TYPES = {"str": "string", "int": "integer", "bool": "boolean", "object": "table"}

OVERLAY_FILE = "headnod.local.toml"
"""Name of the file in the state folder with the values that were set on the page."""

CHANGEABLE: Mapping[str, frozenset[str]] = {
    "listen": frozenset({"every", "smoothing", "lead", "silence", "above_noise", "certainty", "tags", "quiet_hours"}),
    "model": frozenset({"updates", "probation"}),
    "microphone": frozenset({"device"}),
    "history": frozenset({"days", "megabytes"}),
    "mqtt": frozenset({"health_every", "discovery"}),
    "log": frozenset({"level"}),
}
"""Keys that may be set on the page, by section."""

_OVERLAY_ORIGIN = "the page"

_OVERLAY_HEAD = "# Set on the page of headnod. Your own file has the other settings; delete this one to return to it.\n"

_log = logging.getLogger(__name__)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings."""

    listen: ListenerSettings = ListenerSettings()
    """Interval, threshold and smoothing of estimates."""

    model: ModelSection = ModelSection()
    """The model, and updates of it."""

    microphone: MicrophoneSection = MicrophoneSection()
    """The audio input."""

    leds: tuple[LedsSection, ...] = (LedsSection(),)
    """Lights that show the scores; one section for each output."""

    history: HistorySection = HistorySection()
    """The history of estimates and songs."""

    dashboard: DashboardSection = DashboardSection()
    """The page that shows every listener of the broker."""

    web: WebSection = WebSection()
    """The page that `headnod listen` serves itself."""

    mqtt: MqttSection = MqttSection()
    """The MQTT broker and topics."""

    log: LogSection = LogSection()
    """The log on stderr."""

    @property
    def brightness(self) -> float:
        """Brightness of the first output of lights (0-1)."""
        return self.leds[0].brightness

    @property
    def mode(self) -> Mode | None:
        """What the first strip or lamp shows; None without one."""
        return next((output.mode for output in self.leds if output.kind not in {"none", "pins"}), None)

    def with_listen(self, **changes: Any) -> Config:  # noqa: ANN401 - as below
        """This configuration with these values of `ListenerSettings`."""
        return msgspec.structs.replace(self, listen=msgspec.structs.replace(self.listen, **changes))

    def with_lights(self, **changes: Any) -> Config:  # noqa: ANN401 - values of several keys
        """This configuration with these values of `LedsSection` for all lights."""
        return msgspec.structs.replace(self, leds=tuple(msgspec.structs.replace(each, **changes) for each in self.leds))


_SECTION_TYPES = {
    section.name: (get_args(section.type) or (section.type,))[0] for section in msgspec.structs.fields(Config)
}
"""The type of each section, or of its tables for an array of tables."""

SECTIONS: Mapping[str, tuple[str, ...]] = {name: kind.__struct_encode_fields__ for name, kind in _SECTION_TYPES.items()}
"""Every key, by section."""

_TYPES = {
    name: {key.encode_name: key.type for key in msgspec.structs.fields(kind)} for name, kind in _SECTION_TYPES.items()
}


@dataclass(frozen=True)
class Loaded:
    """A configuration with the origins of its values."""

    config: Config
    """The settings."""

    origins: Mapping[tuple[str, str], str]
    """Origin of each value by section and key; `leds.2` is the second table of `[[leds]]`."""

    @property
    def changed(self) -> int:
        """Number of values that are not defaults."""
        return sum(origin != _DEFAULT for origin in self.origins.values())

    def rows(self) -> Iterator[tuple[str, str, Any, str]]:
        """Section, key, value and origin of every setting, without the logins of addresses."""
        values = {name: msgspec.to_builtins(table) for name, table in named_outputs(self.config.leds)}
        values |= {name: table for name, table in msgspec.to_builtins(self.config).items() if name != "leds"}
        microphone = values["microphone"]
        microphone["address"] = without_login(microphone["address"])
        microphone["command"] = [without_login(word) for word in microphone["command"]]
        values["web"]["webhooks"] = [_host_alone(address) for address in values["web"]["webhooks"]]
        for (section, key), origin in self.origins.items():
            yield section, key, values[section][key], origin

    def located(self, message: str) -> str:
        """A message that begins with a setting, preceded by the origin of its value; a flag replaces the setting.

        For a setting that is empty by default the origin of the first value of its section is used.
        """
        origin = self._origin(message)
        if self.set_by_flag(message):
            return f"{origin}: {message.partition(': ')[2]}"
        return message if origin == _DEFAULT else f"{origin}: {message}"

    def set_by_flag(self, message: str) -> bool:
        """Whether a flag of the command line set the value that a message begins with."""
        return self._origin(message).startswith("--")

    def _origin(self, message: str) -> str:
        setting, _, fault = message.partition(": ")
        section, _, key = setting.rpartition(".")
        origin = self.origins.get((section, key), _DEFAULT)
        if origin == _DEFAULT and (section, key) in self.origins and fault.startswith("is empty"):
            set_beside = (origin for (name, _), origin in self.origins.items() if name == section)
            origin = next((origin for origin in set_beside if origin != _DEFAULT), _DEFAULT)
        return origin


def _host_alone(address: str) -> str:
    """An address without its path, which may be a secret."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/..."


def named_outputs(leds: tuple[LedsSection, ...]) -> Iterator[tuple[str, LedsSection]]:
    """Each output of lights with its name in messages and origins: `leds`, `leds.2`, ..."""
    for number, output in enumerate(leds, 1):
        yield "leds" if number == 1 else f"leds.{number}", output


def load(*layers: Layer) -> Loaded:
    """Merge layers over the defaults, later ones over earlier ones.

    Raises:
        ConfigError: A key is unknown or a value is invalid. Further errors are its notes.
    """
    merged = {place: value for layer in layers for place, value in layer.items()}
    nested: dict[str, dict[str, Any]] = {}
    refused: list[ConfigError] = []
    unknown: set[str] = set()
    for (section, key), value in merged.items():
        if section in unknown:
            continue
        try:
            _check_key(section, key, value)
            if key:
                nested.setdefault(section, {})[key] = _decoded(section.partition(".")[0], key, value)
        except ConfigError as error:
            refused.append(error)
            if section and section not in SECTIONS and not section.startswith("leds."):
                unknown.add(section)
    tables = _tables({place: value for place, value in merged.items() if place[0].partition(".")[0] in SECTIONS})
    config = _converted(nested, tables, merged, refused)
    if refused:
        first, *further = refused
        for note in dict.fromkeys(map(str, further)):
            first.add_note(note)
        raise first
    _check_outputs(config.leds, tables, merged)
    origins = {
        (section, key): merged[section, key].origin if (section, key) in merged else _DEFAULT
        for name, keys in SECTIONS.items()
        for section in (tables if name == "leds" else (name,))
        for key in keys
    }
    return Loaded(config, origins)


def _converted(
    nested: dict[str, dict[str, Any]], tables: tuple[str, ...], merged: Layer, refused: list[ConfigError]
) -> Config:
    """The configuration without its invalid values, each of which adds an error to `refused`."""
    while True:
        # Lists and tuples alike come out of TOML as lists.
        single = {section: keys for section, keys in nested.items() if section in SECTIONS and section != "leds"}
        try:
            return msgspec.convert(single | {"leds": [nested.get(table, {}) for table in tables]}, Config)
        except msgspec.ValidationError as error:
            section, key, refusal = _refusal(error, nested, tables, merged)
            refused.append(refusal)
            if nested.get(section, {}).pop(key, None) is None:
                # The error is of a default or of a whole section, so that nothing can be left out.
                raise refused[0] from None


def _refusal(
    error: msgspec.ValidationError, nested: Mapping[str, Mapping[str, Any]], tables: tuple[str, ...], merged: Layer
) -> tuple[str, str, ConfigError]:
    """Section and key of an invalid value, and the error that names it with its origin."""
    reason, _, path = str(error).partition(" - at `$.")
    section, _, key = path.rstrip("`").partition(".")
    if table := re.fullmatch(r"leds\[(\d+)\]", section):
        section = tables[int(table[1])]
    key = re.split(r"[.\[]", key)[0]
    if section and not key:
        # The message of a section's own check begins with the key.
        key, _, reason = reason.partition(": ")
    origin = merged[section, key].origin if (section, key) in merged else "configuration"
    kind = _TYPES.get(section.partition(".")[0], {}).get(key)
    if get_origin(kind) is Literal:
        reason = _choices(nested[section][key], get_args(kind))
    elif get_origin(kind) is tuple and reason.endswith("got `str`"):
        reason += f" (write {msgspec.json.encode(nested[section][key].split()).decode()})"
    elif re.search(r" [<>]=? \S+\Z", reason) and isinstance(given := nested[section][key], int | float):
        reason += f", got {given}"
    message = f"{origin}: {section}.{key}: {_in_toml(reason[:1].lower() + reason[1:])}"
    # Flags and configuration have different exit statuses.
    return section, key, (UsageError if origin.startswith("--") else ConfigError)(message)


def _tables(merged: Layer) -> tuple[str, ...]:
    """Names of the outputs of lights, in their order: `leds`, `leds.2`, ...

    Raises:
        ConfigError: A number is missing.
    """
    numbered = {section: value for (section, _), value in merged.items() if section.startswith("leds.")}
    tables = ["leds", *sorted(numbered, key=_number)]
    for number, table in enumerate(tables, 1):
        if _number(table) != number:
            raise ConfigError(f"{numbered[table].origin}: there is no output {number} of lights (number them 1, 2, 3)")
    return tuple(tables)


def _check_outputs(leds: tuple[LedsSection, ...], tables: tuple[str, ...], merged: Layer) -> None:
    """Refuse outputs that share a pin, an SPI device or a lamp.

    Raises:
        ConfigError: Two outputs do.
    """
    taken: dict[tuple[str, str], str] = {}
    for table, section in zip(tables, leds, strict=True):
        for key, used in section.occupied:
            if (key, used) in taken:
                origin = merged[table, key].origin if (table, key) in merged else "configuration"
                raise ConfigError(
                    f"{origin}: {table}.{key}: {used} is in use by {taken[key, used]} already (name another)"
                )
            taken[key, used] = table
    for table, section in zip(tables, leds, strict=True):
        number = next((pin for pin in section.wires if ("pins", f"GPIO {pin}") in taken), None)
        if number is not None:
            origin = merged[table, "kind"].origin
            raise ConfigError(
                f"{origin}: {table}.spi: SPI {section.spi} is wired to GPIO {number}, which "
                f"{taken['pins', f'GPIO {number}']}.pins names for an LED (name another pin)"
            )


def misspelt_variables(names: Iterable[str]) -> Iterator[str]:
    """Warnings about environment variables that have one underscore where a setting has two."""
    meant = {f"HEADNOD_{section}_{key}".upper(): (section, key) for section, keys in SECTIONS.items() for key in keys}
    for name in sorted(meant.keys() & set(names)):
        yield f"{name}: has no effect (write {'HEADNOD_{}__{}'.format(*meant[name]).upper()})"


def _number(table: str) -> int:
    return int(table.partition(".")[2] or 1)


def _choices(given: object, choices: tuple[object, ...]) -> str:
    """The values that a key may have, and the nearest one, in TOML notation."""
    words = {str(choice).casefold(): choice for choice in choices}
    near = difflib.get_close_matches(str(given).casefold(), words, n=1)
    meant = f"; did you mean {_toml(words[near[0]])}?" if near else ""
    return f"{_toml(given)} is not one of {', '.join(map(_toml, choices))}{meant}"


def _toml(value: object) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, str | bool) else str(value)


def _in_toml(reason: str) -> str:
    return re.sub(r"`(\w+)`", lambda word: f"`{_TOML_TYPES.get(word[1], word[1])}`", reason)


def _decoded(section: str, key: str, value: Value) -> Any:  # noqa: ANN401 - any value of TOML
    if not value.text:
        return value.value
    # The key decides: `7` is text for mqtt.node and a number for leds.count.
    return decoded(value.value, wanted=str if _is_text(_TYPES[section][key]) else None)


def _is_text(kind: Any) -> bool:  # noqa: ANN401 - an annotation
    return kind is str or (get_origin(kind) is Literal and all(isinstance(choice, str) for choice in get_args(kind)))


def _check_key(section: str, key: str, value: Value) -> None:
    name, dot, _ = section.partition(".")
    origin = value.origin
    if not section and key in SECTIONS:
        raise ConfigError(f"{origin}: {key} is a section (write [{key}], and its keys in the lines below it)")
    if not section:
        within = " or ".join(f"[{name}]" for name, keys in SECTIONS.items() if key in keys) or "one, such as [listen]"
        raise ConfigError(f"{origin}: '{key}' is outside of a section (write it under {within})")
    if not key and value.value is not None:
        raise ConfigError(f"{origin}: [{section}] has a key without a name")
    if name not in SECTIONS:
        raise ConfigError(f"{origin}: there is no section '{section}'{_nearest(section, SECTIONS)}")
    if dot and name != "leds":
        raise ConfigError(f"{origin}: there can be one section '{name}' only (write [{name}])")
    if key and key not in SECTIONS[name]:
        raise ConfigError(f"{origin}: {section}.{key}: there is no such key{_nearest(key, SECTIONS[name])}")


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else f" (there is {', '.join(known)})"


class Overlay:
    """The file of values that were set on the page, and the configuration that it changes."""

    def __init__(self, path: Path, load: Callable[[Layer], Loaded]) -> None:
        """Use a file, which need not exist.

        `load` loads the whole configuration with a layer in place of the file, and raises a ConfigError.
        """
        self.path, self._load = path, load

    def loaded(self) -> Loaded:
        """The configuration with what was set; without it, after a warning, if it cannot be used.

        Raises:
            ConfigError: The configuration is invalid without it, too.
        """
        layer = self._layer()
        if not layer:
            return self._load({})
        try:
            return self._load(layer)
        except ConfigError as error:
            loaded = self._load({})
            _log.warning("%s; what was set on the page is ignored (delete %s to end this warning)", error, self.path)
            return loaded

    def change(self, values: Mapping[str, object]) -> None:
        """Set values by `section.key`; None returns to the value without the page.

        Raises:
            ConfigError: A key may not be set there, or a value is invalid; nothing is changed.
        """
        lock = self.path.with_suffix(".lock")
        try:
            make_folder(lock.parent)
            lock.touch(0o600)
            inherit_owner(lock)
            with exclusive(lock):
                write_atomically(self.path, self._changed(values).encode())
        except ConfigError:
            raise
        except OSError as error:
            raise ConfigError(f"{self.path}: {(error.strerror or str(error)).lower()}") from error

    def _changed(self, values: Mapping[str, object]) -> str:
        wanted = {place: value.value for place, value in self._layer().items()}
        for name, value in values.items():
            section, _, key = name.rpartition(".")
            if key not in CHANGEABLE.get(section, ()):
                raise ConfigError(f"{name[:60]}: cannot be set on the page (write it into the configuration file)")
            if value is None:
                wanted.pop((section, key), None)
            else:
                _check_text(name, value)
                wanted[section, key] = value
        loaded = self._load({place: Value(value, _OVERLAY_ORIGIN) for place, value in wanted.items()})
        for name, value in values.items():
            section, _, key = name.rpartition(".")
            if value is not None and (origin := loaded.origins[section, key]) != _OVERLAY_ORIGIN:
                raise ConfigError(f"{name}: {origin} sets it, and goes before what is set on the page")
        return _overlay_text(wanted)

    def _layer(self) -> Layer:
        try:
            layer = file_layer(self.path, required=False)
            for (section, key), value in layer.items():
                if not section:
                    _check_key(section, key, value)
        except ConfigError as error:
            _log.warning("%s; what was set on the page is ignored (delete the file to end this warning)", error)
            return {}
        allowed = {}
        for (section, key), value in layer.items():
            if key in CHANGEABLE.get(section, ()):
                allowed[section, key] = value
            elif key:
                _log.warning("%s: %s.%s cannot be set there and is ignored", value.origin, section, key)
        return allowed


def _check_text(name: str, value: object) -> None:
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, str) and not text.isprintable():
            raise ConfigError(f"{name}: holds a character that cannot be printed")


def _overlay_text(values: Mapping[tuple[str, str], object]) -> str:
    """The content of the file: strings, numbers, booleans and lists of JSON are the same in TOML."""
    lines = [_OVERLAY_HEAD]
    for section in sorted({section for section, _ in values}):
        lines.append(f"\n[{section}]\n")
        keys = sorted((key, value) for (other, key), value in values.items() if other == section)
        lines += [f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in keys]
    return "".join(lines)
