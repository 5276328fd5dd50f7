"""Values that were set on the page: `headnod.local.toml` in the state folder, a layer over the person's own file.

The listener writes it and root's commands read it, so it can set harmless keys only: no program, path, host, key or
password.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from headnod.config import Loaded
from headnod.config.layers import Layer, Value, file_layer
from headnod.errors import ConfigError
from headnod.files import write_atomically

FILE = "headnod.local.toml"
"""Name of the file in the state folder."""

CHANGEABLE: Mapping[str, frozenset[str]] = {
    "listen": frozenset(
        {"every", "smoothing", "lead", "silence", "above_noise", "certainty", "tags", "quiet_hours"},
    ),
    "model": frozenset({"updates", "probation"}),
    "microphone": frozenset({"device"}),
    "history": frozenset({"days", "megabytes"}),
    "mqtt": frozenset({"health_every", "discovery"}),
    "log": frozenset({"level"}),
}
"""Keys that may be set there, by section."""

_ORIGIN = "the page"

_HEAD = "# Set on the page of headnod. Your own file has the other settings; delete this one to return to it.\n"

_log = logging.getLogger(__name__)


class Overlay:
    """The file, and the configuration that it changes."""

    def __init__(self, path: Path, load: Callable[[Layer], Loaded]) -> None:
        """Use a file, which need not exist.

        Args:
            path: The file.
            load: Loads the whole configuration with a layer in the file's place; raises a ConfigError.
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
        """Set values by `section.key`; None returns to the person's own.

        Raises:
            ConfigError: A key may not be set there, or a value is invalid; nothing is changed.
        """
        wanted = {place: value.value for place, value in self._layer().items()}
        for name, value in values.items():
            section, _, key = name.rpartition(".")
            if key not in CHANGEABLE.get(section, ()):
                message = f"{name[:60]}: cannot be set on the page (write it into the configuration file)"
                raise ConfigError(message)
            if value is None:
                wanted.pop((section, key), None)
            else:
                _check_text(name, value)
                wanted[section, key] = value
        self._load({place: Value(value, _ORIGIN) for place, value in wanted.items()})
        try:
            write_atomically(self.path, _toml(wanted).encode())
        except OSError as error:
            message = f"{self.path}: {(error.strerror or str(error)).lower()}"
            raise ConfigError(message) from error

    def _layer(self) -> Layer:
        try:
            layer = file_layer(self.path, required=False)
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
            message = f"{name}: holds a character that cannot be printed"
            raise ConfigError(message)


def _toml(values: Mapping[tuple[str, str], object]) -> str:
    """The content of the file: strings, numbers, booleans and lists of JSON are the same in TOML."""
    lines = [_HEAD]
    for section in sorted({section for section, _ in values}):
        lines.append(f"\n[{section}]\n")
        keys = sorted((key, value) for (other, key), value in values.items() if other == section)
        lines += [f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in keys]
    return "".join(lines)
