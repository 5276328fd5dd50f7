"""Options that several commands share, and the configuration they lead to."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headnod.config import Loaded
    from headnod.service import Service


def add_config(parser: argparse.ArgumentParser) -> None:
    """The option that names a configuration file."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="read this configuration, not /etc/headnod/headnod.toml"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """The option that names a model."""
    parser.add_argument("--model", metavar="NAME", help="a shipped model, or the folder of a bundle")


def number_between(least: float, most: float) -> Callable[[str], float]:
    """A type of an argument: a number within bounds."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            message = f"'{text}' is not a number from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(message)
        return value

    return number


def service_beside(options: argparse.Namespace) -> Service | None:
    """The installed service whose configuration a command reads; None in the service itself, and for any other."""
    from headnod.config.layers import CONFIG_FILE
    from headnod.service import service_of

    # A listener that a person sets by variables keeps its state where those say.
    if "STATE_DIRECTORY" in os.environ or "HEADNOD_HISTORY__PATH" in os.environ:
        return None
    return service_of(_named(options) or CONFIG_FILE)


def _named(options: argparse.Namespace) -> Path | None:
    variable = os.environ.get("HEADNOD_CONFIG")
    return options.config or (Path(variable) if variable else None)


def load_config(options: argparse.Namespace, flags: dict[tuple[str, str, str], object] | None = None) -> Loaded:
    """The configuration from file, environment and flags; `located` finds the origin of its values.

    Raises:
        ConfigError: It cannot be used.
    """
    loaded = options.loaded = _load_config(options, flags)
    return loaded


def located(options: argparse.Namespace, error: Exception) -> str:
    """An error in one line, with the way out and, if it refuses a value of the configuration, the value's origin."""
    loaded: Loaded | None = getattr(options, "loaded", None)
    text = explained(error)
    return text if loaded is None else loaded.located(text)


def _load_config(options: argparse.Namespace, flags: dict[tuple[str, str, str], object] | None) -> Loaded:
    from headnod.config import load
    from headnod.config.layers import CONFIG_FILE, Value, environment_layer, file_layer, flag_layer
    from headnod.service import service_of

    named = _named(options)
    layers = (
        file_layer(named or CONFIG_FILE, required=named is not None),
        environment_layer(os.environ),
        flag_layer(flags or {}),
    )
    loaded = load(*layers)
    service = service_of(named or CONFIG_FILE)
    if service is None:
        return loaded
    wanted = []
    # A broker's password belongs to a user, so without one it is no default.
    if loaded.config.mqtt.host and loaded.config.mqtt.username and not loaded.config.mqtt.password_file:
        wanted.append(("mqtt", "mqtt_password"))
    if not loaded.config.dashboard.password_file:
        wanted.append(("dashboard", "dashboard_password"))
    found = {
        (section, "password_file"): Value(str(path), "default")
        for section, kind in wanted
        if (path := next(filter(os.path.lexists, service.password_files(kind)), None)) is not None
    }
    return load(*layers, found) if found else loaded


def values_set(loaded: Loaded) -> str:
    """How many values are set and how many are defaults."""
    changed, defaults = loaded.changed, len(loaded.origins) - loaded.changed
    return f"{changed} {'value' if changed == 1 else 'values'} set, {defaults} defaults"


def explained(error: Exception) -> str:
    """An error in one line, with the way out where it is, or comes from, access that was denied."""
    told = str(error)
    if isinstance(error, PermissionError) and error.filename:
        told = f"{error.filename}: permission denied"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, PermissionError):
        cause = cause.__cause__
    return told if cause is None or told.endswith(")") else f"{told} ({way_out_of_denial()})"


def way_out_of_denial() -> str:
    """What a person does where access was denied to this program."""
    import shlex
    import shutil

    if "CREDENTIALS_DIRECTORY" in os.environ:
        return "the service runs as a user of its own: let root 'chmod a+r' it"
    if _may_read_everything():
        return "check its owner, its mode and its file system"
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        program = [sys.executable, "-m", called.parent.name]
    else:
        # sudo looks for programs in its own path only.
        found = shutil.which(called.name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        program = [called.name if found and Path(found).resolve() == called.resolve() else str(called)]
    # Nor does it hand variables on unasked.
    variables = ",".join(sorted(name for name in os.environ if name.startswith("HEADNOD_")))
    kept = [f"--preserve-env={variables}"] if variables else []
    return shlex.join(["sudo", *kept, *program, *sys.argv[1:]])


def _may_read_everything() -> bool:
    """Linux's CAP_DAC_OVERRIDE, which root has but for a container that took it away."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> 1 & 1)
    except (OSError, ValueError, IndexError):
        return os.geteuid() == 0
