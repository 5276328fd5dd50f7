"""What the dashboard knows of its listeners, from what they tell."""

import pytest
from msgspec.structs import replace

from headnod.dashboard.listener_state import SPAN
from headnod.mqtt.payloads import encode, estimate_payload
from headnod.outputs import colours, hexadecimal
from headnod.pipeline.estimate import HeldBy
from support.browser import estimate_json, information, song
from support.dashboard_fleet import NOON
from support.estimates import TAGS, other_labels, tagged


def test_it_subscribes_to_what_listeners_tell_and_to_nothing_else(listeners):
    kinds = ("status", "state", "estimate", "song", "info", "health")
    assert set(listeners.fleet.subscriptions) == {f"headnod/+/{kind}" for kind in kinds}


def test_what_plays_is_reported_with_its_bars_in_the_colours_of_the_palette(listeners):
    listeners.publish_estimate("jazz", jazz=0.7, rock=0.2)
    kitchen = listeners.kitchen
    names, order = kitchen["labels"]["names"], kitchen["labels"]["order"]
    assert {names[place][0]: bar for place, bar in zip(order, kitchen["now"]["bars"], strict=True) if bar} == {
        "jazz": 700,
        "rock": 200,
    }
    assert len(order) == 10
    assert listeners.genre(kitchen["now"]["genre"]) == "jazz"
    chosen = colours(label for label, _ in names)
    assert dict(names) == {label: hexadecimal(each) for label, each in chosen.items()}


def test_tags_and_what_holds_a_genre_back_are_reported(listeners):
    payload = estimate_payload(
        replace(tagged("unknown", jazz=0.4), held_by=HeldBy.THRESHOLD), node="kitchen", boot="b1"
    )
    listeners.publish("estimate", encode(payload | {"time_unix": NOON}))
    assert listeners.kitchen["now"]["tags"] == list(TAGS)
    assert listeners.kitchen["now"]["held_by"] == "threshold"


def shown(listeners):
    return dict(listeners.kitchen["labels"]["names"])


def test_own_labels_have_the_colours_that_lights_and_terminal_give_them(listeners):
    labels = ("techno", "punk", "Hip-Hop", "Música")
    listeners.publish("info", information(*labels))
    listeners.publish_estimate("punk", techno=0.2, punk=0.6)
    of_model = {label: hexadecimal(each) for label, each in colours(labels).items()}
    assert shown(listeners).items() >= of_model.items()


def test_a_model_with_other_labels_changes_the_colours_that_browsers_have(listeners):
    listeners.publish("info", information("techno", "punk"))
    listeners.fleet.changes()
    listeners.publish("info", information("techno", "acid"))
    ((change,), _) = listeners.fleet.changes()
    assert dict(change["labels"]["names"])["techno"] == hexadecimal(colours(["techno", "acid"])["techno"])
    # What a former model named stays on the timeline, in a colour of its own.
    assert len(set(shown(listeners).values())) == len(shown(listeners)) == 5


def test_a_label_of_64_letters_is_reported_whole(listeners):
    label = "Música " * 9 + "z"
    listeners.publish("info", information(label))
    listeners.publish_estimate(label)
    assert listeners.genre(listeners.kitchen["now"]["genre"]) == label


def test_what_plays_has_played_since_its_run_began(listeners):
    for _ in range(5):
        listeners.publish_estimate("jazz")
    for _ in range(2):
        listeners.publish_estimate("rock")
    assert listeners.kitchen["now"]["since"] == NOON + 15
    assert listeners.kitchen["now"]["time"] == NOON + 21


def test_labels_in_any_script_stand_beside_their_own_bars(listeners):
    scores = {"R&B": 0.1, "r-b": 0.2, "日本": 0.6, "b" * 64: 0.1}
    listeners.publish("info", information(*scores))
    payload = estimate_payload(other_labels("日本", scores), node="kitchen", boot="b1")
    listeners.publish("estimate", encode(payload | {"time_unix": NOON}))
    kitchen = listeners.kitchen
    names = [kitchen["labels"]["names"][place][0] for place in kitchen["labels"]["order"]]
    assert dict(zip(names, kitchen["now"]["bars"], strict=True)) == {"R&B": 100, "r-b": 200, "日本": 600, "b" * 64: 100}
    assert listeners.genre(kitchen["now"]["genre"]) == "日本"


def test_the_same_estimate_as_state_and_as_estimate_is_one(listeners):
    payload = estimate_json("jazz", at=NOON)
    listeners.publish("estimate", payload)
    listeners.fleet.changes()
    listeners.publish("state", payload)
    assert listeners.fleet.changes() == ([], [])


def test_a_clock_that_is_wrong_at_a_listener_does_not_move_what_it_hears_now(listeners):
    listeners.publish_estimate("jazz", at=1000.0)
    assert listeners.kitchen["now"]["time"] == listeners.now


def test_what_is_replayed_fills_the_timeline_and_is_not_what_plays(listeners):
    listeners.publish_estimate("jazz")
    listeners.publish_estimate("metal", at=NOON - 600, replayed=True)
    assert listeners.genre(listeners.kitchen["now"]["genre"]) == "jazz"
    assert listeners.genre(listeners.kitchen["timeline"][2]) == "metal"


def test_a_retained_state_says_what_played_when_it_was_made(listeners):
    listeners.publish("state", estimate_json("jazz", at=NOON - 7200), retained=True)
    assert listeners.kitchen["now"]["time"] == NOON - 7200


def test_a_listener_that_goes_is_offline_since_then(listeners):
    listeners.publish("status", "online")
    listeners.now += 60
    listeners.publish("status", "offline")
    assert listeners.kitchen["status"] == {"online": False, "since": NOON + 60}


def test_a_retained_offline_does_not_say_since_when(listeners):
    listeners.publish("status", "offline", retained=True)
    assert listeners.kitchen["status"] == {"online": False, "since": None}


def test_songs_are_counted_by_genre_once_each_and_today_only(listeners):
    listeners.publish("song", song("jazz", ended=NOON, name="1"))
    listeners.publish("song", song("jazz", ended=NOON, name="1"))
    listeners.publish("song", song("jazz", ended=NOON, name="2"))
    listeners.publish("song", song("rock", ended=NOON - 86_400, name="3"))
    assert [(listeners.genre(genre), count, seconds) for genre, count, seconds in listeners.kitchen["songs"]] == [
        ("jazz", 2, 400)
    ]


def test_tomorrow_begins_with_no_songs(listeners):
    listeners.publish("song", song("jazz", ended=NOON))
    listeners.fleet.changes()
    listeners.now += 86_400
    told_, _ = listeners.fleet.changes()
    assert told_[0]["songs"] == []


def test_a_new_listener_is_reported_whole_and_then_only_what_changed(listeners):
    listeners.publish_estimate("jazz")
    (first,), _ = listeners.fleet.changes()
    listeners.publish_estimate("jazz")
    (second,), _ = listeners.fleet.changes()
    assert {"status", "labels", "now", "timeline", "songs", "health", "info"} < first.keys()
    assert second.keys() == {"node", "now"}
    assert listeners.fleet.changes() == ([], [])


def test_a_whole_timeline_is_reported_at_most_every_five_seconds(listeners):
    listeners.publish_estimate("jazz")
    listeners.fleet.changes()
    listeners.publish_estimate("metal", at=NOON - 600, replayed=True, seconds=1.0)
    assert "timeline" not in str(listeners.fleet.changes())
    listeners.now += 5
    assert "timeline" in listeners.fleet.changes()[0][0]


def test_runs_replayed_within_one_push_are_sent_whole(listeners):
    listeners.publish_estimate("jazz")
    listeners.fleet.changes()
    listeners.now += 600
    for step, genre in enumerate(["jazz", "jazz", "silence", "silence", "rock"]):
        listeners.publish("estimate", estimate_json(genre, at=NOON + 60 + 9 * step, replayed=True))
    sent = listeners.fleet.changes()[0][0]
    assert sent["timeline"] == listeners.kitchen["timeline"]
    assert listeners.genre(sent["timeline"][-1]) == "rock"


def test_a_deleted_status_forgets_a_listener(listeners):
    listeners.publish("status", "online")
    listeners.publish("status", b"", retained=True)
    assert listeners.all == {}
    assert listeners.fleet.changes() == ([], ["kitchen"])


def test_a_day_of_estimates_keeps_six_hours(listeners):
    for _ in range(2000):
        listeners.publish_estimate("jazz", seconds=20)
    start = listeners.kitchen["timeline"][0]
    assert listeners.now - SPAN - 60 < start + listeners.kitchen["timeline"][1]
    assert len(listeners.kitchen["timeline"]) <= 3 * 2000


@pytest.mark.parametrize("step", [-7200, 3600, -68 * 86400])
def test_what_is_heard_after_the_clock_was_set_is_shown_at_once(listeners, step):
    listeners.publish_estimate("jazz")
    listeners.publish("status", "online")
    listeners.set_by = step
    listeners.publish_estimate("rock")
    kitchen = listeners.kitchen
    assert listeners.genre(kitchen["now"]["genre"]) == "rock"
    assert kitchen["now"]["time"] == listeners.now + step
    first, *_ = kitchen["timeline"]
    assert first == NOON + step, "what was heard before is as long ago as it was"
    assert kitchen["status"]["since"] == NOON + 3 + step


def test_a_warning_is_not_silenced_by_a_clock_that_was_set_back(listeners, caplog):
    listeners.publish("estimate", "nonsense")
    listeners.set_by = -86400.0
    listeners.now += 299.0
    listeners.publish("estimate", "nonsense")
    assert len(caplog.records) == 1
    listeners.now += 1.0
    listeners.publish("estimate", "nonsense")
    assert len(caplog.records) == 2


@pytest.mark.parametrize(("how", "counted"), [({}, 0), ({"clock_synchronised": False}, 1)])
def test_a_song_that_has_just_ended_by_an_unset_clock_is_of_today(listeners, how, counted):
    listeners.publish("song", song("jazz", ended=NOON - 68 * 86400, **how))
    assert len(listeners.kitchen["songs"]) == counted


def test_today_keeps_its_songs_when_the_clock_is_set_back_over_midnight(listeners):
    listeners.set_by = 13 * 3600.0
    listeners.fleet.changes()
    listeners.publish("song", song("jazz", ended=NOON + 13 * 3600))
    listeners.set_by = 0.0
    listeners.fleet.changes()
    assert len(listeners.kitchen["songs"]) == 1
