"""Where settings come from: a file, the environment, the command line.

Each gives values by section and key, with the place that each was written at,
so that an error can send a person there.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headnod.errors import ConfigAccessError, ConfigError

CONFIG_FILE = Path("/etc/headnod/headnod.toml")
"""Where the configuration of an installed headnod stands."""

_PREFIX = "HEADNOD_"


@dataclass(frozen=True)
class Value:
    """One value and where it came from."""

    value: Any
    """The value, as it was written."""

    origin: str
    """`default`, a file with its line, an environment variable or a flag."""

    text: bool = False
    """It is text whose type the key declares, as in an environment variable."""


Layer = Mapping[tuple[str, str], Value]
"""Values by section and key."""


def file_layer(path: Path, *, required: bool) -> Layer:
    """What a TOML file says.

    Raises:
        ConfigError: It is absent though required, unreadable, or no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text)
    except FileNotFoundError:
        if not required:
            return {}
        message = f"{path}: there is no such file (name another with --config, or leave it out)"
        raise ConfigError(message) from None
    except PermissionError as error:
        message = f"{path}: permission denied"
        raise ConfigAccessError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: cannot be read: {error}"
        raise ConfigError(message) from error
    except tomllib.TOMLDecodeError as error:
        message = f"{path}: is not TOML: {error}"
        raise ConfigError(message) from error
    layer = {}
    for section, number, keys in _tables(content):
        if not isinstance(keys, dict):
            message = f"{path}: '{section}' stands outside a section (write it under one, such as [listen])"
            raise ConfigError(message)
        place = _numbered(section, number)
        for key, value in keys.items():
            layer[place, key] = Value(value, f"{path}:{_line(text, section, key, number)}")
        if not keys:
            layer[place, ""] = Value(None, str(path))
    return layer


def _tables(content: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Each table with its section and, of those in double brackets, its number from 1."""
    for section, value in content.items():
        several = value if isinstance(value, list) and value else [value]
        yield from ((section, number, each) for number, each in enumerate(several, 1))


def _numbered(section: str, number: int) -> str:
    return section if number == 1 else f"{section}.{number}"


def environment_layer(environment: Mapping[str, str]) -> Layer:
    """What variables such as `HEADNOD_LISTEN__EVERY=1.5` say.

    `HEADNOD_LEDS__2__COUNT` is a key of the second table of `[[leds]]`; without
    a number it is one of the first.
    """
    layer = {}
    for name, text in environment.items():
        if name.startswith(_PREFIX) and "__" in name:
            section, _, key = name.removeprefix(_PREFIX).lower().partition("__")
            number, _, rest = key.partition("__")
            if rest and number.isascii() and number.isdecimal():
                section, key = _numbered(section, int(number)), rest
            layer[section, key] = Value(text, name, text=True)
    return layer


def flag_layer(flags: Mapping[tuple[str, str, str], Any]) -> Layer:
    """What was said on the command line: value by flag, section and key; None is nothing."""
    return {(section, key): Value(value, flag) for (flag, section, key), value in flags.items() if value is not None}


def decoded(text: str, *, wanted: type[str] | None = None) -> Any:  # noqa: ANN401 - any value of TOML
    """The TOML value that a text spells, or else the text itself.

    >>> decoded("7"), decoded("7", wanted=str), decoded('"7"', wanted=str)
    (7, '7', '7')

    Args:
        text: The value of an environment variable.
        wanted: `str` where the key is declared as text: then only a quoted string is decoded.
    """
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    alone = len(found) == 1 and (wanted is None or isinstance(found["value"], wanted))
    return found["value"] if alone else text


def _line(text: str, section: str, key: str, table: int) -> int:
    """The line on which a key of the nth table of a section stands, 1 where it cannot be found."""
    inside, tables = False, 0
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[\[?\s*([\w.-]+)", line):
            tables += match[1] == section
            inside = match[1] == section and tables == table
            if match[1] == f"{section}.{key}" and tables in {table, 0}:
                return number
        elif inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
            return number
    return 1
