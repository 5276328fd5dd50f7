"""System information: memory, temperature, board, processor time, clock synchronisation, group permissions."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

from headnod.extras import from_checkout

_MEMORY = Path("/proc/self/statm")
_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_BOARDS = (Path("/proc/device-tree/model"), Path("/sys/class/dmi/id/product_name"))
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
"""Created by systemd-timesyncd when it has set the clock; absent after boot."""

_TIME_ERROR = 5
_TIMEX_BYTES = 256


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


def clock_is_synchronised(flag: Path = _SYNCHRONISED) -> bool | None:
    """Whether the wall clock is synchronised, as by NTP; None if the system does not report it.

    A sandbox with `ProtectClock=yes` refuses adjtimex(2): there only systemd-timesyncd's file is read.
    """
    # A read-only call; it returns the state of the clock.
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if 0 <= state != _TIME_ERROR or flag.exists():
        return True
    return False if state == _TIME_ERROR else None


def permission_denied(*groups: str) -> str:
    """The reason why a device cannot be opened, and the command that helps.

    Args:
        groups: The group of the device, and further groups that the same command adds if they exist.
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
