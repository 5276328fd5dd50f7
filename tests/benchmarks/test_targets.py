"""Every target is found in the figures of its row, and a miss is named with what explains it."""

import pytest

from benchmarks.reach import TARGETS, Target, Verdict, verdicts
from support.benchmark_rows import rows


def test_every_target_has_its_figure_in_the_rows():
    assert [each.target.what for each in verdicts(rows()) if each.value is None] == []


def test_targets_of_rows_that_were_not_measured_are_not_judged():
    assert {each.target.row for each in verdicts({"P8": rows()["P8"]})} == {"P8"}


@pytest.mark.parametrize(
    ("value", "missed", "beyond"),
    [(64.0, False, False), (64.1, True, False), (48.0, False, True), (None, False, False)],
)
def test_less_is_better_up_to_the_limit_and_beyond(value, missed, beyond):
    verdict = Verdict(Target("P4", "memory", ("ours",), 64, "MiB", 48), value)
    assert (verdict.missed, verdict.beyond) == (missed, beyond)


@pytest.mark.parametrize(
    ("value", "missed", "beyond"), [(60.0, False, False), (59.9, True, False), (100.0, False, True)]
)
def test_more_is_better_from_the_limit_on(value, missed, beyond):
    verdict = Verdict(Target("P1", "quicker", ("ratio",), 60, "x", 100, less_is_better=False), value)
    assert (verdict.missed, verdict.beyond) == (missed, beyond)


def test_a_miss_says_how_far_off_it_is():
    assert Verdict(Target("P8", "wake-ups", ("ours",), 5), 7.5).short == pytest.approx(0.5)


def test_both_models_have_targets_where_both_are_asked():
    for row in ("P1", "P2", "P6"):
        asked = {target.place[2] for target in TARGETS if target.row == row}
        assert asked == {"genre", "genre-small"}
