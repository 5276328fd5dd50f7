"""The clocks of this machine: which one measures, which one dates, and whether its dates can be believed.

A Raspberry Pi has no battery for its clock: after a power cut it starts at the
time of its last shutdown and is set once NTP answers. So nothing is ordered or
measured by the wall clock. Everything that gets a date also gets a stamp of
CLOCK_BOOTTIME, which is never set, and from that its right date follows later.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import NamedTuple

from headnod.pipeline.estimate import Now, utc_now
from headnod.system import clock_is_synchronised

SETTLED = 3600.0
"""Seconds after boot from which dates are believed where the system does not say whether its clock is synchronised:
a machine with a network is synchronised long before."""

STEP = 1.0
"""Seconds by which the wall clock differs from the monotonic clock when it was set; NTP slews what is less."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ZONE = Path("/etc/localtime")


boottime: Callable[[], float] = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds since the machine was started, suspended time included; never set."""


@functools.cache
def boot_id() -> str:
    """The kernel's name for this run of the machine; empty where it gives none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class Clock:
    """The wall clock, the monotonic clock beside it, and whether the first has been synchronised.

    Any thread may ask it.
    """

    def __init__(
        self,
        *,
        now: Now = utc_now,
        monotonic: Callable[[], float] = boottime,
        kept: Callable[[], bool | None] = clock_is_synchronised,
        boot: str | None = None,
    ) -> None:
        """Read these clocks.

        Args:
            now: The wall clock.
            monotonic: Seconds since boot of a clock that is never set.
            kept: Whether the wall clock is synchronised; None where the system does not say.
            boot: Name of this run of the machine; the kernel's if absent.
        """
        self.now, self.monotonic = now, monotonic
        self._kept, self._was_kept = kept, False
        self.boot = boot_id() if boot is None else boot

    def synchronised(self) -> bool:
        """Dates can be believed: the clock was synchronised since boot.

        A machine that has lost its network since then still has the right date.
        Where the system does not say, the date is believed an hour after boot.
        """
        if not self._was_kept:
            kept = self._kept()
            self._was_kept = kept is True or (kept is None and self.monotonic() >= SETTLED)
        return self._was_kept

    def at(self, monotonic: float) -> datetime:
        """What the wall clock, as it is set now, showed at that moment of this boot, UTC."""
        return self.now() - timedelta(seconds=self.monotonic() - monotonic)


class ClockStepDetector:
    """Detects that the wall clock was set, from its distance to a monotonic clock."""

    def __init__(self, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        """Compare from now on.

        Args:
            now: The wall clock, in seconds since 1970.
            monotonic: A clock in seconds that is never set.
        """
        self._now, self._monotonic = now, monotonic
        self._distance = now() - monotonic()

    def step(self) -> float:
        """Seconds by which the clock was set since the last call; 0 if it was not, or by less than a second."""
        step = self._now() - self._monotonic() - self._distance
        if abs(step) < STEP:
            return 0.0
        self._distance += step
        return step


class _Zone(NamedTuple):
    identity: tuple[int, int, int, int]
    zone: tzinfo


_read: dict[Path, _Zone] = {}


def local_zone(path: Path = _ZONE) -> tzinfo | None:
    """The time zone that the machine is set to now, read again when it is changed.

    The C library reads it once a process. None leaves it to the C library: where
    `TZ` is set, and where the file is absent or no time zone.
    """
    if os.environ.get("TZ"):
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - few commands show a time of day

    try:
        found = path.stat()
        identity = found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
        if (known := _read.get(path)) is not None and known.identity == identity:
            return known.zone
        with path.open("rb") as file:
            zone = ZoneInfo.from_file(file, key=str(path))
    except (OSError, ValueError):
        return None
    _read[path] = _Zone(identity, zone)
    return zone


def local(moment: datetime) -> datetime:
    """A moment in the time zone that the machine is set to now."""
    return moment.astimezone(local_zone())
