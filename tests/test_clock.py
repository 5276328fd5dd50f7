"""The clocks: whether a date is believed, what a moment is called once the clock was set, and which zone it is."""

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headnod.clock import (
    SETTLED,
    STEP,
    Clock,
    ClockStepDetector,
    boot_id,
    boottime,
    clock_is_synchronised,
    local_zone,
)

BOOTED = datetime(2026, 11, 27, 6, tzinfo=UTC)

# adjtimex and clock_adjtime answer EPERM, as the kernel does under ProtectClock=yes.
REFUSED = """
import ctypes, struct, sys
from pathlib import Path

calls = {"x86_64": (159, 305), "aarch64": (171, 266)}[sys.argv[1]]
steps = [(0x20, 0, 0, 0)]
for call in calls:
    steps += [(0x15, 0, 1, call), (0x06, 0, 0, 0x00050001)]
steps.append((0x06, 0, 0, 0x7FFF0000))
raw = b"".join(struct.pack("HBBI", *step) for step in steps)
code = ctypes.create_string_buffer(raw)

class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]

libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(steps), ctypes.addressof(code))), 0, 0) == 0
from headnod.clock import clock_is_synchronised
print(clock_is_synchronised(Path(sys.argv[2])))
"""


class Machine:
    """A machine whose clock may be set, and says whether it is synchronised."""

    def __init__(self, *, kept=False, up=10.0):
        self.kept, self.up, self.wrong = kept, up, timedelta(0)
        self.clock = Clock(now=self.now, monotonic=lambda: self.up, kept=lambda: self.kept, boot="b1")

    def now(self):
        return BOOTED + timedelta(seconds=self.up) + self.wrong


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="system calls have other numbers here")
@pytest.mark.parametrize("told", [False, True])
def test_where_the_kernel_refuses_the_question_only_the_flag_of_the_time_daemon_answers_it(tmp_path, told):
    flag = tmp_path / "synchronized"
    if told:
        flag.touch()
    asked = [sys.executable, "-c", REFUSED, platform.machine(), str(flag)]
    ended = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == ("True" if told else "None"), ended.stderr


def test_the_flag_of_the_time_daemon_is_believed_where_the_kernel_says_no(tmp_path):
    (tmp_path / "synchronized").touch()
    assert clock_is_synchronised(tmp_path / "synchronized") is True
    assert clock_is_synchronised(tmp_path / "absent") in {True, False, None}


def test_a_date_is_believed_from_the_first_synchronisation_to_the_end_of_the_boot():
    machine = Machine(kept=False)
    assert not machine.clock.synchronised()
    machine.kept = True
    assert machine.clock.synchronised()
    machine.kept = False
    assert machine.clock.synchronised(), "the network is gone, and the clock drifts by seconds a day"


@pytest.mark.parametrize(("up", "believed"), [(SETTLED - 0.1, False), (SETTLED, True)])
def test_where_nobody_says_a_date_is_believed_an_hour_after_boot(up, believed):
    assert Machine(kept=None, up=up).clock.synchronised() is believed


def test_a_clock_that_is_known_to_be_wrong_is_not_believed_after_a_year_either():
    assert not Machine(kept=False, up=365 * 86400.0).clock.synchronised()


def test_a_moment_gets_its_right_date_when_the_clock_is_set():
    machine = Machine()
    machine.wrong = timedelta(days=-68)
    noted = machine.clock.monotonic()
    machine.up += 60.0
    machine.wrong = timedelta(0)
    assert machine.clock.at(noted) == BOOTED + timedelta(seconds=10)


@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize(("seconds", "told"), [(STEP - 0.01, False), (STEP + 0.01, True), (1e7, True)])
def test_a_step_of_the_clock_is_reported_once_and_a_slew_is_not(seconds, told, way):
    machine = Machine()
    stepped = ClockStepDetector(lambda: machine.now().timestamp(), machine.clock.monotonic)
    machine.up += 1000.0
    assert stepped.step() == 0.0
    machine.wrong = timedelta(seconds=way * seconds)
    assert stepped.step() == (pytest.approx(way * seconds) if told else 0.0)
    assert stepped.step() == 0.0


def test_slews_add_up_until_they_are_as_long_as_a_step():
    machine = Machine()
    stepped = ClockStepDetector(lambda: machine.now().timestamp(), machine.clock.monotonic)
    steps = []
    for tenth in range(1, 21):
        machine.wrong = timedelta(seconds=tenth / 10)
        steps.append(stepped.step())
    assert sum(steps) == pytest.approx(2.0, abs=0.11)


def test_the_real_clocks_of_this_machine():
    assert 0.0 < boottime() <= boottime()
    assert boot_id() == boot_id() != ""
    clock = Clock()
    assert abs(clock.at(boottime()) - datetime.now(UTC)) < timedelta(seconds=5)


ZONES = "/usr/share/zoneinfo"


@pytest.fixture
def no_tz():
    """Without TZ, as a service is started."""
    before = os.environ.pop("TZ", None)
    yield
    if before is not None:
        os.environ["TZ"] = before


@pytest.mark.usefixtures("no_tz")
def test_the_zone_of_the_machine_is_followed_when_it_is_changed(tmp_path):
    link, moment = tmp_path / "localtime", datetime(2026, 7, 1, 20, tzinfo=UTC)
    hours = []
    for name in ("Etc/UTC", "Pacific/Auckland", "America/New_York"):
        link.unlink(missing_ok=True)
        link.symlink_to(f"{ZONES}/{name}")
        hours.append(moment.astimezone(local_zone(link)).hour)
    link.unlink()
    for name in ("Etc/UTC", "Pacific/Auckland"):
        shutil.copy(f"{ZONES}/{name}", link)
        hours.append(moment.astimezone(local_zone(link)).hour)
    assert hours == [20, 8, 16, 20, 8]


@pytest.mark.usefixtures("no_tz")
@pytest.mark.parametrize(("month", "hour"), [(1, 13), (7, 14)])
def test_summer_time_is_followed(month, hour):
    zone = local_zone(Path(f"{ZONES}/Europe/Berlin"))
    assert datetime(2026, month, 1, 12, tzinfo=UTC).astimezone(zone).hour == hour


@pytest.mark.usefixtures("no_tz")
def test_what_is_no_zone_is_left_to_the_system(tmp_path):
    assert local_zone(tmp_path / "absent") is None
    (tmp_path / "localtime").write_bytes(b"no zone")
    assert local_zone(tmp_path / "localtime") is None
