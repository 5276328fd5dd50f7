"""A rollout through a real broker: some first, the others after, and nobody if those fail."""

import json
import threading

import pytest

from headnod.mqtt.broker import Broker as Where
from headnod_train.deploy.rollout import LARGEST, RolloutError, RolloutPlan, roll_out
from headnod_train.deploy.signing import opened, sign
from support import signed_bundles, taught_bundles
from support.command_line import PATIENCE
from support.mqtt_broker import Broker, Subscriber, missing
from support.rollout_listeners import there

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
            RolloutPlan(**{"channel": "stable", "timeout": PATIENCE, "quiet": 1.0, **plan}),
            lambda members, summary: shown.append((len(members), summary)),
        )
        return outcome, shown

    return run


def nodes(members):
    return [member.node for member in members]


def retained(broker):
    """What the broker keeps of models."""
    with Subscriber(broker, "headnod/deploy/+", "headnod/+/deploy", "headnod/end", name="late") as late:
        late.publish("headnod/end", b"x")
        late.until(lambda message: message.topic == "headnod/end")
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
    assert [each.received for each in others] == [[]] * 47, "it was never even sent to them"
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
    alone = [each.node for each in everybody if each.topics.deploy in each.received]
    assert alone == ["room-0", "room-1"], "two of the others made up the three"


def test_a_taught_model_goes_to_a_fleet_like_any_other(broker, listener, tmp_path):
    everybody = there(
        *(listener(f"room-{number}") for number in range(3)), listener("first", channel_="canary", tried=True)
    )
    (tmp_path / "taught.bundle").write_bytes(taught_bundles.sent())
    taught = opened(tmp_path / "taught.bundle")
    outcome = roll_out(
        taught.content,
        taught.digest,
        Where(broker.host, broker.port, "deploy"),
        "headnod",
        RolloutPlan(channel="stable", timeout=PATIENCE, quiet=1.0),
        lambda *_: None,
    )
    assert not outcome.stopped
    assert sorted(nodes(outcome.took)) == ["first", "room-0", "room-1", "room-2"]
    assert {each.current for each in everybody} == {"taught-2.0.0.2"}


def test_a_canary_that_gives_no_answer_stops_it(listener, rolled_out):
    there(listener("first", channel_="canary", deaf=True), room := listener("room"))
    outcome, _ = rolled_out(timeout=4.0)
    assert nodes(outcome.silent) == ["first"]
    assert outcome.stopped == "first: signature and hashes are good"
    assert room.received == []


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
    with Subscriber(broker, "headnod/late/model", name="watch") as watch:
        watch.until(lambda message: json.loads(message.payload)["stage"] == "kept")
    assert late.current == f"fixed-2.0.0.{signed.manifest.serial}"


@pytest.mark.long
def test_a_second_rollout_of_the_same_bundle_changes_nothing(listener, rolled_out):
    there(room := listener("room"))
    rolled_out()
    outcome, _ = rolled_out()
    assert nodes(outcome.took) == ["room"]
    assert room.installer.store.names() == [room.current]


def test_a_channel_that_nobody_hears_is_a_fault(rolled_out):
    with pytest.raises(RolloutError, match="no listener takes models of channel 'canary'"):
        rolled_out(channel="canary")


def test_a_bundle_of_more_than_a_mebibyte_is_refused_before_anything_is_sent():
    with pytest.raises(RolloutError, match="listeners accept 1048576 by MQTT"):
        roll_out(bytes(LARGEST + 1), "", Where("nowhere.invalid", 1, "x"), "headnod", RolloutPlan("stable"), print)


def test_a_broker_that_refuses_it_is_named(tmp_path, signed):
    acl = "topic read #\ntopic write headnod/+/status\n"
    with Broker(tmp_path / "strict", acl=acl) as strict:
        with Subscriber(strict) as all_of_it:
            all_of_it.publish("headnod/room/status", b"online")
        with pytest.raises(RolloutError, match=r"the broker refused \d+ bytes: not authorized"):
            roll_out(
                signed.content,
                signed.digest,
                Where(strict.host, strict.port, "deploy"),
                "headnod",
                RolloutPlan("stable", ("room",), quiet=1.0),
                lambda *_: None,
            )


@pytest.fixture
def another(tmp_path):
    """A bundle that somebody else rolls out meanwhile."""
    folder = signed_bundles.write(signed_bundles.good("3.0.0", serial=0, key=None, seed=3), tmp_path / "fixed-3.0.0")
    return sign(folder, signed_bundles.KEY).content


def held(broker, topic):
    """What the broker keeps there."""
    with Subscriber(broker, topic, name="holds") as holds:
        return holds.until(lambda message: message.topic == topic and message.payload).payload


@pytest.mark.parametrize("channel", ["canary", "stable"])
def test_a_rollout_that_stops_takes_back_its_own_bundle_only(broker, listener, rolled_out, another, channel):
    there(listener("first", channel_="canary", deaf=True), listener("room"))
    topic = f"headnod/deploy/{channel}"
    with Subscriber(broker, "headnod/deploy/canary", name="other") as other:
        running = threading.Thread(target=lambda: outcomes.append(rolled_out(timeout=8.0)[0]))
        outcomes = []
        running.start()
        other.until(lambda message: message.payload)
        other.publish(topic, another, retain=True)
        running.join(PATIENCE)
    (outcome,) = outcomes
    assert held(broker, topic) == another
    assert retained(broker) == {topic}
    if channel == "canary":
        assert outcome.stopped == "another rollout has replaced this model at headnod/deploy/canary"
        assert outcome.notes == [
            "headnod/deploy/canary: another rollout has published its own model there, and it stays"
        ]
    else:
        assert outcome.stopped.startswith("first: ")


def test_a_bundle_of_an_earlier_rollout_is_replaced_and_no_reason_to_stop(broker, listener, rolled_out, another):
    with Subscriber(broker, "headnod/end", name="earlier") as earlier:
        earlier.publish("headnod/deploy/stable", another, retain=True)
    there(listener("room"))
    outcome, _ = rolled_out()
    assert (outcome.stopped, outcome.notes) == ("", [])


def test_another_rollout_that_is_under_way_is_named(broker, listener, rolled_out):
    there(listener("room"))
    mark = json.dumps({"model": "genre-9.9.9 (7)\x1b", "host": "attic"}).encode()
    with Subscriber(broker, "headnod/end", name="other") as other:
        other.publish("headnod/deploy/rollout-1", mark, retain=True)
        outcome, _ = rolled_out()
    assert outcome.notes == ["another rollout is running: genre-9.9.9 (7) from attic"]


def test_a_rollout_leaves_no_mark_behind(broker, listener, rolled_out):
    there(listener("room"))
    rolled_out()
    assert retained(broker) == {"headnod/deploy/stable"}
