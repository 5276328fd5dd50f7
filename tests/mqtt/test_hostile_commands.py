"""Hostile commands: whatever they contain, only a valid value is ever set."""

import json
import logging
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headnod.testing import ManualClock
from support.hostile_commands import VERBS, hostile
from support.mqtt_payloads import KITCHEN, RecordingControls, Sent, commands_for


def test_ten_thousand_hostile_payloads_change_nothing_and_the_next_good_command_works(clock, caplog):
    controls = RecordingControls()
    commands = commands_for(controls, monotonic=clock.monotonic)
    caplog.set_level(logging.DEBUG)
    warm = 0
    for number, message in enumerate(hostile(KITCHEN, 10_000)):
        for topic, payload in commands.handle(message):
            # Whoever asks for health or info with nothing, or an object of nothing, does no harm.
            harmless = topic in {KITCHEN.response("health"), KITCHEN.response("info")}
            assert harmless or json.loads(payload)["status"] == "error", message
            assert len(payload) < 2048
        clock.sleep(1.0)
        if number == 2_000:
            warm = resident()
    assert controls.did == []
    assert resident() - warm < 5 << 20
    assert not [record for record in caplog.records if record.exc_info]
    ((_, answer),) = commands.handle(Sent(KITCHEN.setting("threshold"), b"0.5"))
    assert json.loads(answer)["status"] == "ok"
    assert controls.did == [("threshold", 0.5)]


def resident():
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["value", "model", "transaction"]) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)

payloads = (
    st.binary(max_size=64) | json_values.map(lambda value: json.dumps(value).encode()) | st.text().map(str.encode)
)


def check_that_only_a_good_value_is_set(kind, verb, payload):
    controls = RecordingControls()
    commands = commands_for(controls, monotonic=ManualClock().monotonic)
    ((_, answer),) = commands.handle(Sent(f"headnod/kitchen/{kind}/{verb}", payload))
    assert json.loads(answer)["status"] in {"ok", "error"}
    for key, value in controls.did:
        assert key == verb
        match key:
            case "pause":
                assert value is True or value is False
            case "activate":
                assert value in {"genre-0.1.0", "genre-0.2.0"}
            case "reset":
                assert value is None
            case _:
                assert type(value) is float
                assert 0 <= value <= 1


kinds, verbs = st.sampled_from(["set", "request"]), st.sampled_from(VERBS) | st.text(max_size=10)


@settings(max_examples=500)
@given(kind=kinds, verb=verbs, payload=payloads)
def test_whatever_is_sent_only_a_good_value_is_ever_set(kind, verb, payload):
    check_that_only_a_good_value_is_set(kind, verb, payload)


@pytest.mark.long
@settings(max_examples=10_000)
@given(kind=kinds, verb=verbs, payload=payloads)
def test_of_ten_thousand_examples_only_a_good_value_is_ever_set(kind, verb, payload):
    check_that_only_a_good_value_is_set(kind, verb, payload)
