"""Commands: those of the list are applied and answered, all others are refused."""

import json

import pytest

from support.mqtt_payloads import KITCHEN, RecordingControls, Sent, commands_for, refusing_controls


@pytest.fixture
def controls():
    return RecordingControls()


@pytest.fixture
def commands(controls, clock):
    return commands_for(controls, monotonic=clock.monotonic)


def setting(key, payload):
    return Sent(KITCHEN.setting(key), payload)


def request(verb, payload=b""):
    return Sent(KITCHEN.request(verb), payload)


def answered(answers, verb):
    ((topic, payload),) = answers
    assert topic == f"headnod/kitchen/response/{verb}"
    return json.loads(payload)


@pytest.mark.parametrize(
    ("key", "payload", "value"),
    [
        ("threshold", b"0.5", 0.5),
        ("threshold", b"0", 0.0),
        ("threshold", b"1", 1.0),
        ("threshold", b'{"value": 0.25}', 0.25),
        ("brightness", b"0.75", 0.75),
        ("brightness", b"1e-2", 0.01),
        ("pause", b"ON", True),
        ("pause", b"OFF", False),
        ("pause", b"true", True),
        ("pause", b"false", False),
        ("pause", b'{"value": true}', True),
    ],
)
def test_a_setting_is_applied_and_answered(commands, controls, key, payload, value):
    answer = answered(commands.handle(setting(key, payload)), key)
    assert controls.did == [(key, value)]
    assert type(controls.did[0][1]) is type(value)
    assert answer == {"schema": 1, "status": "ok", "data": {key: value}}


@pytest.mark.parametrize(
    ("payload", "changes"),
    [
        (b'{"on": false}', {"on": False}),
        (b'{"brightness": 1}', {"brightness": 1.0}),
        (b'{"on": true, "brightness": 0.25, "effect": "mood"}', {"on": True, "brightness": 0.25, "effect": "mood"}),
    ],
)
def test_the_lights_are_changed_as_far_as_the_command_says(commands, controls, payload, changes):
    assert answered(commands.handle(setting("lights", payload)), "lights")["data"] == changes
    assert controls.did == [("lights", changes)]


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"{}", "is empty (an object with one or more of on, brightness, effect)"),
        (b"true", "is true (an object)"),
        (b'{"on": 1}', "is 1 (ON, OFF, true or false)"),
        (b'{"brightness": 1.5}', "is 1.5 (a number from 0 to 1)"),
        (b'{"effect": "fire"}', "effect: is 'fire' (there is bars, mood)"),
        (b'{"effect": 1}', "effect: is 1 (there is bars, mood)"),
        (b'{"colour": "red"}', "there is no key 'colour'"),
    ],
)
def test_lights_that_make_no_sense_are_refused(commands, controls, payload, error):
    answer = answered(commands.handle(setting("lights", payload)), "lights")
    assert (answer["status"], answer["error"]) == ("error", error)
    assert controls.did == []


@pytest.mark.parametrize(("verb", "field", "value"), [("health", "queued", 2), ("info", "certainty", 0.45)])
@pytest.mark.parametrize("payload", [b"", b"{}"])
def test_a_request_is_answered_with_what_was_asked_for(commands, verb, payload, field, value):
    answer = answered(commands.handle(request(verb, payload)), verb)
    assert answer["status"] == "ok"
    assert answer["data"][field] == value
    assert None not in answer["data"].values()


def test_a_model_that_is_there_is_activated_by_name(commands, controls):
    answer = answered(commands.handle(request("activate", b'{"model": "genre-0.2.0"}')), "activate")
    assert controls.did == [("activate", "genre-0.2.0")]
    assert answer["data"] == {"model": "genre-0.2.0"}


def test_a_model_that_is_not_there_is_refused_with_those_that_are(commands, controls):
    answer = answered(commands.handle(request("activate", b'{"model": "../genre"}')), "activate")
    assert controls.did == []
    assert answer["error"] == "there is no model '../genre' (there is genre-0.1.0, genre-0.2.0)"


@pytest.mark.parametrize(
    ("message", "verb", "status"),
    [
        (request("health", b'{"transaction": "t-1"}'), "health", "ok"),
        (setting("threshold", b'{"value": 0.5, "transaction": "t-1"}'), "threshold", "ok"),
        (setting("threshold", b'{"value": 7, "transaction": "t-1"}'), "threshold", "error"),
        (request("info", b'{"verbose": true, "transaction": "t-1"}'), "info", "error"),
    ],
)
def test_an_answer_bears_the_transaction_of_its_command(commands, message, verb, status):
    answer = answered(commands.handle(message), verb)
    assert (answer["transaction"], answer["status"]) == ("t-1", status)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (setting("threshold", b"1e999"), "not finite"),
        (setting("threshold", b"NaN"), "not finite"),
        (setting("threshold", b"9" * 900), "900 digits"),
        (setting("threshold", b'"0.5"'), "a number from 0 to 1"),
        (setting("threshold", b"1.5"), "a number from 0 to 1"),
        (setting("pause", b"1"), "ON, OFF, true or false"),
        (setting("pause", b"on"), "'on' is not JSON (a number, true, false, a text in quotation marks, or an object)"),
        (setting("threshold", b"0,5"), "'0,5' is not JSON"),
        (setting("pause", b"null"), "is null (ON, OFF, true or false)"),
        (setting("threshold", b"true"), "is true (a number from 0 to 1)"),
        (setting("brightness", b'{"value": 1, "value": 0}'), "'value' twice"),
        (setting("brightness", b'{"level": 1}'), "no key 'level'"),
        (setting("brightness", b""), "'value' is missing"),
        (setting("brightness", b"[" * 500 + b"]" * 500), "nested"),
        (setting("brightness", b'{"value": [1]}'), "nested"),
        (setting("brightness", b'{"value": {"value": 1}}'), "nested"),
        (setting("brightness", b" " * 2049), "longer than 2048 bytes"),
        (setting("brightness", "0.5".encode("utf-16")), "not UTF-8"),
        (request("activate", b'{"model": "\\ud800"}'), "surrogate"),
        (request("activate", b"{}"), "'model' is missing"),
        (request("health", b"1"), "an object"),
        (request("health", b'{"transaction": 7}'), "a text of up to 64 characters"),
    ],
)
def test_what_is_refused_is_reported_why_and_changes_nothing(commands, controls, message, why):
    ((_, payload),) = commands.handle(message)
    answer = json.loads(payload)
    assert answer["status"] == "error"
    assert why in answer["error"]
    assert controls.did == []


@pytest.mark.parametrize(
    ("verb", "where"), [("reboot", "reboot"), ("Pause", "Pause"), ("a/b", "unknown"), ("#", "unknown")]
)
def test_an_unknown_command_is_answered_where_a_topic_may_be(commands, verb, where):
    assert "there is no request/" in answered(commands.handle(request(verb)), where)["error"]
    assert "there is no set/" in answered(commands.handle(setting(verb, b"1")), where)["error"]


def test_a_setting_is_no_request_and_a_request_no_setting(commands, controls):
    assert answered(commands.handle(request("pause", b"ON")), "pause")["status"] == "error"
    assert answered(commands.handle(setting("activate", b'{"model": "genre-0.2.0"}')), "activate")["status"] == "error"
    assert controls.did == []


def test_a_retained_command_is_left_alone_with_one_warning(commands, controls, caplog):
    for _ in range(3):
        assert commands.handle(Sent(KITCHEN.setting("pause"), b"ON", retained=True)) == []
    assert controls.did == []
    (record,) = caplog.records
    assert record.getMessage().startswith("set/pause by MQTT is ignored: the broker retains it")
    for verb in ("a", "b"):
        assert commands.handle(Sent(KITCHEN.request(verb), b"", retained=True)) == []
    assert [each.getMessage().partition(" is ignored")[0] for each in caplog.records[1:]] == [
        "an unknown command by MQTT"
    ]


@pytest.mark.parametrize(
    "topic",
    [
        "homeassistant/status",
        "headnod/cellar/set/pause",
        "headnod/kitchen/state",
        "headnod/kitchen",
        "headnod/kitchen/request/test",
        "",
    ],
)
def test_a_message_that_is_no_command_is_left_alone(commands, controls, topic):
    assert commands.handle(Sent(topic, b"ON")) == []
    assert controls.did == []


def test_what_the_controls_refuse_is_reported_in_their_words(clock):
    answer = answered(
        commands_for(refusing_controls(), monotonic=clock.monotonic).handle(setting("brightness", b"1")),
        "brightness",
    )
    assert answer["error"] == "there are no lights (set leds.kind)"


@pytest.mark.parametrize("bug", [RuntimeError("a bug"), RecursionError(), MemoryError(), KeyError("x")])
def test_a_bug_is_answered_and_logged_and_the_next_command_is_applied(clock, caplog, bug):
    controls = RecordingControls(breaks=bug)
    commands = commands_for(controls, monotonic=clock.monotonic)
    answer = answered(commands.handle(setting("pause", b"ON")), "pause")
    assert answer["error"] == "it failed: see headnod's log"
    assert "set/pause by MQTT failed" in caplog.text
    assert answered(commands.handle(request("health")), "health")["status"] == "ok"


def test_not_even_a_broken_message_raises(commands, caplog):
    class Broken:
        topic = property(lambda _: {}["topic"])

    assert commands.handle(Broken()) == []
    assert "could not be handled" in caplog.text


def test_ten_commands_are_heard_at_once_and_five_a_second_after(commands, controls, clock):
    answers = [commands.handle(setting("threshold", b"0.5")) for _ in range(40)]
    assert len(controls.did) == 10
    assert "too many commands" in answered(answers[10], "threshold")["error"]
    assert answers[11:] == [[]] * 29
    clock.sleep(1.0)
    for _ in range(40):
        commands.handle(setting("threshold", b"0.5"))
    assert len(controls.did) == 15


def test_a_flood_is_reported_anew_after_commands_were_heard_again(commands, clock):
    def told():
        return sum(len(commands.handle(setting("pause", b"ON"))) for _ in range(30))

    assert told() == 11
    clock.sleep(2.0)
    assert told() == 11


def test_a_cause_is_logged_once_in_five_minutes(commands, clock, caplog):
    for _ in range(299):
        commands.handle(setting("threshold", b"NaN"))
        clock.sleep(1.0)
    assert len(caplog.records) == 1
    clock.sleep(2.0)
    commands.handle(setting("threshold", b"NaN"))
    assert len(caplog.records) == 2


def test_a_stranger_cannot_write_into_the_log_what_he_likes(commands, caplog):
    commands.handle(setting("threshold", b'"a\\nb\\u001b[2J\\u202e\xc3\xbc' + b"x" * 1000 + b'"'))
    (record,) = caplog.records
    assert record.message.isascii()
    assert record.message.isprintable()
    assert len(record.message) < 200
