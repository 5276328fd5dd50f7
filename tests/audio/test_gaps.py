"""What is late is held back until it is known whether it waited or lies behind a gap."""

import numpy as np
import pytest

from headnod.audio.blocks import GapDetector

RATE = 48_000
LUMP = RATE // 4


class Stream:
    """Lumps of a quarter of a second, numbered by their samples."""

    def __init__(self):
        self.doubt, self.number = GapDetector(RATE), 0
        self.heard, self.missing = [], []

    def come(self, now):
        """The next lump comes; gives what is sure then."""
        missing, sound = self.doubt.update(np.full((LUMP, 1), self.number, np.float32), now)
        self.number += 1
        numbers = [int(lump[0, 0]) for lump in sound]
        self.heard += numbers
        if missing:
            self.missing.append((missing, numbers[0]))
        return numbers

    def steady(self, start, seconds):
        return [self.come(start + 0.25 * count) for count in range(1, round(seconds / 0.25) + 1)]


@pytest.fixture
def stream():
    """Ten seconds of it, on time."""
    stream = Stream()
    assert stream.steady(0.0, 10.0) == [[number] for number in range(40)]
    return stream


def test_what_only_waited_is_heard_when_something_on_time_follows(stream):
    assert stream.come(10.45) == []
    assert stream.come(10.52) == [40, 41]
    assert stream.missing == []


def test_what_is_a_little_late_is_heard_at_once(stream):
    assert stream.come(10.29) == [40]


@pytest.mark.parametrize("gap", [0.06, 0.1, 0.3, 0.9])
def test_no_sound_from_around_a_gap_is_heard_and_all_of_it_is_reported_as_missing(stream, gap):
    after = stream.steady(10.0 + gap, 10.0)
    # The gap may lie anywhere in the first lump that is late.
    assert stream.heard[:42] == [*range(40), 44, 45]
    assert stream.missing == [(pytest.approx(gap + 1.0), 44)]
    assert after[4:] == [[number] for number in range(44, 80)]


def test_sound_that_lies_between_two_gaps_is_dropped_with_them(stream):
    stream.steady(10.2, 0.5)
    stream.steady(10.9, 10.0)
    (missing,) = stream.missing
    assert missing == (pytest.approx(0.4 + 1.5), 46)
    assert stream.heard[40] == 46


def test_every_second_is_heard_or_missing_whatever_comes_when(stream, rng):
    now = 10.0
    for _ in range(400):
        now += 0.25 + (rng.uniform(0.06, 1.5) if rng.random() < 0.1 else 0.0)
        stream.come(now)
    stream.steady(now, 5.0)
    seconds = 0.25 * len(stream.heard) + sum(missing for missing, _ in stream.missing)
    assert seconds == pytest.approx(now + 5.0, abs=0.06)
    assert stream.heard == sorted(set(stream.heard))


def test_what_is_stale_is_dropped_and_not_what_follows(stream):
    # Nobody read for four seconds; then all of it comes at once.
    for count in range(16):
        stream.come(14.0 + 0.001 * count)
    stream.steady(14.0, 1.0)
    ((missing, first),) = stream.missing
    assert (missing, first) == (pytest.approx(3.0, abs=0.26), pytest.approx(52, abs=1))
    assert stream.heard[40:] == list(range(first, 60))


def test_a_card_that_is_slower_than_it_says_is_heard_all_the_same():
    stream = Stream()
    for count in range(400):
        stream.come(0.28 * count)
    assert stream.heard == list(range(len(stream.heard)))
    assert len(stream.heard) > 390
    assert stream.missing == []


@pytest.mark.parametrize(("late", "missing"), [(0.999, False), (1.001, True)])
def test_sound_that_is_more_than_a_second_late_is_not_used(stream, late, missing):
    assert stream.come(10.25 + late) == []
    # The next lumps are on time again, so that nothing was lost between them.
    stream.steady(10.25, 2.0)
    assert (stream.missing == [(pytest.approx(0.25), 41)]) is missing
    assert (40 in stream.heard) is not missing


def test_late_sound_is_held_back_for_three_seconds_at_most():
    stream = Stream()
    released = [len(stream.come(0.28 * count)) for count in range(40)]
    # After the first lump every one is late; 3.08 s are eleven steps.
    assert released == [1, 1, *([0] * 11 + [12]) * 3, 0, 0]
