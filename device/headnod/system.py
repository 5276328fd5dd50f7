"""The machine: memory, temperature, board, permissions and signals; the command that installs an optional part."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from importlib import metadata

_CHECKOUT = Path(__file__).parents[2]
_INSTALLED = Path("/opt/headnod")
"""First part of the path of environments of scripts/install."""

_BY_INSTALL = {"device": "", "dashboard": " --dashboard"}
"""Extras of scripts/install, with its options for them."""

_OF_EXTRA = re.compile(r"\s*(?:;|and)\s*extra\s*==\s*['\"]([\w-]+)['\"]$")
_OF_HEADNOD = re.compile(r"headnod\[([\w,]+)\]")

_MEMORY = Path("/proc/self/statm")
_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_BOARDS = (Path("/proc/device-tree/model"), Path("/sys/class/dmi/id/product_name"))


def how_to_install(
    extra: str,
    *,
    prefix: str = sys.prefix,
    checkout: Path = _CHECKOUT,
    distribution: metadata.Distribution | None = None,
) -> str:
    """The command that installs an extra.

    From a checkout it is `scripts/setup`. An installed copy is extended by pip, from the folder or file that it came
    from. Where that is gone, the command names the packages of the extra, because no index needs to have headnod.

    `checkout` is the folder that is a checkout if headnod runs from one, `distribution` the installed copy, None for
    the one that runs.
    """
    if _is_checkout(checkout):
        return f"{_short(checkout / 'scripts' / 'setup')} {extra}"
    if distribution is None:
        from importlib import metadata  # noqa: PLC0415 - 1 MB, needed for this message only

        try:
            distribution = metadata.distribution("headnod")
        except metadata.PackageNotFoundError:
            return _pip([f"headnod[{extra}]"], prefix)
    origin = _origin(distribution)
    if origin is None:
        return _pip([f"headnod[{extra}]"], prefix)
    if _is_checkout(origin) and Path(prefix).name.startswith(_INSTALLED.name) and extra in _BY_INSTALL:
        return f"sudo {shlex.quote(str(origin / 'scripts' / 'install'))}{_BY_INSTALL[extra]}"
    if origin.is_file() or _is_checkout(origin):
        return _pip([f"headnod[{extra}] @ {origin.as_uri()}"], prefix)
    return _pip(_requirements(distribution, extra), prefix)


def how_to_install_package(package: str, *, prefix: str = sys.prefix) -> str:
    """The command that installs a package that no extra names."""
    return _pip([package], prefix)


def from_checkout(command: str, otherwise: str, *, checkout: Path = _CHECKOUT) -> str:
    """A command of a checkout, or what an installed copy needs in its place."""
    return command if _is_checkout(checkout) else otherwise


def _pip(wanted: list[str], prefix: str) -> str:
    return f"{_short(Path(prefix) / 'bin' / 'python')} -m pip install {shlex.join(wanted)}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _is_checkout(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file() and (folder / "scripts" / "setup").is_file()


def _origin(distribution: metadata.Distribution) -> Path | None:
    """The folder or file that headnod was installed from, which may be gone; None for a package index."""
    try:
        url = urlsplit(json.loads(distribution.read_text("direct_url.json") or "{}").get("url", ""))
    except ValueError:
        return None
    return Path(unquote(url.path)) if url.scheme == "file" else None


def _requirements(distribution: metadata.Distribution, extra: str) -> list[str]:
    """The packages of an extra, and of the extras that it contains."""
    found: list[str] = []
    for line in distribution.requires or ():
        match = _OF_EXTRA.search(line)
        if match is None or match[1] != extra:
            continue
        wanted = line[: match.start()].strip()
        nested = _OF_HEADNOD.fullmatch(wanted)
        for each in nested[1].split(",") if nested else ():
            found += _requirements(distribution, each)
        found += [] if nested else [re.sub(r";\s*\((.*)\)$", r"; \1", wanted)]
    return list(dict.fromkeys(found))


def memory() -> float:
    """Resident memory of this process, in MiB."""
    pages = int(_MEMORY.read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / (1 << 20)


def temperature() -> float | None:
    """Temperature of the board in degrees Celsius; None without a sensor."""
    try:
        return int(_TEMPERATURE.read_text(encoding="ascii")) / 1000.0
    except (OSError, ValueError):
        return None


def board() -> str:
    """The manufacturer's name of the machine; empty if unknown."""
    for path in _BOARDS:
        try:
            return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            continue
    return ""


def permission_denied(*groups: str) -> str:
    """The reason why a device cannot be opened, and the command that helps.

    `groups` are that of the device, and further ones that the same command adds if they exist.
    """
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        # systemd's DynamicUser has a name only if nss-systemd is installed.
        return f"permission denied (the service needs SupplementaryGroups={' '.join(groups)})"
    there = [group for group in groups if _members(group) is not None]
    group = groups[0]
    if group not in there:
        makes = from_checkout("'sudo scripts/install' makes it", f"sudo groupadd --system {group}")
        return f"permission denied (there is no group {group} on this machine: {makes})"
    if grp.getgrnam(group).gr_gid in {os.getegid(), *os.getgroups()}:
        adds = from_checkout(
            "'sudo scripts/install' adds the udev rule for it",
            f'add a udev rule for it with GROUP="{group}", MODE="0660"',
        )
        way_out = f"the device is not open to the group {group}: {adds}"
    elif user in (_members(group) or ()):
        way_out = f"log out and in again, then the group {group} applies"
    else:
        way_out = f"{user} is not in the group {group}: sudo usermod -aG {','.join(there)} {user}, then log in again"
    return f"permission denied ({way_out})"


def _members(group: str) -> list[str] | None:
    try:
        return grp.getgrnam(group).gr_mem
    except KeyError:
        return None


class CpuMeter:
    """Processor time of this process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start now; `monotonic` is a clock in seconds."""
        self._monotonic = monotonic
        self._at, self._used = monotonic(), time.process_time()

    def percent(self) -> float:
        """Percent of one core since the last call."""
        at, used = self._monotonic(), time.process_time()
        percent = 100.0 * (used - self._used) / max(at - self._at, 1e-3)
        self._at, self._used = at, used
        return percent


SignalHandler = Callable[[int, FrameType | None], object]


@contextlib.contextmanager
def signal_handlers(handlers: Mapping[int, SignalHandler | signal.Handlers]) -> Iterator[None]:
    """Handle signals in the `with` block; the former handlers are restored after it."""
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def stop_handlers() -> dict[int, SignalHandler]:
    """The handlers of SIGINT and SIGTERM that are functions; the default action and "ignore" raise nothing."""
    former = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    return {number: handler for number, handler in former.items() if callable(handler)}


@contextlib.contextmanager
def hang_up() -> Iterator[Callable[[], bool]]:
    """A function that is true once after each SIGHUP, which asks to read the configuration again.

    It calls the handler of an earlier SIGINT or SIGTERM again: the exception that this raised is lost if a C extension
    was being imported.
    """
    received, stopped, handlers = False, 0, stop_handlers()

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = number
        handlers[number](number, frame)

    def note(_signal: int, _frame: object) -> None:
        nonlocal received
        received = True

    def hung_up() -> bool:
        nonlocal received
        if stopped:
            handlers[stopped](stopped, None)
        was, received = received, False
        return was

    with signal_handlers({signal.SIGHUP: note, **dict.fromkeys(handlers, stop)}):
        yield hung_up
