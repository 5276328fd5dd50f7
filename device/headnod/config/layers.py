"""Sources of settings: a TOML file, the environment, the command line, and credentials of systemd.

Each layer maps section and key to a value with its origin, so that an error can
name the place where the value was written.
"""

from __future__ import annotations

import errno
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headnod.errors import AccessError, ConfigAccessError, ConfigError
from headnod.service import path_exists

CONFIG_FILE = Path("/etc/headnod/headnod.toml")
"""The configuration of an installed headnod."""

_PREFIX = "HEADNOD_"
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
_LONGEST_SECRET = 4_096
_LONGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Value:
    """One value and its origin."""

    value: Any
    """The value as it was written."""

    origin: str
    """`default`, a file with its line, an environment variable or a flag."""

    text: bool = False
    """Whether it is text whose type the key declares, as in an environment variable."""


Layer = Mapping[tuple[str, str], Value]
"""Values by section and key. A value outside of a section has the section "", an empty section the key "" and None."""


def file_layer(path: Path, *, required: bool) -> Layer:
    """The settings of a TOML file.

    Raises:
        ConfigError: The file is unreadable or not TOML, or absent though required.
    """
    try:
        text = _text(path)
        content = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        if not required:
            return {}
        raise ConfigError(f"{path}: there is no such file (name another with --config, or leave it out)") from None
    except PermissionError as error:
        raise ConfigAccessError(f"{path}: permission denied") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {(getattr(error, 'strerror', None) or 'it is not UTF-8 text').lower()}"
        ) from error
    layer = {}
    for section, number, keys in _tables(content):
        place = _numbered(section, number)
        if not isinstance(keys, dict):
            layer["", section] = Value(keys, f"{path}:{_line(text, '', section, 1)}")
            continue
        for key, value in keys.items():
            layer[place, key] = Value(value, f"{path}:{_line(text, section, key, number)}")
        if not keys:
            layer[place, ""] = Value(None, str(path))
    return layer


def _text(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        text = file.read(_LONGEST_FILE + 1)
    if len(text) > _LONGEST_FILE:
        raise OSError(errno.EFBIG, f"it is longer than {_LONGEST_FILE} characters")
    return text


def environment_layer(environment: Mapping[str, str]) -> Layer:
    """The settings of variables such as `HEADNOD_LISTEN__EVERY=1.5`.

    `HEADNOD_LEDS__2__COUNT` is a key of the second table of `[[leds]]`; without
    a number it is a key of the first.
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
    """The settings of the command line, from values by flag, section and key; None means not given."""
    return {(section, key): Value(value, flag) for (flag, section, key), value in flags.items() if value is not None}


def decoded(text: str, *, wanted: type[str] | None = None) -> Any:  # noqa: ANN401 - any value of TOML
    """The value of a text that is TOML, or else the text itself.

    >>> decoded("7"), decoded("7", wanted=str), decoded('"7"', wanted=str)
    (7, '7', '7')

    Args:
        text: The value of an environment variable.
        wanted: `str` for a key of that type: then only a quoted string is decoded.
    """
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    alone = len(found) == 1 and (wanted is None or isinstance(found["value"], wanted))
    return found["value"] if alone else text


def readable_file(setting: str, name: str) -> Path | None:
    """The file that a setting names, or the credential of that name where only that is readable.

    systemd copies a file of `LoadCredential=NAME:FILE`, which only root may read, into a
    folder of the service under the file's name, so the same setting works for both.

    `name` is the value of the setting; empty gives None.

    Raises:
        ConfigError: The file exists, and this process may read neither it nor a credential of its name.
    """
    if not name:
        return None
    if name.startswith("~"):
        raise ConfigError(f"{setting}: {name}: '~' does not stand for a home folder here (write the whole path)")
    path = Path(name)
    if os.access(path, os.R_OK):
        return path
    if (credential := systemd_credential(path.name)) is not None:
        return credential
    try:
        there = path_exists(path)
    except AccessError:
        there = True
    if not there:
        return path
    if _CREDENTIALS in os.environ:
        raise ConfigError(
            f"{setting}: {path}: the service's user may not read it ('sudo systemctl edit' the service: [Service], "
            f"LoadCredential={path.name}:{path}; or, if it is no secret, put it into /etc/headnod and chmod a+r it)"
        )
    raise ConfigAccessError(f"{setting}: {path}: permission denied")


def read_secret(setting: str, path: Path) -> str:
    """The text of a file with a password, which a setting names.

    Raises:
        ConfigError: It cannot be read, is not text, or is longer than any password.
    """
    fault = f"is longer than {_LONGEST_SECRET} bytes (is it the file with the password?)"
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_SECRET + 1)
        if len(content) <= _LONGEST_SECRET:
            # Windows' editors begin a file with a byte order mark.
            return content.decode("utf-8-sig")
    except OSError as error:
        fault = (error.strerror or "cannot be read").lower()
    except UnicodeDecodeError:
        # Its own message quotes what was read.
        fault = "is not UTF-8 text"
    raise ConfigError(f"{setting}: {path}: {fault}")


def systemd_credential(*names: str) -> Path | None:
    """The first of these credentials of systemd that exists and is not empty."""
    folder = os.environ.get(_CREDENTIALS)
    for name in names if folder else ():
        credential = Path(folder or "", name)
        try:
            # The unit sets an empty line where there is no password.
            if credential.read_bytes().strip():
                return credential
        except OSError:
            continue
    return None


def password_file(kind: str, setting: str, name: str) -> Path | None:
    """The file with a password: the one that a setting names, or the credential of that kind, or None.

    `kind` is `mqtt_password` or `dashboard_password`, `name` the value of the setting.

    Raises:
        ConfigError: This process may not read it.
    """
    return readable_file(setting, name) or systemd_credential(kind, f"headnod.{kind}")


def _tables(content: Mapping[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Each table with its section and, for an array of tables, its number from 1."""
    for section, value in content.items():
        several = value if isinstance(value, list) and value else [value]
        yield from ((section, number, each) for number, each in enumerate(several, 1))


def _numbered(section: str, number: int) -> str:
    return section if number == 1 else f"{section}.{number}"


def _line(text: str, section: str, key: str, table: int) -> int:
    """The line of a key in the nth table of a section, or before the first with ""; 1 if it is not found."""
    inside, tables = not section, 0
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[\[?\s*([\w.-]+)", line):
            tables += match[1] == section
            inside = match[1] == section and tables == table
            if match[1] == f"{section}.{key}" and tables in {table, 0}:
                return number
        elif inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
            return number
    return 1
