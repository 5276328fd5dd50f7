"""A constant in the sound is taken away as the mean of the last seconds, and not before it is clear."""

import numpy as np
import pytest

from headnod.audio.blocks import Gap
from headnod.audio.processing import remove_dc
from headnod.pipeline.estimate import State

RATE = 1_000


def block(mean, size, swing=1.0):
    """Alternating samples with this mean and deviation."""
    return (mean + swing * np.where(np.arange(size) % 2, 1.0, -1.0)).astype(np.float32)


def removed(blocks, **options):
    """What was taken away from each block."""
    found = [each for each in remove_dc(iter(blocks), RATE, **options) if not isinstance(each, Gap)]
    return [float((before - after).mean()) for before, after in zip(blocks, found, strict=True)]


def test_it_is_the_mean_of_all_samples_so_far_whatever_the_blocks():
    means, sizes = (0.2, 0.5, -0.1), (100, 300, 600)
    expected = [np.average(means[:n], weights=sizes[:n]) for n in (1, 2, 3)]
    assert removed(list(map(block, means, sizes))) == pytest.approx(expected, abs=1e-6)


def test_after_ten_seconds_a_block_of_a_second_weighs_a_tenth():
    found = removed([block(0.0, RATE)] * 20 + [block(1.0, RATE)] * 2)
    assert found[-2:] == pytest.approx([0.1, 0.1 + 0.1 * 0.9], abs=1e-6)


def test_a_muted_stretch_counts_in_no_mean():
    muted = np.full(5 * RATE, 0.7, np.float32)
    found = removed([block(0.1, 200), muted, block(0.1, 200)])
    assert found == pytest.approx([0.1, 0.1, 0.1], abs=1e-6)


def test_a_gap_changes_no_mean():
    blocks = [block(0.1, 200), Gap(State.BEHIND, "lost"), block(0.3, 200)]
    found = list(remove_dc(iter(blocks), RATE))
    assert found[1] == blocks[1]
    assert float((blocks[2] - found[2]).mean()) == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize(("mean", "shifted"), [(0.099, False), (0.101, True), (-0.099, False), (-0.101, True)])
def test_what_is_asked_for_is_a_share_of_the_deviation(mean, shifted):
    (found,) = removed([block(mean, 500)], least=0.1)
    assert found == pytest.approx(mean if shifted else 0.0, abs=1e-6)


def test_the_deviation_is_a_mean_too_and_what_was_shifted_once_stays_so():
    loud, soft, none = block(0.15, 500, swing=2.0), block(0.15, 1_500, swing=0.5), block(0.0, 500, swing=2.0)
    found = removed([loud, soft, none], least=0.1)
    # Powers 4 and 0.25 weigh 1 to 3: a deviation of 1.09.
    assert found == pytest.approx([0.0, 0.15, 0.12], abs=1e-6)
