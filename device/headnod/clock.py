"""Wall clock and monotonic clock of this machine, whether the wall clock is synchronised, and quiet hours.

A Raspberry Pi has no battery-backed clock: after a power cut it starts at the
time of its last shutdown and is set once NTP answers. So durations and order come from
CLOCK_BOOTTIME, which is never set. Everything with a date also has such a timestamp,
from which the date is corrected later.
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from datetime import time as time_of_day
from pathlib import Path
from typing import NamedTuple

from headnod.pipeline.estimate import Now, utc_now

SETTLED = 3600.0
"""Seconds after boot from which the clock counts as synchronised where the system does not report it:
a machine with a network is synchronised long before."""

STEP = 1.0
"""Least number of seconds by which the wall clock is set; NTP slews smaller differences."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ZONE = Path("/etc/localtime")
_SYNCHRONISED = Path("/run/systemd/timesync/synchronized")
"""Created by systemd-timesyncd when it has set the clock; absent after boot."""

_TIME_ERROR = 5
_TIMEX_BYTES = 256

boottime: Callable[[], float] = functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds since boot, including suspended time."""


@functools.cache
def boot_id() -> str:
    """The kernel's id of this boot; empty if it is unavailable."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def clock_is_synchronised(flag: Path = _SYNCHRONISED) -> bool | None:
    """Whether the wall clock is synchronised, as by NTP; None if the system does not report it.

    A sandbox with `ProtectClock=yes` refuses adjtimex(2): there only systemd-timesyncd's file is read.
    """
    import ctypes  # noqa: PLC0415 - the page's process needs none of it

    # A read-only call; it returns the state of the clock.
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if 0 <= state != _TIME_ERROR or flag.exists():
        return True
    return False if state == _TIME_ERROR else None


class Clock:
    """The wall clock, the monotonic clock, and whether the wall clock was synchronised; thread-safe."""

    def __init__(
        self,
        *,
        now: Now = utc_now,
        monotonic: Callable[[], float] = boottime,
        kept: Callable[[], bool | None] = clock_is_synchronised,
        boot: str | None = None,
    ) -> None:
        """Use these clocks.

        `monotonic` gives seconds since boot, of a clock that is never set. `kept` gives whether the wall clock is
        synchronised, None if the system does not report it. `boot` is the id of this boot, that of the kernel if None.
        """
        self.now, self.monotonic = now, monotonic
        self._kept, self._was_kept = kept, False
        self.boot = boot_id() if boot is None else boot

    def synchronised(self) -> bool:
        """Whether the wall clock was synchronised since boot.

        It stays true after the network is lost. Where the system does not report it, it
        becomes true an hour after boot.
        """
        if not self._was_kept:
            kept = self._kept()
            self._was_kept = kept is True or (kept is None and self.monotonic() >= SETTLED)
        return self._was_kept

    def at(self, monotonic: float) -> datetime:
        """UTC time of a monotonic time of this boot, by the wall clock as it is set now."""
        return self.now() - timedelta(seconds=self.monotonic() - monotonic)


class ClockStepDetector:
    """Detects that the wall clock was set, from its difference to a monotonic clock."""

    def __init__(self, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        """Compare with the present difference of the wall clock, in seconds since 1970, and one that is never set."""
        self._now, self._monotonic = now, monotonic
        self._difference = now() - monotonic()

    def step(self) -> float:
        """Seconds by which the clock was set since the last call; 0 for less than a second."""
        step = self._now() - self._monotonic() - self._difference
        if abs(step) < STEP:
            return 0.0
        self._difference += step
        return step


class _Zone(NamedTuple):
    identity: tuple[int, int, int, int]
    zone: tzinfo


_read: dict[Path, _Zone] = {}


def local_zone(path: Path = _ZONE) -> tzinfo | None:
    """The time zone of the machine, read again when it changes; the C library reads it once per process.

    None means the C library's: if `TZ` is set, and if the file is absent or not a time zone.
    """
    if os.environ.get("TZ"):
        return None
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - few commands show local times

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
    """A time in the present time zone of the machine."""
    return moment.astimezone(local_zone())


_SPAN = re.compile(r"\A([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)\Z")


def span_fault(span: str) -> str | None:
    """Why a text is no span of quiet hours, as the end of a sentence; None for a valid one.

    >>> span_fault("22:00-07:00"), span_fault("7-8")
    (None, "'7-8' is not a span of hours such as 22:00-07:00")
    """
    match = _SPAN.match(span)
    if match is None:
        return f"{span[:20]!r} is not a span of hours such as 22:00-07:00"
    return f"'{span}' ends when it begins" if match.group(1, 2) == match.group(3, 4) else None


def quiet_until(now: datetime, spans: Sequence[str]) -> datetime | None:
    """The end of the quiet hours that a local time is in; None if it is in none.

    >>> night = datetime(2026, 11, 27, 23, 30)
    >>> quiet_until(night, ["22:00-07:00"])
    datetime.datetime(2026, 11, 28, 7, 0)

    Args:
        now: Local time.
        spans: Such as `22:00-07:00`; the end may be on the next day.
    """
    ends = []
    for span in spans:
        begin, end = (time_of_day.fromisoformat(text) for text in span.split("-"))
        today = now.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
        clock = now.time()
        if begin < end and begin <= clock < end:
            ends.append(today)
        elif begin > end and clock >= begin:
            ends.append(today + timedelta(days=1))
        elif begin > end and clock < end:
            ends.append(today)
    return max(ends, default=None)
