"""Whatever is told as if by a listener, the dashboard stays as it was, and no larger than it may be."""

import json
import logging
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.dashboard.fleet import LISTENERS
from headnod.dashboard.listener_state import LABELS, LARGEST, scores
from support.browser import estimate_json, information
from support.dashboard_fleet import NOON, FleetWithClock

HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b"{" * 9000,
    b"[" * 15_000,
    b'{"a":' * 3000,
    b'{"genre":"jazz"}',
    estimate_json("jazz") + b" " * LARGEST,
    estimate_json("jazz").replace(b'"genre":"jazz"', b'"genre":["jazz"]'),
    estimate_json("jazz").replace(b'"confidence":0.75', b'"confidence":NaN'),
    estimate_json("jazz").replace(b'"confidence":0.75', b'"confidence":1e999'),
    estimate_json("jazz").replace(b'"confidence":0.75', b'"confidence":-1'),
    estimate_json("jazz").replace(b'"confidence":0.75', b'"confidence":"0.75"'),
    estimate_json("jazz", at=1e300),
    estimate_json("jazz", at=-5.0),
]


@pytest.mark.parametrize("payload", HOSTILE)
@pytest.mark.parametrize("topic", ["state", "estimate", "song", "status"])
def test_what_is_no_payload_makes_no_listener(listeners, topic, payload):
    listeners.publish(topic, payload)
    assert listeners.all == {}


@pytest.mark.parametrize("topic", ["estimate", "state", "song", "info", "health"])
def test_a_retained_message_that_is_deleted_is_no_warning(listeners, topic, caplog):
    listeners.publish("estimate", estimate_json("jazz"))
    before = listeners.all
    listeners.publish(topic, b"")
    assert listeners.all == before
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("tags", "shown"),
    [
        (None, []),
        ("mellow", []),
        (["mellow"], []),
        ({str(number): 1.0 for number in range(1000)}, []),
        ({"": 1.0, "\u202e": 1.0, "\x1b[2Jsad": 1.0, "x" * 5000: 1.0}, ["[2Jsad", "x" * 64]),
        ({tag: {"deep": []} for tag in "abcdefgh"}, list("abcde")),
    ],
)
def test_of_hostile_tags_a_few_visible_letters_are_kept(listeners, tags, shown):
    listeners.publish("estimate", json.dumps({**json.loads(estimate_json("jazz", at=NOON)), "tags": tags}))
    assert listeners.kitchen["now"]["tags"] == shown


@given(
    st.sampled_from(["status", "state", "estimate", "song", "info", "health"]),
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.floats() | st.text(),
        lambda inner: st.dictionaries(
            st.sampled_from(
                ["genre", "labels", "time_unix", "confidence", "state", "scores_jazz", "end", "id", "duration_s"]
            ),
            inner,
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_nothing_that_can_be_said_breaks_the_fleet(topic, payload):
    listeners = FleetWithClock()
    listeners.publish(topic, payload)
    listeners.fleet.changes()
    json.dumps(listeners.all, allow_nan=False)
    listeners.publish_estimate("jazz")
    assert listeners.genre(listeners.kitchen["now"]["genre"]) == "jazz"


@pytest.mark.parametrize("node", ["", "a b", "x" * 65, "caf\u00e9", "a/b", "<b>"])
def test_a_listener_whose_name_cannot_be_is_left_alone(listeners, node):
    listeners.publish("status", "online", node=node)
    assert listeners.all == {}


def test_letters_that_nobody_sees_are_left_out_and_long_names_cut(listeners):
    listeners.publish_estimate("ja\u202ezz\x00\x1b[31m" + "z" * 5000)
    label = listeners.genre(listeners.kitchen["now"]["genre"])
    assert label.startswith("jazz[31mzz")
    assert len(label) == 64


@pytest.mark.parametrize(
    ("key", "read"),
    [("scores_" + "k" * 80, True), ("scores_" + "k" * 81, False), ("scores_", False), ("scores_<b>", False)],
)
def test_scores_have_keys_of_bounded_length_in_small_letters(key, read):
    assert scores({key: 0.5}) == ({key: 0.5} if read else {})


def test_markup_is_text_like_any_other(listeners):
    listeners.publish_estimate("<img src=x onerror=alert(1)>")
    assert listeners.genre(listeners.kitchen["now"]["genre"]) == "<img src=x onerror=alert(1)>"


def test_a_listener_has_so_many_labels_and_no_more(listeners):
    listeners.publish("info", information(*(f"l{number}" for number in range(500))))
    for number in range(500):
        listeners.publish_estimate(f"m{number}", **{f"s{number}_{each}": 0.01 for each in range(30)})
    names = listeners.kitchen["labels"]["names"]
    assert len(names) == LABELS + 2
    assert listeners.genre(listeners.kitchen["now"]["genre"]) == "unknown"
    assert len(listeners.kitchen["now"]["bars"]) <= LABELS


def test_there_are_so_many_listeners_and_no_more(listeners, caplog):
    with caplog.at_level(logging.WARNING):
        for number in range(LISTENERS + 200):
            listeners.publish("status", "online", node=f"room-{number}")
    assert len(listeners.fleet) == LISTENERS
    assert len(caplog.records) == 1
    assert f"there are {LISTENERS} listeners" in caplog.text


def test_one_that_was_silent_for_an_hour_makes_room(listeners):
    for number in range(LISTENERS):
        listeners.publish("status", "online", node=f"room-{number}")
    listeners.now += 3600
    listeners.publish("status", "online", node="new")
    assert len(listeners.fleet) == LISTENERS
    assert "new" in listeners.all


def test_bad_payloads_are_one_warning_in_five_minutes(listeners, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            listeners.publish("state", b"no")
            listeners.now += 2.9
        assert len(caplog.records) == 1
        listeners.now += 300
        listeners.publish("state", b"no")
    assert len(caplog.records) == 2
    assert "headnod/kitchen/state" in caplog.text


def test_a_thousand_hostile_listeners_would_cost_less_than_50_mib():
    listeners, count = FleetWithClock(), LISTENERS // 5
    tracemalloc.start()
    for number in range(count):
        node = f"room-{number}"
        for step in range(2):
            labels = {f"{step}_{each}" + "x" * 25: 0.01 for each in range(24)}
            listeners.publish(
                "estimate", estimate_json("y" * 200 + str(step), at=NOON + step, node=node, **labels), node=node
            )
        listeners.publish("health", json.dumps({"message": "m" * 10_000}), node=node)
        listeners.publish(
            "info", information(*("z" * 30 + str(each) for each in range(60)), board="b" * 8000), node=node
        )
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(listeners.fleet) == count
    assert size < (50 << 20) * count / LISTENERS
