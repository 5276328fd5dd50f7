"""The listener that runs: new models by MQTT, while it hears music."""

import json
import signal

import pytest

from support import signed_bundles
from support.listener_process import is_estimate
from support.model_changes import OWN, STABLE, decoded, of_model, stages, until_stage
from support.mqtt_broker import missing
from support.signed_bundles import good, sent
from support.sound_loss import goes_on

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")


def test_a_model_that_is_sent_is_tried_put_to_use_and_kept_and_no_window_is_lost(subscriber, listening):
    listener = listening()
    before = listener.until(is_estimate)
    assert before["model"] == "fixed-0.1.0"
    subscriber.publish(STABLE, sent(version="2.0.0", serial=7), retain=True)
    kept = until_stage(subscriber, "kept", "fixed-2.0.0")
    said = [before, *filter(is_estimate, listener.everything_until(of_model("2.0.0")))]
    assert [each["sequence"] for each in said] == list(range(before["sequence"], before["sequence"] + len(said)))
    assert goes_on(said)
    assert {tuple(each["scores"]) for each in said} == {("calm", "loud"), ("jazz", "metal")}
    assert all((each["model"] == "fixed-2.0.0") == ("jazz" in each["scores"]) for each in said)
    assert list(dict.fromkeys(stages(subscriber))) == ["verified", "tested", "probation", "kept"]
    assert kept["serial"] == 7
    # Home Assistant's options follow.
    config = subscriber.until(
        lambda message: message.topic.startswith("homeassistant/device/") and b'"metal"' in message.payload
    )
    assert decoded(config)["components"]["genre"]["options"] == ["jazz", "metal", "silence", "unknown"]
    info = subscriber.until(lambda message: message.topic.endswith("/info") and decoded(message)["serial"] == 7)
    assert decoded(info)["labels"] == ["jazz", "metal"]
    assert decoded(info)["channel"] == "stable"
    infos = [json.loads(payload) for payload in subscriber.on("kitchen/info")]
    assert {(each["serial"], tuple(each["labels"])) for each in infos} == {
        (0, ("calm", "loud")),
        (7, ("jazz", "metal")),
    }


@pytest.mark.long
def test_what_was_retained_is_taken_at_the_start_and_a_restart_changes_nothing(subscriber, listening):
    subscriber.publish(OWN, sent(version="2.0.0", serial=7), retain=True)
    listener = listening()
    until_stage(subscriber, "kept", "fixed-2.0.0")
    listener.send(signal.SIGTERM)
    assert listener.ended()[0] == 0
    subscriber.clear()
    listener = listening()
    assert listener.until(is_estimate)["model"] == "fixed-2.0.0"
    until_stage(subscriber, "kept", "fixed-2.0.0")
    assert not {"tested", "probation", "refused"} & set(stages(subscriber))


@pytest.mark.parametrize(
    ("bundle", "why"),
    [
        (signed_bundles.join(good("2.0.0", key=signed_bundles.STRANGER)), "by none of the 1 keys"),
        pytest.param(signed_bundles.join(good("2.0.0", key=None)), "is not signed", marks=pytest.mark.long),
        pytest.param(b"\0" * 5000, "is not a headnod bundle", marks=pytest.mark.long),
        (signed_bundles.join(signed_bundles.bad("nan")), "nan"),
    ],
)
def test_what_is_refused_is_reported_and_the_listener_goes_on(subscriber, listening, bundle, why):
    listener = listening()
    listener.until(is_estimate)
    subscriber.publish(STABLE, bundle)
    refused = subscriber.until(
        lambda message: message.topic == "headnod/kitchen/model" and decoded(message)["stage"] == "refused"
    )
    assert why in decoded(refused)["message"]
    listener.clear()
    assert listener.until(is_estimate)["model"] == "fixed-0.1.0"
    assert listener.process.poll() is None


def test_a_model_whose_answers_collapse_gives_way_to_the_former(subscriber, listening, state):
    listener = listening()
    listener.until(is_estimate)
    subscriber.publish(STABLE, signed_bundles.join(signed_bundles.collapsed(serial=3)), retain=True)
    listener.until(of_model("6.6.6"))
    back = until_stage(subscriber, "rolled_back", "fixed-6.6.6")
    assert "its answers have collapsed" in back["message"]
    listener.until(of_model("0.1.0"))
    assert [each.name for each in (state / "models").iterdir() if each.name.startswith("fixed")] == []


def test_a_listener_that_is_killed_twice_on_probation_begins_with_the_former_model(subscriber, listening):
    listener = listening(probation=1000)
    listener.until(is_estimate)
    subscriber.publish(OWN, sent(version="2.0.0", serial=7))
    for version in ("2.0.0", "2.0.0"):
        listener.until(of_model(version))
        listener.send(signal.SIGKILL)
        listener.ended()
        listener = listening(probation=1000)
    assert listener.until(is_estimate)["model"] == "fixed-0.1.0"
    assert "ended abnormally 2 times" in until_stage(subscriber, "rolled_back", "fixed-2.0.0")["message"]


def test_where_updates_are_offered_home_assistant_starts_them(subscriber, listening):
    listener = listening(more='updates = "offer"')
    listener.until(is_estimate)
    subscriber.publish(STABLE, sent(version="2.0.0", serial=7), retain=True)
    until_stage(subscriber, "offered", "fixed-2.0.0")
    listener.clear()
    assert listener.until(is_estimate)["model"] == "fixed-0.1.0"
    offered = decoded(
        subscriber.until(
            lambda message: message.topic.endswith("/info") and decoded(message)["latest_model"] == "fixed-2.0.0"
        )
    )
    assert offered["model"] == "fixed-0.1.0"
    config = subscriber.until(
        lambda message: message.topic.startswith("homeassistant/device/") and b"fixed-2.0.0" in message.payload
    )
    update = decoded(config)["components"]["update"]
    subscriber.publish(update["command_topic"], update["payload_install"])
    until_stage(subscriber, "kept", "fixed-2.0.0")
    listener.until(of_model("2.0.0"))


@pytest.mark.long
def test_a_command_of_two_kilobytes_is_still_too_large(subscriber, listening):
    listener = listening()
    listener.until(is_estimate)
    subscriber.publish("headnod/kitchen/set/threshold", b" " * 4000 + b"0.5")
    subscriber.publish("headnod/kitchen/set/threshold", b"0.25")
    subscriber.until(lambda message: message.topic.endswith("/info") and decoded(message)["certainty"] == 0.25)
    assert len(subscriber.on("/response/threshold")) == 1


@pytest.mark.long
def test_ten_thousand_damaged_messages_leave_the_listener_as_it_was(subscriber, listening, state):
    listener = listening()
    listener.until(is_estimate)
    before = listener.settled()
    damaged = signed_bundles.mutations(sent(version="2.0.0", serial=7), 10_000, seed=1)
    subscriber.publish_all((STABLE, each) for each in damaged)
    listener.clear()
    assert listener.until(is_estimate)["model"] == "fixed-0.1.0"
    assert listener.process.poll() is None
    assert not (state / "models.json").exists()
    assert listener.settled().mebibytes - before.mebibytes < 15.0
