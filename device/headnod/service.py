"""The installed services: which configuration, state folder and passwords belong together.

The service gets its folders and passwords from systemd, by variables. A command that a person runs beside it has no
such variables, and finds the same things by the place of the configuration.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from headnod.errors import AccessError

CONFIGURATION, STATE, CREDENTIALS = Path("/etc/headnod"), Path("/var/lib"), Path("/etc/credstore")
"""The folders of the services: configurations, state folders, and systemd's own store of passwords."""

MAIN = "headnod"
"""The listener whose configuration is headnod.toml."""

HISTORY_FILE = "history.sqlite"
"""The database in the state folder."""


@dataclass(frozen=True)
class Service:
    """One installed listener: `headnod.service`, or `headnod@NAME.service` for a further microphone."""

    name: str
    """`headnod`, or the NAME of its configuration `NAME.toml`."""

    configuration: Path
    """Its configuration."""

    state: Path
    """Its state folder, which belongs to a user that systemd makes up."""

    @property
    def unit(self) -> str:
        """What systemd calls it."""
        return "headnod.service" if self.name == MAIN else f"headnod@{self.name}.service"

    def others(self, *, units: Path) -> list[Path]:
        """The configurations of the other listeners that start at boot."""
        wanted = sorted(each.name for each in (units / "multi-user.target.wants").glob("headnod*.service"))
        names = [
            MAIN if name == "headnod.service" else name.partition("@")[2].removesuffix(".service") for name in wanted
        ]
        others = [self.configuration.with_name(f"{name}.toml") for name in names if name and name != self.name]
        return [path for path in others if path.exists()]

    def password_files(self, kind: str) -> list[Path]:
        """Where its password of a kind (`mqtt_password`, `dashboard_password`) may be, the first choice first."""
        folder = self.configuration.parent
        own = [] if self.name == MAIN else [folder / f"{self.name}.{kind}"]
        return [*own, folder / kind, CREDENTIALS / f"headnod.{kind}"]


def service_of(configuration: Path, *, folder: Path = CONFIGURATION, state: Path = STATE) -> Service | None:
    """The service that a configuration belongs to; None if it is no service's.

    >>> service_of(Path("/etc/headnod/kitchen.toml")).unit
    'headnod@kitchen.service'

    Args:
        configuration: The file, which need not exist.
        folder: Where the configurations of services are.
        state: Where their state folders are.
    """
    path = Path(os.path.abspath(configuration))  # noqa: PTH100 - a link stays what it is called
    if path.parent != folder or path.suffix != ".toml":
        return None
    name = path.stem
    return Service(name, path, state / (MAIN if name == MAIN else f"{MAIN}-{name}"))


def path_exists(path: Path) -> bool:
    """Whether a file or folder exists.

    Raises:
        AccessError: This user may not know.
    """
    # Not Path.exists: whether it raises or says no where access is denied depends on the version of Python.
    try:
        path.stat()
    except PermissionError as error:
        raise denied(path) from error
    except (OSError, ValueError):
        return False
    return True


def readable_folder(path: Path) -> bool:
    """Whether a folder exists; what it holds can be listed then.

    Raises:
        AccessError: This user may not look into it.
    """
    try:
        os.scandir(path).close()
    except PermissionError as error:
        raise denied(path) from error
    except (OSError, ValueError):
        return False
    return True


def denied(path: Path) -> AccessError:
    """The error of a file or folder that this user may not use."""
    return AccessError(f"{path}: permission denied")
