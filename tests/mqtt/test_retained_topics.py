"""Retained topics: whatever was published is removed once it is no longer wanted."""

import json

import pytest

from headnod.mqtt.discovery import RetainedTopics
from headnod.mqtt.homeassistant import discovery
from headnod.mqtt.topics import Topics
from support.home_assistant import HomeAssistant
from support.mqtt_payloads import KITCHEN, info


class Retained(dict):
    """A broker's retained messages, with Home Assistant at the other end."""

    def __init__(self):
        super().__init__()
        self.home = HomeAssistant()

    def follow(self, ledger, wanted):
        for step in ledger.plan(wanted):
            for topic, payload in step.items():
                self.home.receive(topic, payload)
                self[topic] = payload
                if not payload:
                    del self[topic]
        ledger.complete(wanted)


@pytest.fixture
def broker():
    return Retained()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "discovery.json"


def test_the_first_time_there_is_nothing_to_remove(path):
    wanted = discovery(info(), KITCHEN)
    assert RetainedTopics(path).plan(wanted) == [wanted]


def test_the_same_again_is_one_step(path, broker):
    wanted = discovery(info(), KITCHEN)
    broker.follow(RetainedTopics(path), wanted)
    assert RetainedTopics(path).plan(wanted) == [wanted]


@pytest.mark.parametrize(
    ("topics", "options"),
    [
        (Topics("headnod", "cellar"), {}),
        (Topics("house", "kitchen"), {}),
        (KITCHEN, {"prefix": "ha"}),
        (KITCHEN, {"form": "component"}),
        (Topics("house", "cellar"), {"prefix": "ha", "form": "component"}),
    ],
    ids=["node", "base", "prefix", "form", "all"],
)
def test_after_a_change_only_what_is_wanted_is_left(path, broker, topics, options):
    broker.home = HomeAssistant(options.get("prefix", "homeassistant"))
    first = discovery(info(), KITCHEN)
    broker.update(first)
    RetainedTopics(path).plan(first)
    wanted = discovery(info(node=topics.node), topics, **options)
    for step in RetainedTopics(path).plan(wanted):
        broker.update(step)
    assert {topic: payload for topic, payload in broker.items() if payload} == wanted


def test_old_topics_are_emptied_before_new_ones_are_reported(path):
    RetainedTopics(path).plan(discovery(info(), KITCHEN))
    wanted = discovery(info(node="cellar"), Topics("headnod", "cellar"))
    assert RetainedTopics(path).plan(wanted) == [{"homeassistant/device/headnod_kitchen/config": b""}, wanted]


@pytest.mark.parametrize("forms", [("device", "component"), ("component", "device")])
def test_a_change_of_form_moves_the_entities_instead_of_removing_them(path, broker, forms):
    before, after = (discovery(info(), KITCHEN, form=form) for form in forms)
    broker.follow(RetainedTopics(path), before)
    entities = broker.home.entities.keys()
    marked, told, emptied = RetainedTopics(path).plan(after)
    assert marked.keys() == before.keys()
    assert {json.dumps(json.loads(mark)) for mark in marked.values()} == {'{"migrate_discovery": true}'}
    assert told == after
    assert emptied == dict.fromkeys(sorted(before), b"")
    broker.follow(RetainedTopics(path), after)
    assert broker == after
    assert broker.home.entities.keys() == entities


def test_other_labels_change_the_options_and_no_topic(path, broker):
    ledger = RetainedTopics(path)
    broker.follow(ledger, discovery(info(labels=("jazz", "metal")), KITCHEN))
    wanted = discovery(info(labels=("tango", "jazz")), KITCHEN)
    assert ledger.plan(wanted) == [wanted]
    broker.follow(ledger, wanted)
    assert broker.home.entities["sensor.kitchen_genre"].options["options"] == ["tango", "jazz", "silence", "unknown"]


def test_discovery_that_is_switched_off_leaves_nothing(path, broker):
    broker.follow(RetainedTopics(path), discovery(info(), KITCHEN, form="component"))
    broker.follow(RetainedTopics(path), {})
    assert broker == {}
    assert RetainedTopics(path).plan({}) == []


def test_what_the_broker_did_not_acknowledge_is_removed_the_next_time(path):
    RetainedTopics(path).plan(discovery(info(), KITCHEN))
    cellar = discovery(info(node="cellar"), Topics("headnod", "cellar"))
    RetainedTopics(path).plan(cellar)
    assert RetainedTopics(path).plan(cellar)[0] == {"homeassistant/device/headnod_kitchen/config": b""}


def test_without_a_file_it_remembers_as_long_as_it_lives(broker):
    ledger = RetainedTopics(None)
    broker.follow(ledger, discovery(info(), KITCHEN))
    broker.follow(ledger, {})
    assert broker == {}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'["a"', b"null"])
def test_a_damaged_file_is_reported_and_begun_anew(path, caplog, content):
    path.parent.mkdir()
    path.write_bytes(content)
    wanted = discovery(info(), KITCHEN)
    assert RetainedTopics(path).plan(wanted) == [wanted]
    assert str(path) in caplog.text
    assert RetainedTopics(path).topics == wanted.keys()


def test_a_ledger_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").touch()
    wanted = discovery(info(), KITCHEN)
    ledger = RetainedTopics(tmp_path / "file" / "discovery.json")
    assert ledger.plan(wanted) == [wanted]
    assert "retained under a former name may remain" in caplog.text


def test_no_half_written_file_is_ever_in_its_place(path, broker):
    broker.follow(RetainedTopics(path), discovery(info(), KITCHEN))
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("topics", [Topics("headnod", "lounge"), Topics("house/one", "kitchen")], ids=["node", "base"])
def test_after_a_rename_everything_that_was_retained_is_emptied_and_nothing_of_the_new_name(path, topics):
    RetainedTopics(path, own=KITCHEN.retained).plan({})
    (emptied,) = RetainedTopics(path, own=topics.retained).plan({})
    assert emptied == dict.fromkeys(sorted(KITCHEN.retained), b"")
    assert RetainedTopics(path, own=topics.retained).topics == {*KITCHEN.retained, *topics.retained}


def test_what_is_retained_under_the_present_name_is_never_emptied(path):
    ledger = RetainedTopics(path, own=KITCHEN.retained)
    wanted = discovery(info(), KITCHEN)
    assert ledger.plan(wanted) == [wanted]
    ledger.complete(wanted)
    assert RetainedTopics(path, own=KITCHEN.retained).plan({}) == [dict.fromkeys(wanted, b"")]


def test_a_name_that_comes_back_is_no_longer_emptied(path):
    RetainedTopics(path, own=KITCHEN.retained).plan({})
    lounge = RetainedTopics(path, own=Topics("headnod", "lounge").retained)
    lounge.plan({})
    assert KITCHEN.retained[0] not in RetainedTopics(path, own=KITCHEN.retained).plan({})[0]
