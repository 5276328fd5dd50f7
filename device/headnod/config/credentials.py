"""Files that settings name, as this process may read them: the file itself, or what systemd handed over for it.

A secret that only root may read reaches the service by `LoadCredential=NAME:FILE`: systemd copies it into a folder of
the service's own. There it has the file's name, so the configuration names the file in both worlds.
"""

from __future__ import annotations

import os
from pathlib import Path

from headnod.errors import AccessError, ConfigAccessError, ConfigError
from headnod.service import path_exists

_FOLDER = "CREDENTIALS_DIRECTORY"


def readable_file(setting: str, name: str) -> Path | None:
    """The file that a setting names; None if the setting is empty.

    Args:
        setting: Such as `mqtt.password_file`, for the error.
        name: The setting's value.

    Returns:
        The file, which may be absent; or its credential where only that can be read.

    Raises:
        ConfigError: The file is there, and this process may read neither it nor a credential of its name.
    """
    if not name:
        return None
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
    if _FOLDER in os.environ:
        message = (
            f"{setting}: {path}: the service's user may not read it ('sudo systemctl edit' the service: [Service], "
            f"LoadCredential={path.name}:{path}; or, if it is no secret, put it into /etc/headnod and chmod a+r it)"
        )
        raise ConfigError(message)
    message = f"{setting}: {path}: permission denied"
    raise ConfigAccessError(message)


def systemd_credential(*names: str) -> Path | None:
    """The first of these credentials that systemd handed over and that is not empty."""
    folder = os.environ.get(_FOLDER)
    for name in names if folder else ():
        credential = Path(folder or "", name)
        try:
            # The unit gives an empty line in place of a password that is not there.
            if credential.read_bytes().strip():
                return credential
        except OSError:
            continue
    return None


def password_file(kind: str, setting: str, name: str) -> Path | None:
    """The file with a password: the one that a setting names, or the credential of that kind, or none.

    Args:
        kind: `mqtt_password` or `dashboard_password`.
        setting: The setting that may name it.
        name: The setting's value.

    Raises:
        ConfigError: This process may not read it.
    """
    return readable_file(setting, name) or systemd_credential(kind, f"headnod.{kind}")
