"""A file at the pace of music."""

import numpy as np
import pytest

from headnod.audio.blocks import Gap, real_time
from headnod.pipeline.estimate import State
from headnod.testing import ManualClock


def block(seconds):
    return np.zeros(round(seconds * 1_000), np.float32)


def pulled(clock, blocks, *, working=0.0):
    times = []
    for _ in real_time(blocks, 1_000, monotonic=clock.monotonic, sleep=clock.sleep):
        times.append(clock.seconds)
        clock.seconds += working
    return times


def test_a_block_comes_when_it_would_have_been_heard_to_its_end():
    clock = ManualClock()
    clock.seconds = 70.0
    assert pulled(clock, [block(1.0), block(0.5), block(2.0)]) == pytest.approx([71.0, 71.5, 73.5])


def test_work_in_between_does_not_slow_the_music():
    assert pulled(ManualClock(), [block(1.0)] * 4, working=0.4) == pytest.approx([1.0, 2.0, 3.0, 4.0])


def test_who_is_late_catches_up_without_a_pause():
    clock = ManualClock()
    assert pulled(clock, [block(1.0)] * 3, working=5.0) == pytest.approx([1.0, 6.0, 11.0])
    assert min(clock.slept) >= 0.0


def test_holes_take_no_time():
    hole = Gap(State.WAITING, "nothing is there")
    assert pulled(ManualClock(), [hole, block(1.0), hole]) == pytest.approx([0.0, 1.0, 1.0])
