"""Whatever is told as if by a listener, the dashboard stays as it was, and no larger than it may be."""

import json
import logging
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.dashboard.fleet import LISTENERS
from headnod.dashboard.listener_state import LABELS, LARGEST, scores
from support.browser import information, told
from support.dashboard_fleet import NOON, House

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
    told("jazz") + b" " * LARGEST,
    told("jazz").replace(b'"genre":"jazz"', b'"genre":["jazz"]'),
    told("jazz").replace(b'"confidence":0.75', b'"confidence":NaN'),
    told("jazz").replace(b'"confidence":0.75', b'"confidence":1e999'),
    told("jazz").replace(b'"confidence":0.75', b'"confidence":-1'),
    told("jazz").replace(b'"confidence":0.75', b'"confidence":"0.75"'),
    told("jazz", at=1e300),
    told("jazz", at=-5.0),
]


@pytest.mark.parametrize("payload", HOSTILE)
@pytest.mark.parametrize("topic", ["state", "estimate", "song", "status"])
def test_what_is_no_payload_makes_no_listener(house, topic, payload):
    house.say(topic, payload)
    assert house.all == {}


@pytest.mark.parametrize("topic", ["estimate", "state", "song", "info", "health"])
def test_a_retained_message_that_is_deleted_is_no_warning(house, topic, caplog):
    house.say("estimate", told("jazz"))
    before = house.all
    house.say(topic, b"")
    assert house.all == before
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
def test_of_hostile_tags_a_few_visible_letters_are_kept(house, tags, shown):
    house.say("estimate", json.dumps({**json.loads(told("jazz", at=NOON)), "tags": tags}))
    assert house.kitchen["now"]["tags"] == shown


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
    house = House()
    house.say(topic, payload)
    house.fleet.changes()
    json.dumps(house.all, allow_nan=False)
    house.hears("jazz")
    assert house.genre(house.kitchen["now"]["genre"]) == "jazz"


@pytest.mark.parametrize("node", ["", "a b", "x" * 65, "caf\u00e9", "a/b", "<b>"])
def test_a_listener_whose_name_cannot_be_is_left_alone(house, node):
    house.say("status", "online", node=node)
    assert house.all == {}


def test_letters_that_nobody_sees_are_left_out_and_long_names_cut(house):
    house.hears("ja\u202ezz\x00\x1b[31m" + "z" * 5000)
    label = house.genre(house.kitchen["now"]["genre"])
    assert label.startswith("jazz[31mzz")
    assert len(label) == 64


@pytest.mark.parametrize(
    ("key", "read"),
    [("scores_" + "k" * 80, True), ("scores_" + "k" * 81, False), ("scores_", False), ("scores_<b>", False)],
)
def test_scores_have_keys_of_bounded_length_in_small_letters(key, read):
    assert scores({key: 0.5}) == ({key: 0.5} if read else {})


def test_markup_is_text_like_any_other(house):
    house.hears("<img src=x onerror=alert(1)>")
    assert house.genre(house.kitchen["now"]["genre"]) == "<img src=x onerror=alert(1)>"


def test_a_listener_has_so_many_labels_and_no_more(house):
    house.say("info", information(*(f"l{number}" for number in range(500))))
    for number in range(500):
        house.hears(f"m{number}", **{f"s{number}_{each}": 0.01 for each in range(30)})
    names = house.kitchen["labels"]["names"]
    assert len(names) == LABELS + 2
    assert house.genre(house.kitchen["now"]["genre"]) == "unknown"
    assert len(house.kitchen["now"]["bars"]) <= LABELS


def test_there_are_so_many_listeners_and_no_more(house, caplog):
    with caplog.at_level(logging.WARNING):
        for number in range(LISTENERS + 200):
            house.say("status", "online", node=f"room-{number}")
    assert len(house.fleet) == LISTENERS
    assert len(caplog.records) == 1
    assert f"there are {LISTENERS} listeners" in caplog.text


def test_one_that_was_silent_for_an_hour_makes_room(house):
    for number in range(LISTENERS):
        house.say("status", "online", node=f"room-{number}")
    house.now += 3600
    house.say("status", "online", node="new")
    assert len(house.fleet) == LISTENERS
    assert "new" in house.all


def test_bad_payloads_are_one_warning_in_five_minutes(house, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            house.say("state", b"no")
            house.now += 2.9
        assert len(caplog.records) == 1
        house.now += 300
        house.say("state", b"no")
    assert len(caplog.records) == 2
    assert "headnod/kitchen/state" in caplog.text


def test_a_thousand_hostile_listeners_would_cost_less_than_50_mib():
    house, count = House(), LISTENERS // 5
    tracemalloc.start()
    for number in range(count):
        node = f"room-{number}"
        for step in range(2):
            labels = {f"{step}_{each}" + "x" * 25: 0.01 for each in range(24)}
            house.say("estimate", told("y" * 200 + str(step), at=NOON + step, node=node, **labels), node=node)
        house.say("health", json.dumps({"message": "m" * 10_000}), node=node)
        house.say("info", information(*("z" * 30 + str(each) for each in range(60)), board="b" * 8000), node=node)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(house.fleet) == count
    assert size < (50 << 20) * count / LISTENERS
