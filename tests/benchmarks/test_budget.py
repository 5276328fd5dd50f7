"""The budget fails for what is over its limit, and for what has none."""

import tomllib

import pytest

from benchmarks import budget
from benchmarks.material import bundles

LIMITS = tomllib.loads("""
["page faults a window"]
most = 0.2
reason = "memory is made once"
""")


@pytest.fixture
def said():
    return []


@pytest.mark.parametrize("value", [0.0, 0.2, -1.0])
def test_what_keeps_its_limit_is_ok(said, value):
    assert budget.check(LIMITS, {"page faults a window": value}, said.append) == 0
    assert said == [f"  ok    page faults a window: {value:.3g} of 0.2\n"]


def test_what_is_over_its_limit_fails_and_tells_the_reason(said):
    assert budget.check(LIMITS, {"page faults a window": 0.3}, said.append) == 1
    assert said == [
        "  OVER  page faults a window: 0.3 of 0.2\n",
        "        the limit is so because: memory is made once\n",
    ]


def test_what_cannot_be_measured_here_does_not_fail(said):
    assert budget.check(LIMITS, {}, said.append) == 0
    assert said == ["  -     page faults a window: not measured here\n"]


def test_what_has_no_limit_fails(said):
    assert budget.check(LIMITS, {"page faults a window": 0.0, "new": 1.0}, said.append) == 1
    assert said[-1] == "  ?     new: has no limit (write one into budget.toml)\n"


def test_one_that_keeps_its_limit_does_not_hide_one_that_is_over(said):
    limits = {**LIMITS, "second": {"most": 1.0, "reason": "so"}}
    assert budget.check(limits, {"page faults a window": 0.3, "second": 0.5}, said.append) == 1


def test_every_limit_has_a_number_and_a_reason():
    for name, limit in budget.limits().items():
        assert limit.keys() == {"most", "reason"}, name
        assert limit["reason"].strip(), name


@pytest.mark.parametrize("figure", ["model file in kB", "million multiply-adds", "partitions of the delegate"])
def test_the_budget_covers_each_shipped_model(figure):
    assert {f"{name}: {figure}" for name in bundles()} <= budget.limits().keys()


def test_the_shipped_models_keep_their_budget(said):
    sizes = budget.sizes()
    assert budget.check({name: budget.limits()[name] for name in sizes}, sizes, said.append) == 0, said
