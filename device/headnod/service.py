"""The installed services: their configuration, state folder, passwords, rights by their units, and sd_notify(3).

systemd passes folders and passwords to a service in variables. A command that a user runs
has no such variables, and finds the same things by the path of the configuration. The
watchdog is reset by an estimate or a status of the listener and by nothing else, so a
listener that hangs is restarted.
"""

from __future__ import annotations

import grp
import ipaddress
import itertools
import logging
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from headnod.errors import AccessError
from headnod.pipeline.estimate import Estimate, State, StatusEvent

_log = logging.getLogger(__name__)

CONFIGURATION, STATE, CREDENTIALS = Path("/etc/headnod"), Path("/var/lib"), Path("/etc/credstore")
"""Folders of the configurations, of the state folders, and of systemd's credentials."""

UNITS = Path("/etc/systemd/system")
"""Folder of the units that scripts/install writes, and of the changes of `systemctl edit`."""

MAIN = "headnod"
"""Name of the listener whose configuration is headnod.toml."""

HISTORY_FILE = "history.sqlite"
"""Name of the database in the state folder."""

_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - those that PrivateTmp hides
_LOCAL = ("link-local", "localhost", "multicast")
_DYNAMIC_USERS = range(61_184, 65_520)
"""User ids of services with DynamicUser."""

_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@dataclass(frozen=True)
class Service:
    """One installed listener: `headnod.service`, or `headnod@NAME.service` for a further microphone."""

    name: str
    """`headnod`, or the NAME of its configuration `NAME.toml`."""

    configuration: Path
    """Configuration file."""

    state: Path
    """State folder, owned by a dynamic user."""

    @property
    def unit(self) -> str:
        """Name of the unit."""
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
        """Paths of a password (`mqtt_password` or `dashboard_password`), by precedence."""
        folder = self.configuration.parent
        own = [] if self.name == MAIN else [folder / f"{self.name}.{kind}"]
        return [*own, folder / kind, CREDENTIALS / f"headnod.{kind}"]


def service_of(configuration: Path, *, folder: Path = CONFIGURATION, state: Path = STATE) -> Service | None:
    """The service that a configuration belongs to, or None; the file need not exist.

    `folder` has the configurations, `state` the state folders.

    >>> service_of(Path("/etc/headnod/kitchen.toml")).unit
    'headnod@kitchen.service'
    """
    path = Path(os.path.abspath(configuration))  # noqa: PTH100 - links are not resolved
    if path.parent != folder or path.suffix != ".toml":
        return None
    name = path.stem
    return Service(name, path, state / (MAIN if name == MAIN else f"{MAIN}-{name}"))


def path_exists(path: Path) -> bool:
    """Whether a file or folder exists.

    Raises:
        AccessError: This user may not look into its folder.
    """
    # Not Path.exists, which raises or returns False for denied access depending on the version of Python.
    try:
        path.stat()
    except PermissionError as error:
        raise denied(path) from error
    except (OSError, ValueError):
        return False
    return True


def readable_folder(path: Path) -> bool:
    """Whether a folder exists and can be listed.

    Raises:
        AccessError: This user may not list it.
    """
    try:
        os.scandir(path).close()
    except PermissionError as error:
        raise denied(path) from error
    except (OSError, ValueError):
        return False
    return True


def denied(path: Path) -> AccessError:
    """The error for a path that this user may not use."""
    return AccessError(f"{path}: permission denied")


class Sandbox:
    """The rights of one service, as far as a configuration depends on them."""

    def __init__(self, unit: str, *, units: Path = UNITS) -> None:
        """Read the unit and its drop-ins."""
        self.unit = unit
        name, at, rest = unit.partition("@")
        instance = rest.removesuffix(".service") if at else ""
        template = f"{name}@.service" if at else unit
        changes = [*(units / f"{template}.d").glob("*.conf"), *(units / f"{unit}.d").glob("*.conf")]
        self.installed = (units / template).exists()
        self._lines: list[tuple[str, str]] = []
        for file in [units / template, *sorted(changes)]:
            self._lines += _settings(file, instance)

    def unreadable(self, path: Path) -> str:
        """Why the service may not read a file, and the way out; empty if it may.

        Raises:
            AccessError: This user may not read the path's mode.
        """
        if f"{path.name}:{path}" in self._all("LoadCredential"):
            return ""
        if not self._visible(path) or not self._may_read(path):
            return (
                f"{self.unit} may not read it ('sudo systemctl edit {self.unit}': [Service], "
                f"LoadCredential={path.name}:{path}; or, if it is no secret, put it into /etc/headnod and chmod a+r it)"
            )
        return ""

    def unusable(self, path: Path) -> str:
        """Why the service may not use a folder or a program, and the way out; empty if it may.

        Raises:
            AccessError: This user may not read the path's mode.
        """
        if self._visible(path) and self._may_read(path):
            return ""
        return f"{self.unit} may not use it (sudo chmod a+rX {path}; it sees no home folder and no /tmp)"

    def unwritable(self, file: Path, state: Path) -> str:
        """Why the service may not write a file, which may be absent, and the way out; empty if it may.

        Raises:
            AccessError: This user may not read the path's mode.
        """
        folder = file.parent
        if folder.is_relative_to(state):
            return ""
        if not any(folder.is_relative_to(each.lstrip("-+")) for each in self._all("ReadWritePaths")):
            return (
                f"{self.unit} may write to {state} only (leave history.path empty, or 'sudo systemctl edit "
                f"{self.unit}': [Service], ReadWritePaths={folder}, and let every user write there)"
            )
        for path in (file, folder):
            if path_exists(path) and not self._may_write(path):
                return (
                    f"the user of {self.unit} may not write to {path} "
                    f"(sudo chmod a+w {path}, or leave history.path empty)"
                )
        return ""

    def unreachable(self, address: str) -> str:
        """Why the service may not connect to an IP address, and the way out; empty if it may, and for a name."""
        if "any" not in self._all("IPAddressDeny"):
            return ""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return ""
        allowed = self._all("IPAddressAllow")
        if any((ip.is_loopback, ip.is_link_local, ip.is_multicast)) and set(_LOCAL) <= set(allowed):
            return ""
        networks = [each for each in allowed if each[0].isalnum() and re.match(r"[0-9a-f:.]+(/|$)", each)]
        if "any" in allowed or any(ip in ipaddress.ip_network(each, strict=False) for each in networks):
            return ""
        return (
            f"{address} is outside of the local network, which {self.unit} may not leave "
            f"('sudo systemctl edit {self.unit}': [Service], IPAddressAllow={address})"
        )

    def allowed_addresses(self) -> list[str]:
        """The addresses that the service may connect to, as its unit lists them; empty if all are allowed."""
        allowed = self._all("IPAddressAllow")
        return [] if "any" in allowed or "any" not in self._all("IPAddressDeny") else allowed

    def option(self, name: str) -> str:
        """The value of an option of the service's command line; empty if absent."""
        words = self._all("ExecStart")
        return next((value for option, value in itertools.pairwise(words) if option == name), "")

    def refused_port(self, port: int) -> str:
        """Why the service may not listen at a port; empty if it may."""
        try:
            first = int(_UNPRIVILEGED.read_text(encoding="ascii"))
        except (OSError, ValueError):
            first = 1024
        if port >= first or "CAP_NET_BIND_SERVICE" in self._all("AmbientCapabilities"):
            return ""
        return f"{self.unit} may not serve at port {port} (choose {first} or more, such as 8137)"

    def _all(self, key: str) -> list[str]:
        """The words of every line with this key; an empty assignment clears those before, as in systemd."""
        words: list[str] = []
        for found, value in self._lines:
            if found == key:
                words = [*words, *value.split()] if value else []
        return words

    def _visible(self, path: Path) -> bool:
        hidden: list[str] = []
        if (self._all("ProtectHome") or ["no"])[-1] not in {"no", "false", "read-only"}:
            hidden += _HOMES
        if (self._all("PrivateTmp") or ["no"])[-1] not in {"no", "false"}:
            hidden += _TEMPORARY
        return not any(path.is_relative_to(each) for each in hidden)

    def _may_read(self, path: Path) -> bool:
        groups = set(self._all("SupplementaryGroups"))
        return all(_open_to_others(each, groups) for each in (path, *path.parents))

    def _may_write(self, path: Path) -> bool:
        groups = set(self._all("SupplementaryGroups"))
        return _open_to_others(path, groups, write=True) and self._may_read(path.parent)


def _open_to_others(path: Path, groups: set[str], *, write: bool = False) -> bool:
    try:
        found = path.stat()
    except PermissionError as error:
        raise denied(path) from error
    if write and found.st_uid in _DYNAMIC_USERS:
        return True
    wanted = 0o1 if path.is_dir() else 0o4
    wanted |= 0o2 if write else 0
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = ""
    mode = found.st_mode >> 3 if group in groups else found.st_mode
    return mode & wanted == wanted


def _settings(file: Path, instance: str) -> list[tuple[str, str]]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except PermissionError as error:
        raise denied(file) from error
    lines = (line.partition("=") for line in text.replace("\\\n", " ").splitlines() if not line.startswith(("#", ";")))
    return [(key.strip(), value.strip().replace("%i", instance)) for key, equals, value in lines if equals]


class SystemdNotifier:
    """Sends datagrams of KEY=value lines to the socket in $NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        """Open the socket: a path, or a name in the abstract namespace that begins with @."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._ready = False
        self._open = True
        self._failing = False
        self._status = ""

    def show(self, estimate: Estimate) -> None:
        """Report readiness and the genre, and reset the watchdog."""
        confidence = f" ({estimate.confidence:.0%})" if estimate.named else ""
        state = "" if estimate.state is State.LISTENING else f", microphone is {estimate.state}"
        self._alive(f"listening: {estimate.genre}{confidence} at {estimate.level:.0f} dBFS{state}")

    def show_status(self, status: StatusEvent) -> None:
        """Reset the watchdog for a status, too: a listener that waits for its microphone is not at fault."""
        if status.state in {State.STARTING, State.STOPPING}:
            self._send(f"STATUS={status.message}")
            return
        self._alive(f"{status.state.replace('_', ' ')}: {status.message}")

    def reloading(self) -> None:
        """Report that the configuration is read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        self._ready = False

    def close(self) -> None:
        """Report that the listener ends."""
        if self._open:
            self._open = False
            self._send("STOPPING=1\nSTATUS=stopping")
            self._socket.close()

    def _alive(self, status: str) -> None:
        lines = ["WATCHDOG=1"]
        if not self._ready:
            lines.append("READY=1")
            self._ready = True
        if status != self._status:
            # On one line: text after a line end would be another assignment.
            lines.append(f"STATUS={' '.join(status.split())}")
            self._status = status
        self._send("\n".join(lines))

    def _send(self, text: str) -> None:
        try:
            self._socket.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            if not self._failing:
                _log.warning("systemd could not be notified: %s", os.strerror(error.errno or 0))
            self._failing = True
        else:
            self._failing = False
