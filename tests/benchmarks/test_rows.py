"""A row says how much better ours is, whichever way better is."""

import json

import pytest

from benchmarks.rows import Row, unmeasured


def row(ours, baseline, *, less_is_better=True):
    return Row("seconds", "s", ours, baseline, "another", less_is_better=less_is_better)


def test_a_third_of_the_time_is_three_times_better():
    assert row(2.0, 6.0).ratio == 3.0


def test_three_times_the_speed_is_three_times_better():
    assert row(6.0, 2.0, less_is_better=False).ratio == 3.0


@pytest.mark.parametrize(("ours", "baseline"), [(None, 6.0), (2.0, None), (0.0, 6.0), (2.0, 0.0)])
def test_without_both_numbers_there_is_no_ratio(ours, baseline):
    assert row(ours, baseline).ratio is None


def test_json_has_the_numbers_and_what_they_are_of():
    told = json.loads(json.dumps(row(2.0, 6.0).as_json()))
    assert {key: told[key] for key in ("ours", "baseline", "ratio", "unit", "against")} == {
        "ours": 2.0,
        "baseline": 6.0,
        "ratio": 3.0,
        "unit": "s",
        "against": "another",
    }


def test_what_cannot_be_measured_says_why():
    told = unmeasured("memory", "MiB", "mosquitto is not installed").as_json()
    assert (told["ours"], told["ratio"]) == (None, None)
    assert told["more"] == {"unmeasured": "mosquitto is not installed"}
