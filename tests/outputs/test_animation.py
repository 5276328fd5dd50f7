import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.outputs.leds.motion import Motion

heights = st.lists(st.floats(0, 1), min_size=3, max_size=3)


@given(start=heights, goal=heights, seconds=st.floats(0, 20), part=st.floats(0, 1))
def test_two_steps_move_as_far_as_one(start, goal, seconds, part):
    whole, halves = Motion(3), Motion(3)
    for motion in (whole, halves):
        motion.move(start, 1e9)
    halves.move(goal, seconds * part)
    np.testing.assert_allclose(halves.move(goal, seconds * (1 - part)), whole.move(goal, seconds), atol=1e-9)


@given(start=heights, goal=heights, seconds=st.floats(0, 20))
def test_a_bar_never_shoots_past_its_target(start, goal, seconds):
    motion = Motion(3)
    motion.move(start, 1e9)
    between = motion.move(goal, seconds)
    assert np.all(between >= np.minimum(start, goal) - 1e-12)
    assert np.all(between <= np.maximum(start, goal) + 1e-12)


def test_bars_rise_faster_than_they_fall():
    motion = Motion(1, rise=0.15, fall=0.9)
    assert motion.move([1.0], 0.15) == pytest.approx(1 - np.exp(-1))
    motion.move([1.0], 1e9)
    assert motion.move([0.0], 0.9) == pytest.approx(np.exp(-1))


def test_a_time_constant_of_zero_jumps():
    assert Motion(2, rise=0, fall=0).move([1.0, 0.3], 0.001).tolist() == [1.0, 0.3]


def test_no_time_moves_nothing():
    motion = Motion(1, rise=0, fall=0)
    assert motion.move([1.0], 0.0).tolist() == [0.0]
    assert motion.move([1.0], -1.0).tolist() == [0.0]


def test_dropped_bars_are_down_at_once():
    motion = Motion(2)
    motion.move([1.0, 1.0], 9.0)
    motion.drop()
    assert motion.heights.tolist() == [0.0, 0.0]


def test_heights_cannot_be_changed_from_outside():
    motion = Motion(1)
    motion.move([1.0], 9.0)[:] = 0.0
    motion.heights[:] = 0.0
    assert motion.heights[0] > 0.99
