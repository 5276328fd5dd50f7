"""Commands with more than one value: pauses that end, quiet hours, outputs, and those that the page has, too."""

import json
from datetime import datetime

import pytest

from headnod.errors import ConfigError
from headnod.resources import demo_clip
from headnod.teaching.corrections import CorrectionStore
from support.listener_process import STARTING
from support.mqtt_payloads import KITCHEN, RecordingControls, Sent, commands_for

NODE = "headnod/kitchen"


class More:
    """Commands that say what they were given."""

    def call(self, name, arguments):
        if name == "rollback":
            raise ConfigError("the previous model is not known")
        return {"name": name, **arguments}


@pytest.fixture
def controls():
    return RecordingControls()


@pytest.fixture
def commands(controls, clock):
    return commands_for(controls, More(), monotonic=clock.monotonic)


def answer(commands, topic, payload):
    ((_, answered),) = commands.handle(Sent(topic, payload))
    return json.loads(answered)


@pytest.mark.parametrize(
    ("key", "payload", "did", "data"),
    [
        ("pause", b'{"value": true, "seconds": 3600}', (True, 3600.0), {"pause": True, "seconds": 3600}),
        ("pause", b'{"value": false}', False, {"pause": False}),
        ("quiet_hours", b'"22:00-07:00, 13:00-14:00"', ("22:00-07:00", "13:00-14:00"), None),
        ("quiet_hours", b'{"value": ""}', (), {"quiet_hours": ""}),
        ("output", b'{"name": "leds.2", "on": false}', ("leds.2", False), {"output": "leds.2", "on": False}),
    ],
)
def test_a_setting_with_several_values_is_applied_and_answered(commands, controls, key, payload, did, data):
    found = answer(commands, KITCHEN.setting(key), payload)
    assert controls.did == [(key, did)]
    assert found["status"] == "ok"
    assert data is None or found["data"] == data


@pytest.mark.parametrize(
    ("key", "payload", "reason"),
    [
        ("pause", b'{"value": true, "seconds": 0}', "a number over 0"),
        ("pause", b'{"value": true, "seconds": true}', "a number over 0"),
        ("pause", b'{"value": true, "minutes": 5}', "no key 'minutes'"),
        ("threshold", b'{"value": 0.5, "seconds": 5}', "no key 'seconds'"),
        ("quiet_hours", b"22", "a text"),
        ("output", b'{"name": "leds"}', "'on' is missing"),
        ("output", b'{"name": "leds", "on": 1}', "true or false"),
        ("output", b"false", "an object"),
    ],
)
def test_what_is_ambiguous_is_refused(commands, controls, key, payload, reason):
    found = answer(commands, KITCHEN.setting(key), payload)
    assert (found["status"], controls.did) == ("error", [])
    assert reason in found["error"]


def test_a_shared_command_gets_its_arguments_without_the_transaction(commands):
    found = answer(commands, KITCHEN.request("label"), b'{"label": "Reggae", "transaction": "7"}')
    assert found["data"] == {"name": "label", "label": "Reggae"}
    assert found["transaction"] == "7"


def test_a_shared_command_that_refuses_is_answered_with_its_reason(commands):
    assert answer(commands, KITCHEN.request("rollback"), b"")["error"] == "the previous model is not known"
    assert answer(commands, KITCHEN.request("label"), b'"Reggae"')["status"] == "error"


def test_commands_of_the_page_alone_are_not_for_mqtt(commands):
    assert "there is no request/teach" in answer(commands, KITCHEN.request("teach"), b"")["error"]


def test_a_correction_by_mqtt_arrives_in_the_state_folder_of_the_real_listener(broker, subscriber, listening, state):
    listening(broker.port, "--audio", str(demo_clip()), "--pace", "real", "--every", "0.3")
    first, *_, last = (json.loads(each) for each in subscriber.until_on("/estimate", 12, STARTING + 60.0))
    start, end = (datetime.fromisoformat(each["ts"]).timestamp() for each in (first, last))
    subscriber.publish(f"{NODE}/request/correct", json.dumps({"start": start, "end": end + 0.01, "label": "reggae"}))
    said = json.loads(subscriber.until_on("/response/correct", 1, 20.0)[0])
    assert said["status"] == "ok", said
    (found,) = CorrectionStore(state).all()
    assert (found.label, found.source, found.windows) == ("reggae", "person", said["data"]["windows"])
    assert found.windows >= 10
    subscriber.publish(f"{NODE}/request/label", json.dumps({"label": "a\nb"}))
    assert "cannot be printed" in json.loads(subscriber.until_on("/response/label", 1, 20.0)[0])["error"]
    subscriber.publish(f"{NODE}/request/label", json.dumps({"genre": "jazz"}))
    assert json.loads(subscriber.until_on("/response/label", 2, 20.0)[1])["error"] == (
        "label: object contains unknown field `genre` (there is label)"
    )
