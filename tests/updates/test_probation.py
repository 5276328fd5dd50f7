"""A probation: what it finds of a model by its estimates alone."""

import pytest
from msgspec.structs import replace

from headnod.inference.manifest import Health
from headnod.pipeline.estimate import State
from headnod.updates.manager import Probation, entropy
from support.estimates import condition, estimate, silence

BOUNDS = Health(0.1, 0.9)


def probation(windows=6, health=BOUNDS):
    return Probation(health, windows=windows, every=3.0)


def watched(record, *estimates):
    return [fault for each in estimates if (fault := record.check(each))]


def lively(number):
    return estimate("jazz", jazz=0.6 + number / 100, metal=0.3 - number / 100, rock=0.1)


def test_a_model_that_answers_as_it_promised_stands_it():
    record = probation()
    assert watched(record, *map(lively, range(6))) == []
    assert record.over
    assert record.windows == 6


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ({"jazz": 1.0}, "entropy 0.000, the manifest promises 0.1 to 0.9"),
        (
            dict.fromkeys(
                ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"), 0.1
            ),
            "entropy 1.000",
        ),
    ],
)
def test_answers_that_are_always_sure_or_never_are_a_collapse(scores, why):
    (fault,) = watched(probation(5), *[estimate("jazz", **scores)] * 5)
    assert why in fault


def test_one_answer_to_all_is_a_collapse_also_without_a_promise():
    (fault,) = watched(probation(6, None), *[lively(1)] * 6)
    assert fault == "its answers have collapsed: the same scores for 6 windows of music"


def test_scores_that_are_not_finite_end_it_at_once():
    assert watched(probation(), estimate("jazz", jazz=float("nan"), metal=0.5)) == ["its scores are not finite"]


def test_a_model_that_takes_longer_than_a_window_runs_behind():
    (fault, *_) = watched(probation(), *(replace(lively(number), latency=3500.0) for number in range(4)))
    assert fault == "it runs behind: 3.50 s per window every 3 s"


def test_one_slow_window_is_forgiven():
    assert watched(probation(), replace(lively(0), latency=9000.0), *map(lively, range(5))) == []


def test_sound_that_is_lost_again_and_again_is_a_fault():
    record = probation()
    assert [record.check_event(condition(State.BEHIND)) for _ in range(3)][-1].startswith("it runs behind")
    assert not probation().check_event(condition(State.WAITING))


def test_in_silence_it_ends_and_nothing_is_reported_answers():
    record = probation()
    assert watched(record, *[silence()] * 6) == []
    assert record.over
    assert record.windows == 0


def test_entropy_is_a_share_of_the_greatest():
    assert entropy((0.25,) * 4) == pytest.approx(1.0)
    assert entropy((1.0, 0.0)) == 0.0
    assert entropy((0.5, 0.5, 0.0, 0.0)) == pytest.approx(0.5)
