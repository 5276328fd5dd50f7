"""What the dashboard knows of its listeners, from what they tell."""

import pytest
from msgspec.structs import replace

from headnod.dashboard.listener_state import SPAN
from headnod.mqtt.payloads import encode, estimate_payload
from headnod.outputs import colours, hexadecimal
from headnod.pipeline.estimate import HeldBy
from support.browser import information, song, told
from support.dashboard_fleet import NOON
from support.estimates import TAGS, other_labels, tagged


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
    chosen = colours(label for label, _ in names)
    assert dict(names) == {label: hexadecimal(each) for label, each in chosen.items()}


def test_tags_and_what_holds_a_genre_back_are_told(house):
    payload = estimate_payload(
        replace(tagged("unknown", jazz=0.4), held_by=HeldBy.THRESHOLD), node="kitchen", boot="b1"
    )
    house.say("estimate", encode(payload | {"time_unix": NOON}))
    assert house.kitchen["now"]["tags"] == list(TAGS)
    assert house.kitchen["now"]["held_by"] == "threshold"


def shown(house):
    return dict(house.kitchen["labels"]["names"])


def test_own_labels_have_the_colours_that_lights_and_terminal_give_them(house):
    labels = ("techno", "punk", "Hip-Hop", "Música")
    house.say("info", information(*labels))
    house.hears("punk", techno=0.2, punk=0.6)
    of_model = {label: hexadecimal(each) for label, each in colours(labels).items()}
    assert shown(house).items() >= of_model.items()


def test_a_model_with_other_labels_changes_the_colours_that_browsers_have(house):
    house.say("info", information("techno", "punk"))
    house.fleet.changes()
    house.say("info", information("techno", "acid"))
    ((change,), _) = house.fleet.changes()
    assert dict(change["labels"]["names"])["techno"] == hexadecimal(colours(["techno", "acid"])["techno"])
    # What a former model named stays on the timeline, in a colour of its own.
    assert len(set(shown(house).values())) == len(shown(house)) == 5


def test_a_label_of_64_letters_is_told_whole(house):
    label = "Música " * 9 + "z"
    house.say("info", information(label))
    house.hears(label)
    assert house.genre(house.kitchen["now"]["genre"]) == label


def test_what_plays_has_played_since_its_run_began(house):
    for _ in range(5):
        house.hears("jazz")
    for _ in range(2):
        house.hears("rock")
    assert house.kitchen["now"]["since"] == NOON + 15
    assert house.kitchen["now"]["time"] == NOON + 21


def test_labels_in_any_script_stand_beside_their_own_bars(house):
    scores = {"R&B": 0.1, "r-b": 0.2, "日本": 0.6, "b" * 64: 0.1}
    house.say("info", information(*scores))
    payload = estimate_payload(other_labels("日本", scores), node="kitchen", boot="b1")
    house.say("estimate", encode(payload | {"time_unix": NOON}))
    kitchen = house.kitchen
    names = [kitchen["labels"]["names"][place][0] for place in kitchen["labels"]["order"]]
    assert dict(zip(names, kitchen["now"]["bars"], strict=True)) == {"R&B": 100, "r-b": 200, "日本": 600, "b" * 64: 100}
    assert house.genre(kitchen["now"]["genre"]) == "日本"


def test_the_same_estimate_as_state_and_as_estimate_is_one(house):
    payload = told("jazz", at=NOON)
    house.say("estimate", payload)
    house.fleet.changes()
    house.say("state", payload)
    assert house.fleet.changes() == ([], [])


def test_a_clock_that_is_wrong_at_a_listener_does_not_move_what_it_hears_now(house):
    house.hears("jazz", at=1000.0)
    assert house.kitchen["now"]["time"] == house.now


def test_what_is_replayed_fills_the_timeline_and_is_not_what_plays(house):
    house.hears("jazz")
    house.hears("metal", at=NOON - 600, replayed=True)
    assert house.genre(house.kitchen["now"]["genre"]) == "jazz"
    assert house.genre(house.kitchen["timeline"][2]) == "metal"


def test_a_retained_state_says_what_played_when_it_was_made(house):
    house.say("state", told("jazz", at=NOON - 7200), retained=True)
    assert house.kitchen["now"]["time"] == NOON - 7200


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
    assert {"status", "labels", "now", "timeline", "songs", "health", "info"} < first.keys()
    assert second.keys() == {"node", "now"}
    assert house.fleet.changes() == ([], [])


def test_a_whole_timeline_is_told_at_most_every_five_seconds(house):
    house.hears("jazz")
    house.fleet.changes()
    house.hears("metal", at=NOON - 600, replayed=True, seconds=1.0)
    assert "timeline" not in str(house.fleet.changes())
    house.now += 5
    assert "timeline" in house.fleet.changes()[0][0]


def test_runs_replayed_within_one_push_are_sent_whole(house):
    house.hears("jazz")
    house.fleet.changes()
    house.now += 600
    for step, genre in enumerate(["jazz", "jazz", "silence", "silence", "rock"]):
        house.say("estimate", told(genre, at=NOON + 60 + 9 * step, replayed=True))
    sent = house.fleet.changes()[0][0]
    assert sent["timeline"] == house.kitchen["timeline"]
    assert house.genre(sent["timeline"][-1]) == "rock"


def test_a_deleted_status_forgets_a_listener(house):
    house.say("status", "online")
    house.say("status", b"", retained=True)
    assert house.all == {}
    assert house.fleet.changes() == ([], ["kitchen"])


def test_a_day_of_estimates_keeps_six_hours(house):
    for _ in range(2000):
        house.hears("jazz", seconds=20)
    start = house.kitchen["timeline"][0]
    assert house.now - SPAN - 60 < start + house.kitchen["timeline"][1]
    assert len(house.kitchen["timeline"]) <= 3 * 2000


@pytest.mark.parametrize("step", [-7200, 3600, -68 * 86400])
def test_what_is_heard_after_the_clock_was_set_is_shown_at_once(house, step):
    house.hears("jazz")
    house.say("status", "online")
    house.set_by = step
    house.hears("rock")
    kitchen = house.kitchen
    assert house.genre(kitchen["now"]["genre"]) == "rock"
    assert kitchen["now"]["time"] == house.now + step
    first, *_ = kitchen["timeline"]
    assert first == NOON + step, "what was heard before is as long ago as it was"
    assert kitchen["status"]["since"] == NOON + 3 + step


def test_a_warning_is_not_silenced_by_a_clock_that_was_set_back(house, caplog):
    house.say("estimate", "nonsense")
    house.set_by = -86400.0
    house.now += 299.0
    house.say("estimate", "nonsense")
    assert len(caplog.records) == 1
    house.now += 1.0
    house.say("estimate", "nonsense")
    assert len(caplog.records) == 2


@pytest.mark.parametrize(("how", "counted"), [({}, 0), ({"clock_synchronised": False}, 1)])
def test_a_song_that_has_just_ended_by_an_unset_clock_is_of_today(house, how, counted):
    house.say("song", song("jazz", ended=NOON - 68 * 86400, **how))
    assert len(house.kitchen["songs"]) == counted


def test_today_keeps_its_songs_when_the_clock_is_set_back_over_midnight(house):
    house.set_by = 13 * 3600.0
    house.fleet.changes()
    house.say("song", song("jazz", ended=NOON + 13 * 3600))
    house.set_by = 0.0
    house.fleet.changes()
    assert len(house.kitchen["songs"]) == 1
