"""A rollout through a real broker: some first, the others after, and nobody if those fail."""

import json

import pytest

from broker import Broker, Heard, missing
from headnod.mqtt.link import Broker as Where
from headnod_train.deliver.rollout import LARGEST, Plan, RolloutError, roll_out
from takers import there

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


@pytest.fixture
def rolled_out(broker, signed):
    def run(**plan):
        shown = []
        outcome = roll_out(
            signed.content,
            signed.digest,
            Where(broker.host, broker.port, "deploy"),
            "headnod",
            Plan(**{"channel": "stable", "timeout": 30.0, "quiet": 0.3, **plan}),
            lambda members, summary: shown.append((len(members), summary)),
        )
        return outcome, shown

    return run


def nodes(members):
    return [member.node for member in members]


def retained(broker):
    """What the broker keeps of models."""
    with Heard(broker, "headnod/deploy/+", "headnod/+/deploy", "headnod/end", name="late") as late:
        late.publish("headnod/end", b"x")
        late.until(lambda message: message.topic == "headnod/end", 10.0)
        return {message.topic for message in late.messages if message.retain and message.payload}


def test_of_three_canaries_one_fails_and_the_other_forty_seven_keep_the_old_model(broker, listener, rolled_out):
    canaries = [
        listener(f"canary-{number}", channel_="canary", tried=True, fails="its answers have collapsed" * (number == 1))
        for number in range(3)
    ]
    others = [listener(f"room-{number:02}") for number in range(47)]
    there(*canaries, *others)
    outcome, shown = rolled_out()
    assert nodes(outcome.failed) == ["canary-1"]
    assert sorted(nodes(outcome.took)) == ["canary-0", "canary-2"]
    assert "its answers have collapsed" in outcome.stopped
    assert len(outcome.spared) == 47
    assert [each.current for each in others] == [None] * 47
    assert [each.heard for each in others] == [[]] * 47, "it was never even sent to them"
    assert canaries[1].current is None
    assert retained(broker) == set(), "and who comes back later does not find it"
    assert shown[0][0] == 3
    assert shown[0][1].endswith("of 3 under way")


def test_when_the_canaries_are_well_everybody_has_it(listener, rolled_out, signed):
    everybody = there(*(listener(f"room-{number}") for number in range(8)), listener("first", channel_="canary"))
    outcome, _ = rolled_out(canaries=3)
    assert sorted(nodes(outcome.took)) == sorted(each.node for each in everybody)
    assert {each.current for each in everybody} == {f"fixed-2.0.0.{signed.manifest.serial}"}
    assert not outcome.stopped
    alone = [each.node for each in everybody if each.topics.deploy in each.heard]
    assert alone == ["room-0", "room-1"], "two of the others made up the three"


def test_a_canary_that_gives_no_answer_stops_it(listener, rolled_out):
    there(listener("first", channel_="canary", deaf=True), room := listener("room"))
    outcome, _ = rolled_out(timeout=1.0)
    assert nodes(outcome.silent) == ["first"]
    assert outcome.stopped == "first: signature and hashes are good"
    assert room.heard == []


def test_only_the_nodes_that_are_named(broker, listener, rolled_out):
    there(*(rooms := [listener(name) for name in ("attic", "bath", "kitchen")]))
    outcome, _ = rolled_out(nodes=("attic", "kitchen", "shed"))
    assert nodes(outcome.took) == ["attic", "kitchen"]
    assert nodes(outcome.away) == ["shed"]
    assert [each.current is None for each in rooms] == [False, True, False]
    assert "headnod/shed/deploy" in retained(broker), "it finds it when it comes"


def test_who_was_away_takes_it_when_it_comes_back(broker, listener, rolled_out, signed):
    there(listener("room"))
    rolled_out()
    late = listener("late")
    there(late)
    with Heard(broker, "headnod/late/model", name="watch") as watch:
        watch.until(lambda message: json.loads(message.payload)["stage"] == "kept", 10.0)
    assert late.current == f"fixed-2.0.0.{signed.manifest.serial}"


@pytest.mark.long
def test_a_second_rollout_of_the_same_bundle_changes_nothing(listener, rolled_out):
    there(room := listener("room"))
    rolled_out()
    outcome, _ = rolled_out()
    assert nodes(outcome.took) == ["room"]
    assert room.intake.store.names() == [room.current]


def test_a_channel_that_nobody_hears_is_a_fault(rolled_out):
    with pytest.raises(RolloutError, match="no listener takes models of channel 'canary'"):
        rolled_out(channel="canary")


def test_a_bundle_of_more_than_a_mebibyte_is_refused_before_anything_is_sent():
    with pytest.raises(RolloutError, match="listeners take 1048576 by MQTT"):
        roll_out(bytes(LARGEST + 1), "", Where("nowhere.invalid", 1, "x"), "headnod", Plan("stable"), print)


def test_a_broker_that_refuses_it_is_named(tmp_path, signed):
    acl = "topic read #\ntopic write headnod/+/status\n"
    with Broker(tmp_path / "strict", acl=acl) as strict:
        with Heard(strict) as all_of_it:
            all_of_it.publish("headnod/room/status", b"online")
        with pytest.raises(RolloutError, match=r"the broker did not take \d+ bytes: not authorized"):
            roll_out(
                signed.content,
                signed.digest,
                Where(strict.host, strict.port, "deploy"),
                "headnod",
                Plan("stable", ("room",), quiet=0.3),
                lambda *_: None,
            )
