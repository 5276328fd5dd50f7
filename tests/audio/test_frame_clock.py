"""Frames per monotonic second: what was lost, what only waited, and what is a slow sound card."""

import pytest

from headnod.audio.blocks import FrameClock

RATE = 48_000
LUMP = RATE // 4


def told(clock, times, frames=LUMP):
    return [clock.lost(frames, now) for now in times]


def steady(start, seconds, lump=0.25):
    return [start + lump * count for count in range(1, round(seconds / lump) + 1)]


def test_nothing_is_lost_of_a_steady_stream():
    clock = FrameClock(RATE)
    assert set(told(clock, steady(100.0, 600.0))) == {0.0}
    assert clock.behind == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("drift", [0.995, 0.9999, 1.0001, 1.005])
def test_a_sound_card_with_a_clock_of_its_own_loses_nothing(drift):
    clock = FrameClock(RATE)
    assert set(told(clock, [100.0 + now * drift for now in steady(0.0, 3_600.0)])) == {0.0}


def test_frames_that_come_in_lumps_and_late_lose_nothing():
    clock = FrameClock(RATE)
    lateness = (0.0, 0.04, 0.11, 0.02, 0.2, 0.0, 0.01, 0.15)
    times = [now + lateness[place % len(lateness)] for place, now in enumerate(steady(0.0, 60.0))]
    assert set(told(clock, times)) == {0.0}


def test_of_whole_seconds_a_single_one_that_comes_late_loses_nothing():
    clock = FrameClock(RATE)
    late = (0.0, 0.2, 0.1, 0.0)
    times = [now + late[place % len(late)] for place, now in enumerate(steady(0.0, 60.0, lump=1.0))]
    assert set(told(clock, times, frames=RATE)) == {0.0}


def test_a_gap_between_whole_seconds_is_reported_once_and_to_its_length():
    clock = FrameClock(RATE)
    found = told(clock, [*steady(0.0, 10.0, lump=1.0), *steady(10.5, 10.0, lump=1.0)], frames=RATE)
    assert [missing for missing in found if missing] == [pytest.approx(0.5, abs=0.01)]


@pytest.mark.parametrize(("gap", "is_told"), [(0.049, False), (0.051, True)])
def test_a_gap_counts_from_fifty_milliseconds_on(gap, is_told):
    clock = FrameClock(RATE)
    told(clock, steady(0.0, 10.0))
    assert sum(told(clock, steady(10.0 + gap, 10.0))) == (pytest.approx(gap, abs=1e-6) if is_told else 0.0)


@pytest.mark.parametrize(("late", "uncertain"), [(0.049, False), (0.051, True)])
def test_a_delay_is_doubtful_from_fifty_milliseconds_on(late, uncertain):
    clock = FrameClock(RATE)
    told(clock, [*steady(0.0, 10.0), 10.25 + late])
    assert clock.uncertain == uncertain
    assert clock.behind == pytest.approx(late, abs=1e-6)


@pytest.mark.parametrize(("lump", "lumps"), [(0.25, 5), (1.0, 3)])
def test_a_gap_is_reported_after_a_second_and_three_lumps_at_least(lump, lumps):
    clock = FrameClock(RATE)
    told(clock, steady(0.0, 10.0, lump), frames=round(lump * RATE))
    found = told(clock, steady(10.3, 10.0, lump), frames=round(lump * RATE))
    assert [place + 1 for place, missing in enumerate(found) if missing] == [lumps]


@pytest.mark.parametrize("gap", [0.1, 0.5, 3.0, 60.0])
def test_a_gap_is_reported_once_and_to_its_length(gap):
    clock = FrameClock(RATE)
    assert set(told(clock, steady(0.0, 10.0))) == {0.0}
    found = told(clock, steady(10.0 + gap, 10.0))
    assert sum(found) == pytest.approx(gap, abs=0.01)
    assert sum(missing > 0 for missing in found) == 1


def test_several_gaps_are_reported_each():
    clock = FrameClock(RATE)
    found = told(clock, steady(0.0, 5.0)) + told(clock, steady(5.5, 5.0)) + told(clock, steady(11.5, 5.0))
    assert [missing for missing in found if missing] == pytest.approx([0.5, 1.0])


def test_a_hiccup_of_a_few_milliseconds_is_none():
    clock = FrameClock(RATE)
    assert set(told(clock, steady(0.0, 5.0)) + told(clock, steady(5.03, 20.0))) == {0.0}


def test_a_backlog_is_behind_until_it_is_read():
    clock = FrameClock(RATE)
    told(clock, steady(0.0, 10.0))
    # Nobody read for four seconds; then all of it comes at once.
    found, behind = [], []
    for count in range(16):
        found.append(clock.lost(LUMP, 14.0 + 0.001 * count))
        behind.append(clock.behind)
    assert sum(found) == 0.0
    assert behind[0] == pytest.approx(3.75, abs=0.01)
    assert behind[-1] == pytest.approx(0.0, abs=0.05)
    assert set(told(clock, steady(14.0, 10.0))) == {0.0}


def test_of_a_backlog_that_came_in_part_the_rest_is_lost():
    clock = FrameClock(RATE)
    told(clock, steady(0.0, 10.0))
    # Ten seconds passed, and buffers held only two of them.
    found = [clock.lost(LUMP, 20.0 + 0.001 * count) for count in range(8)]
    found += told(clock, steady(20.0, 5.0))
    assert sum(found) == pytest.approx(8.0, abs=0.05)


def test_the_first_frames_set_the_time_whenever_they_come():
    clock = FrameClock(RATE)
    assert clock.behind == 0.0
    assert clock.lost(LUMP, 1e9) == 0.0


@pytest.mark.parametrize(("late", "uncertain"), [(0.05, False), (0.050001, True)])
def test_a_delay_of_fifty_milliseconds_is_certain(late, uncertain):
    """Arrivals without frames, so that no rounding changes the delay."""
    clock = FrameClock(RATE)
    assert [clock.lost(0, now) for now in (0.0, late)] == [0.0, 0.0]
    assert clock.uncertain is uncertain


@pytest.mark.parametrize(("gap", "lost"), [(0.05, 0.0), (0.0625, 0.0625)])
def test_a_gap_of_fifty_milliseconds_is_none(gap, lost):
    clock = FrameClock(RATE)
    assert [clock.lost(0, now) for now in (0.0, gap, gap)] == [0.0, 0.0, 0.0]
    assert clock.lost(0, gap + 1.0) == lost
