import json
import logging
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.dashboard.fleet import LISTENERS, Fleet
from headnod.dashboard.reading import LABELS, LARGEST
from headnod.dashboard.ribbon import SPAN
from headnod.sinks.palette import hexadecimal
from watching import information, song, told

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


class House:
    """A fleet with a clock that obeys, and what its browsers would know."""

    def __init__(self):
        self.now = NOON
        self.fleet = Fleet("headnod", now=lambda: self.now, zone=UTC)

    def say(self, topic, payload, *, node="kitchen", retained=False):
        self.fleet.hear(
            f"headnod/{node}/{topic}", payload if isinstance(payload, bytes) else payload.encode(), retained=retained
        )

    def hears(self, genre, *, node="kitchen", seconds=3.0, **changes):
        """Time passes, and then a listener tells what it heard."""
        self.now += seconds
        self.say("estimate", told(genre, node=node, at=changes.pop("at", self.now), **changes), node=node)

    @property
    def all(self):
        return {one["node"]: one for some in self.fleet.told() for one in some}

    @property
    def kitchen(self):
        return self.all["kitchen"]

    def genre(self, number, node="kitchen"):
        return self.all[node]["labels"]["names"][number][0]


@pytest.fixture
def house():
    return House()


def test_it_subscribes_to_what_listeners_tell_and_to_nothing_else(house):
    kinds = ("status", "state", "estimate", "song", "info", "health")
    assert set(house.fleet.subscriptions) == {f"headnod/+/{kind}" for kind in kinds}


def test_what_plays_is_told_with_its_bars_in_the_colours_of_the_palette(house):
    house.hears("jazz", jazz=0.7, rock=0.2)
    kitchen = house.kitchen
    names, order = kitchen["labels"]["names"], kitchen["labels"]["order"]
    assert {names[place][0]: bar for place, bar in zip(order, kitchen["now"]["bars"], strict=True) if bar} == {
        "jazz": 700,
        "rock": 200,
    }
    assert len(order) == 10
    assert house.genre(kitchen["now"]["genre"]) == "jazz"
    assert all(colour == hexadecimal(label) for label, colour in names)


def test_what_plays_has_played_since_its_run_began(house):
    for _ in range(5):
        house.hears("jazz")
    for _ in range(2):
        house.hears("rock")
    assert house.kitchen["now"]["since"] == NOON + 15
    assert house.kitchen["now"]["heard"] == NOON + 21


def test_the_same_estimate_as_state_and_as_estimate_is_one(house):
    payload = told("jazz", at=NOON)
    house.say("estimate", payload)
    house.fleet.changes()
    house.say("state", payload)
    assert house.fleet.changes() == ([], [])


def test_a_clock_that_is_wrong_at_a_listener_does_not_move_what_it_hears_now(house):
    house.hears("jazz", at=1000.0)
    assert house.kitchen["now"]["heard"] == house.now


def test_what_is_replayed_fills_the_ribbon_and_is_not_what_plays(house):
    house.hears("jazz")
    house.hears("metal", at=NOON - 600, replayed=True)
    assert house.genre(house.kitchen["now"]["genre"]) == "jazz"
    assert house.genre(house.kitchen["ribbon"][2]) == "metal"


def test_a_retained_state_says_what_played_when_it_was_made(house):
    house.say("state", told("jazz", at=NOON - 7200), retained=True)
    assert house.kitchen["now"]["heard"] == NOON - 7200


def test_a_listener_that_goes_is_offline_since_then(house):
    house.say("status", "online")
    house.now += 60
    house.say("status", "offline")
    assert house.kitchen["status"] == {"online": False, "since": NOON + 60}


def test_a_retained_offline_does_not_say_since_when(house):
    house.say("status", "offline", retained=True)
    assert house.kitchen["status"] == {"online": False, "since": None}


def test_songs_are_counted_by_genre_once_each_and_today_only(house):
    house.say("song", song("jazz", ended=NOON, name="1"))
    house.say("song", song("jazz", ended=NOON, name="1"))
    house.say("song", song("jazz", ended=NOON, name="2"))
    house.say("song", song("rock", ended=NOON - 86_400, name="3"))
    assert [(house.genre(genre), count, seconds) for genre, count, seconds in house.kitchen["songs"]] == [
        ("jazz", 2, 400)
    ]


def test_tomorrow_begins_with_no_songs(house):
    house.say("song", song("jazz", ended=NOON))
    house.fleet.changes()
    house.now += 86_400
    told_, _ = house.fleet.changes()
    assert told_[0]["songs"] == []


def test_a_new_listener_is_told_whole_and_then_only_what_changed(house):
    house.hears("jazz")
    (first,), _ = house.fleet.changes()
    house.hears("jazz")
    (second,), _ = house.fleet.changes()
    assert {"status", "labels", "now", "ribbon", "songs", "health", "info"} < first.keys()
    assert second.keys() == {"node", "now"}
    assert house.fleet.changes() == ([], [])


def test_a_whole_ribbon_is_told_at_most_every_five_seconds(house):
    house.hears("jazz")
    house.fleet.changes()
    house.hears("metal", at=NOON - 600, replayed=True, seconds=1.0)
    assert "ribbon" not in str(house.fleet.changes())
    house.now += 5
    assert "ribbon" in house.fleet.changes()[0][0]


def test_a_deleted_status_forgets_a_listener(house):
    house.say("status", "online")
    house.say("status", b"", retained=True)
    assert house.all == {}
    assert house.fleet.changes() == ([], ["kitchen"])


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
    assert len(label) == 32


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


def test_a_day_of_estimates_keeps_six_hours(house):
    for _ in range(2000):
        house.hears("jazz", seconds=20)
    start = house.kitchen["ribbon"][0]
    assert house.now - SPAN - 60 < start + house.kitchen["ribbon"][1]
    assert len(house.kitchen["ribbon"]) <= 3 * 2000
