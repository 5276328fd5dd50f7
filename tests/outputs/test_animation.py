import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.pipeline.smoothing import EnvelopeFollower

heights = st.lists(st.floats(0, 1), min_size=3, max_size=3)


@given(start=heights, goal=heights, seconds=st.floats(0, 20), part=st.floats(0, 1))
def test_two_steps_move_as_far_as_one(start, goal, seconds, part):
    whole, halves = EnvelopeFollower(3), EnvelopeFollower(3)
    for motion in (whole, halves):
        motion.update(start, 1e9)
    halves.update(goal, seconds * part)
    np.testing.assert_allclose(halves.update(goal, seconds * (1 - part)), whole.update(goal, seconds), atol=1e-9)


@given(start=heights, goal=heights, seconds=st.floats(0, 20))
def test_a_bar_never_shoots_past_its_target(start, goal, seconds):
    motion = EnvelopeFollower(3)
    motion.update(start, 1e9)
    between = motion.update(goal, seconds)
    assert np.all(between >= np.minimum(start, goal) - 1e-12)
    assert np.all(between <= np.maximum(start, goal) + 1e-12)


def test_bars_rise_faster_than_they_fall():
    motion = EnvelopeFollower(1)
    assert motion.update([1.0], 0.15) == pytest.approx(1 - np.exp(-1))
    motion.update([1.0], 1e9)
    assert motion.update([0.0], 0.9) == pytest.approx(np.exp(-1))


def test_no_time_moves_nothing():
    motion = EnvelopeFollower(1)
    assert motion.update([1.0], 0.0).tolist() == [0.0]
    assert motion.update([1.0], -1.0).tolist() == [0.0]


def test_dropped_bars_are_down_at_once():
    motion = EnvelopeFollower(2)
    motion.update([1.0, 1.0], 9.0)
    motion.reset()
    assert motion.update([0.0, 0.0], 0.0).tolist() == [0.0, 0.0]


def test_heights_cannot_be_changed_from_outside():
    motion = EnvelopeFollower(1)
    motion.update([1.0], 9.0)[:] = 0.0
    assert motion.update([1.0], 0.0)[0] > 0.99
