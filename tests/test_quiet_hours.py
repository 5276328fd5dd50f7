"""Quiet hours by local time, and pauses that end by themselves, with clocks of the test's own."""

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from headnod.clock import Clock, quiet_until, span_fault
from headnod.config import Config
from headnod.config.sections import WebSection
from headnod.errors import ConfigError
from headnod.remote_controls import InForce, RemoteControls, SavedSettings
from headnod.testing import ManualClock

DAY = datetime(2026, 11, 27)  # noqa: DTZ001 - local time


@pytest.mark.parametrize(
    ("clock", "spans", "end"),
    [
        ("23:00", ["22:00-07:00"], "28 07:00"),
        ("06:59", ["22:00-07:00"], "27 07:00"),
        ("07:00", ["22:00-07:00"], None),
        ("21:59", ["22:00-07:00"], None),
        ("22:00", ["22:00-07:00"], "28 07:00"),
        ("13:30", ["22:00-07:00", "13:00-14:00"], "27 14:00"),
        ("13:30", ["13:00-14:00", "12:00-15:00"], "27 15:00"),
        ("12:00", [], None),
    ],
)
def test_quiet_hours_end_as_written(clock, spans, end):
    hour, minute = map(int, clock.split(":"))
    found = quiet_until(DAY.replace(hour=hour, minute=minute), spans)
    assert (found and f"{found:%d %H:%M}") == end


@pytest.mark.parametrize(
    "span", ["7-8", "24:00-07:00", "22:00-22:00", "22:60-07:00", "", "22:00-07:00 ", "22:00\u201307:00"]
)
def test_a_span_that_is_none_is_named(span):
    assert span_fault(span)
    with pytest.raises(ConfigError, match="quiet_hours"):
        controls(ManualClock()).quiet_hours((span,))


CONFIG = replace(Config(), web=WebSection(enabled=True))


def clock_of(manual):
    return Clock(now=manual.now, monotonic=manual.monotonic)


def controls(manual):
    return RemoteControls(lambda _: False, configured=lambda: CONFIG, clock=clock_of(manual))


def applied(remote, in_force):
    for change in remote.take():
        in_force = change(in_force)
    return in_force


def with_hours(*spans):
    return InForce(replace(CONFIG, listen=replace(CONFIG.listen, quiet_hours=spans)), paused=False)


@pytest.fixture
def time_zone():
    """Sets the time zone of this process."""
    before = os.environ.get("TZ")

    def set_zone(name):
        os.environ["TZ"] = name
        time.tzset()

    yield set_zone
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def local_span(manual, begin, end):
    moments = (manual.now().astimezone() + timedelta(minutes=minutes) for minutes in (begin, end))
    return "-".join(f"{moment:%H:%M}" for moment in moments)


def test_a_pause_for_a_time_ends_whatever_the_wall_clock_does():
    manual = ManualClock()
    wall = [timedelta(0)]
    clock = Clock(now=lambda: manual.now() + wall[0], monotonic=manual.monotonic)
    remote = RemoteControls(lambda _: False, configured=lambda: CONFIG, clock=clock)
    remote.pause(True, 3600.0)
    paused = applied(remote, InForce(CONFIG, paused=False))
    assert paused.pause_reason(clock).startswith("paused until ")
    wall[0] = timedelta(days=400)
    manual.sleep(3599.0)
    assert paused.pause_reason(clock)
    manual.sleep(2.0)
    assert not paused.pause_reason(clock)


def test_a_pause_is_a_week_long_at_most():
    manual = ManualClock()
    remote = controls(manual)
    remote.pause(True, 1e9)
    assert applied(remote, InForce(CONFIG, paused=False)).paused_until == 7 * 86_400


@pytest.mark.parametrize(
    ("zone", "begins", "seconds", "end"),
    [
        ("UTC", "2026-11-22 12:00", 86_399.0, "11:59"),
        ("UTC", "2026-11-22 12:00", 86_400.0, "2026-11-23 12:00"),
        ("UTC", "2026-11-22 12:00", 5 * 86_400.0, "2026-11-27 12:00"),
        # Summer time ends at 3:00 of the 25th.
        ("Europe/Berlin", "2026-10-24 21:00", 6 * 3600.0, "04:00"),
    ],
)
def test_the_end_of_a_pause_is_shown_with_its_date_from_a_day_on(time_zone, zone, begins, seconds, end):
    time_zone(zone)
    manual = ManualClock(datetime.fromisoformat(begins).replace(tzinfo=UTC))
    remote = controls(manual)
    remote.pause(True, seconds)
    paused = applied(remote, InForce(CONFIG, paused=False))
    assert paused.pause_reason(clock_of(manual)) == f"paused until {end}"


@pytest.mark.parametrize(
    ("begins", "hours"),
    [("2026-10-24 21:00", 9.0), ("2026-03-28 22:00", 7.0)],  # 23:00 in Berlin; summer time ends, and begins
)
def test_resuming_lasts_until_quiet_hours_end_in_a_night_of_another_length(time_zone, begins, hours):
    time_zone("Europe/Berlin")
    manual = ManualClock(datetime.fromisoformat(begins).replace(tzinfo=UTC))
    remote, clock = controls(manual), clock_of(manual)
    remote.pause(False)
    awake = applied(remote, with_hours("22:00-07:00"))
    for _ in range(round(hours * 60) - 1):
        manual.sleep(60.0)
        assert not awake.pause_reason(clock)
    assert awake.awake_until == hours * 3600.0


def test_a_pause_goes_on_after_a_restart_for_the_rest_of_its_time(tmp_path):
    manual = ManualClock()
    remote = controls(manual)
    remote.pause(True, 3600.0)
    SavedSettings(tmp_path, clock_of(manual)).save(CONFIG, applied(remote, InForce(CONFIG, paused=False)))
    later = ManualClock(manual.now() + timedelta(minutes=50))
    found = SavedSettings(tmp_path, clock_of(later)).applied(CONFIG)
    assert (found.paused, found.paused_until) == (True, 600.0)
    over = ManualClock(manual.now() + timedelta(minutes=61))
    found = SavedSettings(tmp_path, clock_of(over)).applied(CONFIG)
    assert (found.paused, found.paused_until) == (False, None)


def test_resuming_in_quiet_hours_lasts_until_they_end():
    manual = ManualClock()
    remote, clock = controls(manual), clock_of(manual)
    quiet = with_hours(local_span(manual, -30, 30))
    assert quiet.pause_reason(clock).startswith("quiet hours until ")
    remote.pause(False)
    awake = applied(remote, quiet)
    assert not awake.pause_reason(clock)
    # The next day at this time they are quiet hours again.
    manual.sleep(86_400.0)
    assert awake.pause_reason(clock)


def test_without_quiet_hours_no_estimate_needs_the_local_time():
    def unneeded():
        pytest.fail("the wall clock was read")

    clock = Clock(now=unneeded, monotonic=ManualClock().monotonic)
    assert not InForce(CONFIG, paused=False).pause_reason(clock)


def test_a_reset_brings_back_hours_outputs_and_estimates(tmp_path):
    manual = ManualClock()
    remote = controls(manual)
    changed = with_hours("22:00-07:00")._replace(paused=True, off=frozenset({"history"}))
    remote.reset()
    found = applied(remote, changed)
    assert found == InForce(CONFIG, paused=False)
    SavedSettings(tmp_path, clock_of(manual)).save(CONFIG, found)
    assert not (tmp_path / "settings.json").exists()


def test_hours_that_were_set_give_way_to_a_changed_configuration(tmp_path):
    clock = clock_of(ManualClock())
    SavedSettings(tmp_path, clock).save(CONFIG, with_hours("22:00-07:00"))
    assert SavedSettings(tmp_path, clock).applied(CONFIG).config.listen.quiet_hours == ("22:00-07:00",)
    edited = with_hours("21:00-06:00").config
    assert SavedSettings(tmp_path, clock).applied(edited).config.listen.quiet_hours == ("21:00-06:00",)


def test_mqtt_that_is_off_comes_back_where_no_page_could_switch_it_on(tmp_path):
    clock = clock_of(ManualClock())
    both = replace(CONFIG, mqtt=replace(CONFIG.mqtt, host="broker.lan"))
    SavedSettings(tmp_path, clock).save(both, InForce(both, paused=False, off=frozenset({"mqtt", "history"})))
    assert SavedSettings(tmp_path, clock).applied(both).off == {"mqtt", "history"}
    alone = replace(both, web=WebSection())
    assert SavedSettings(tmp_path, clock).applied(alone).off == {"history"}


def test_an_output_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"'mqtt' \(there is history\)"):
        controls(ManualClock()).output("mqtt", False)
