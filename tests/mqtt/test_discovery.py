"""Discovery: Home Assistant accepts every option, and shows the state of the listener."""

import json
from fractions import Fraction

import msgspec
import pytest

from headnod.mqtt.commands import command_topics
from headnod.mqtt.homeassistant import discovery
from headnod.mqtt.payloads import encode, estimate_payload
from headnod.mqtt.topics import Topics
from headnod.pipeline.estimate import State
from support.estimates import GTZAN, estimate, other_labels, silence, tagged
from support.home_assistant import SHORT, HomeAssistant, Refused
from support.mqtt_payloads import KITCHEN, RecordingControls, Sent, commands_for, health, info, song

FORMS = ("device", "component")


def found(told):
    home = HomeAssistant()
    for topic, payload in told.items():
        home.receive(topic, payload)
    return home.entities


@pytest.fixture(params=FORMS)
def entities(request):
    return found(discovery(info(labels=GTZAN), KITCHEN, form=request.param))


def published(given):
    return encode(estimate_payload(given, node="kitchen", boot="b1"))


JAZZ = published(estimate("jazz", jazz=0.734, blues=0.2))


def test_a_device_is_reported_in_one_message():
    assert list(discovery(info(), KITCHEN)) == ["homeassistant/device/headnod_kitchen/config"]


def test_a_component_each_is_reported_where_old_installations_look():
    topics = discovery(info(), KITCHEN, form="component")
    assert "homeassistant/sensor/headnod_kitchen/genre/config" in topics
    assert "homeassistant/update/headnod_kitchen/update/config" in topics


def test_both_forms_tell_of_the_same_entities():
    device, component = (found(discovery(info(), KITCHEN, form=form)) for form in FORMS)
    assert device.keys() == component.keys()
    assert all(device[name].options["unique_id"] == component[name].options["unique_id"] for name in device)


def test_a_device_says_what_it_is_and_where_it_is_distinguished_from():
    (told,) = (json.loads(payload) for payload in discovery(info(), KITCHEN).values())
    assert told["device"]["identifiers"] == ["headnod_kitchen"]
    assert told["device"]["name"] == "kitchen"
    assert told["device"]["sw_version"] == "0.1.0"
    assert told["origin"] == {"name": "headnod", "sw_version": "0.1.0"}


@pytest.mark.parametrize("form", FORMS)
def test_names_are_written_in_full(form):
    def keys(said):
        parts = said.values() if isinstance(said, dict) else said if isinstance(said, list) else []
        return (set(said) if isinstance(said, dict) else set()).union(*map(keys, parts))

    for payload in discovery(info(), KITCHEN, form=form).values():
        assert not keys(json.loads(payload)) & {*SHORT, "object_id", "sw", "ids", "mf"}


def test_a_message_in_short_names_would_be_read_the_same():
    ((topic, payload),) = discovery(info(), KITCHEN).items()
    short = {long: name for name, long in SHORT.items()}

    def shortened(said):
        if isinstance(said, dict):
            return {short.get(key, key): shortened(value) for key, value in said.items()}
        return [shortened(part) for part in said] if isinstance(said, list) else said

    assert found({topic: json.dumps(shortened(json.loads(payload))).encode()}) == found({topic: payload})


def test_the_genre_is_an_enum_of_labels_silence_and_unknown(entities):
    genre = entities["sensor.kitchen_genre"].options
    assert genre["options"] == [*GTZAN, "silence", "unknown"]
    assert genre["device_class"] == "enum"
    assert genre["name"] is None
    assert genre["state_topic"] == genre["json_attributes_topic"] == "headnod/kitchen/state"


def test_what_is_heard_is_shown(entities):
    assert entities["sensor.kitchen_genre"].state(JAZZ) == "jazz"
    assert entities["sensor.kitchen_confidence"].state(JAZZ) == 73.4
    assert entities["sensor.kitchen_level"].state(JAZZ) == -20.0
    assert entities["binary_sensor.kitchen_music"].state(JAZZ) is True
    assert entities["sensor.kitchen_latency"].state(JAZZ) == 0.0


def test_silence_is_shown(entities):
    assert entities["sensor.kitchen_genre"].state(published(silence())) == "silence"
    assert entities["binary_sensor.kitchen_music"].state(published(silence())) is False


def test_an_unsure_estimate_is_shown_as_unknown(entities):
    assert entities["sensor.kitchen_genre"].state(published(estimate("unknown", jazz=0.3))) == "unknown"


def test_attributes_have_the_runner_up_and_every_score(entities):
    assert entities["sensor.kitchen_genre"].attributes(JAZZ) == {
        "runner_up": "blues",
        "state": "listening",
        "model": "genre-0.1.0",
        "held_by": "none",
        "tags": [],
        "energy": None,
    }
    scores = entities["sensor.kitchen_confidence"].attributes(JAZZ)
    assert scores == {f"scores_{label}": {"jazz": 0.734, "blues": 0.2}.get(label, 0.0) for label in GTZAN}


def test_attributes_have_the_names_of_the_tags_in_an_order_that_seldom_changes(entities):
    said = entities["sensor.kitchen_genre"].attributes(published(tagged("jazz", jazz=0.7)))
    assert said["tags"] == ["80s", "guitar", "instrumental", "jazz", "mellow"]
    assert said["energy"] == 0.4


def test_an_estimate_of_an_older_listener_breaks_no_template(entities):
    old = {key: value for key, value in json.loads(JAZZ).items() if key != "held_by"}
    said = entities["sensor.kitchen_genre"].attributes(json.dumps(old).encode())
    assert (said["held_by"], said["tags"], said["energy"]) == (None, [], None)


def test_an_estimate_of_another_model_breaks_no_template():
    entities = found(discovery(info(labels=("tango", "jazz")), KITCHEN))
    scores = entities["sensor.kitchen_confidence"].attributes(JAZZ)
    assert scores == {"scores_tango": None, "scores_jazz": 0.734}


def test_labels_in_any_script_are_options_and_have_their_scores():
    labels = {"R&B": 0.1, "Música": 0.2, "日本": 0.5, "it's {{ 1 }}": 0.2}
    entities = found(discovery(info(labels=tuple(labels)), KITCHEN))
    payload = published(other_labels("日本", labels))
    genre = entities["sensor.kitchen_genre"]
    assert genre.options["options"] == [*labels, "silence", "unknown"]
    assert genre.state(payload) == "日本"
    assert list(entities["sensor.kitchen_confidence"].attributes(payload).values()) == list(labels.values())


def test_a_song_is_shown_with_its_times(entities):
    last = entities["sensor.kitchen_song"]
    # Retained, so that the last song is still known after a restart of Home Assistant.
    assert last.options["state_topic"] == "headnod/kitchen/last_song"
    assert last.state(encode(song())) == "jazz"
    assert last.attributes(encode(song()))["start"] == "2026-11-22T12:00:00Z"


@pytest.mark.parametrize("state", list(State))
def test_a_microphone_that_does_not_hear_is_a_problem(entities, state):
    troubled = entities["binary_sensor.kitchen_microphone"].state(encode(health(state=str(state))))
    assert troubled is (state in {State.WAITING, State.DEAF, State.CLIPPING})
    assert entities["sensor.kitchen_state"].state(encode(health(state=str(state)))) == state


def test_diagnostics_are_shown(entities):
    shown = {name: entities[f"sensor.kitchen_{name}"].state(encode(health())) for name in ("queue", "uptime", "memory")}
    assert shown == {"queue": 2.0, "uptime": 61.5, "memory": 81.5}
    assert entities["sensor.kitchen_temperature"].state(encode(health())) == 51.1
    assert entities["sensor.kitchen_version"].state(encode(info())) == "0.1.0"
    assert entities["sensor.kitchen_model"].state(encode(info())) == "genre-0.1.0"


def test_a_board_without_a_thermometer_shows_no_temperature(entities):
    assert entities["sensor.kitchen_temperature"].state(encode(health(temperature_c=None))) is None


@pytest.mark.parametrize("name", ["latency", "dropped", "uptime", "memory"])
def test_noisy_diagnostics_wait_to_be_switched_on(entities, name):
    assert entities[f"sensor.kitchen_{name}"].options["enabled_by_default"] is False


def test_what_is_live_expires_after_four_to_five_estimates(entities):
    for entity in entities.values():
        if entity.options.get("state_topic") == KITCHEN.state:
            assert 4 * 3.0 < entity.options["expire_after"] < 5 * 3.0
        if entity.options.get("state_topic") == KITCHEN.health:
            assert 4 * 60.0 < entity.options["expire_after"] < 5 * 60.0


def test_all_but_connectivity_go_with_the_listener(entities):
    shown = entities.pop("binary_sensor.kitchen_connectivity")
    assert shown.options["availability"] == []
    assert [shown.state(b"online"), shown.state(b"offline")] == [True, False]
    for entity in entities.values():
        assert entity.options["availability"] == [
            {"topic": KITCHEN.status, "payload_available": "online", "payload_not_available": "offline"}
        ]


@pytest.mark.parametrize("key", ["threshold", "brightness"])
@pytest.mark.parametrize("percent", range(0, 101, 7))
def test_a_number_is_set_in_percent_and_obeyed_as_a_share(entities, key, percent):
    number, controls = entities[f"number.kitchen_{key}"], RecordingControls()
    # Home Assistant gives a whole number, or a float.
    commands_for(controls).handle(Sent(number.options["command_topic"], number.command(percent)))
    assert controls.did == [(key, pytest.approx(float(Fraction(percent, 100))))]
    told = msgspec.structs.replace(info(), certainty=controls.did[0][1], brightness=controls.did[0][1])
    assert number.state(encode(told)) == percent


@pytest.mark.parametrize(("payload", "paused"), [("ON", True), ("OFF", False)])
def test_the_switch_pauses(entities, payload, paused):
    switch, controls = entities["switch.kitchen_pause"], RecordingControls()
    commands_for(controls).handle(Sent(switch.options["command_topic"], payload.encode()))
    assert controls.did == [("pause", paused)]
    assert switch.state(encode(info(paused=paused))) is paused


def test_the_model_is_an_update_that_installs_the_newest(entities):
    update, controls = entities["update.kitchen_update"], RecordingControls()
    assert update.state(encode(info())) == {
        "installed_version": "0.1.0",
        "latest_version": "0.2.0",
    }
    assert update.options["title"] == "genre-0.2.0"
    commands_for(controls).handle(Sent(update.options["command_topic"], update.options["payload_install"].encode()))
    assert controls.did == [("activate", "genre-0.2.0")]


SIGNED, LATER = 1_764_230_000, 1_764_230_001


@pytest.mark.parametrize(
    ("told", "installed", "latest"),
    [
        ({"latest_model": "genre-0.2.0"}, "0.1.0", "0.2.0"),
        ({"latest_serial": SIGNED}, "0.1.0", "2025.11.27.075320"),
        ({"serial": SIGNED, "latest_serial": LATER}, "2025.11.27.075320", "2025.11.27.075321"),
        (
            {"serial": SIGNED, "latest_serial": LATER, "latest_model": "mood-0.0.9"},
            "2025.11.27.075320",
            "2025.11.27.075321",
        ),
        ({"serial": 4, "latest_serial": 5}, "1970.01.01.000004", "1970.01.01.000005"),
        ({"serial": 5, "latest_serial": 1 << 60}, "1970.01.01.000005", "9987.04.02.174640"),
    ],
)
def test_the_version_grows_with_what_is_offered(entities, told, installed, latest):
    said = info(**({"latest_model": "genre-0.1.0"} | told))
    state = entities["update.kitchen_update"].state(encode(said))
    assert (state["installed_version"], state["latest_version"]) == (installed, latest)
    ordered = [tuple(map(int, each.split("."))) for each in (installed, latest)]
    assert ordered[0] < ordered[1]


def test_without_an_offer_the_versions_are_equal(entities):
    state = entities["update.kitchen_update"].state(encode(info(latest_model="genre-0.1.0", serial=4, latest_serial=4)))
    assert state["installed_version"] == state["latest_version"]


def test_an_update_says_what_is_known_about_the_model():
    offer = "Names ten genres. As a shadow here it agrees on 93% of 800 windows."
    update = found(discovery(info(offer=offer), KITCHEN))["update.kitchen_update"]
    assert (update.options["title"], update.options["release_summary"]) == ("genre-0.2.0", offer)


def test_a_model_is_selected_by_its_name(entities):
    select, controls = entities["select.kitchen_select"], RecordingControls()
    assert select.options["options"] == ["genre-0.1.0", "genre-0.2.0"]
    assert select.state(encode(info())) == "genre-0.1.0"
    commands_for(controls).handle(Sent(select.options["command_topic"], select.command("genre-0.2.0")))
    assert controls.did == [("activate", "genre-0.2.0")]


def test_a_model_that_cannot_be_activated_by_name_is_an_option_while_it_is_active():
    listener = info(model="mine-1.0.0")
    select = found(discovery(listener, KITCHEN))["select.kitchen_select"]
    assert select.state(encode(listener)) == "mine-1.0.0"


def test_the_button_restarts(entities):
    button = entities["button.kitchen_restart"].options
    assert (button["command_topic"], button["payload_press"]) == (KITCHEN.request("restart"), "{}")
    assert KITCHEN.request("restart") in command_topics(KITCHEN)


@pytest.mark.parametrize(
    ("how", "changes"),
    [
        ({"on": True}, {"on": True}),
        ({"on": False}, {"on": False}),
        ({"on": True, "brightness": 128}, {"on": True, "brightness": pytest.approx(128 / 255, abs=1e-4)}),
        ({"on": True, "effect": "mood"}, {"on": True, "effect": "mood"}),
        ({"on": True, "brightness": 255, "effect": "bars"}, {"on": True, "brightness": 1.0, "effect": "bars"}),
    ],
)
def test_the_lights_are_switched_with_brightness_and_effect(entities, how, changes):
    light, controls = entities["light.kitchen_lights"], RecordingControls()
    commands_for(controls).handle(Sent(light.options["command_topic"], light.switched(**how)))
    assert controls.did == [("lights", changes)]


def test_the_lights_show_what_they_are(entities):
    light = entities["light.kitchen_lights"]
    assert light.state(encode(info(brightness=0.5))) == {"on": True, "brightness": 128, "effect": "bars"}
    assert light.state(encode(info(lights=False, brightness=0.0, effect=None))) == {
        "on": False,
        "brightness": 0,
        "effect": "bars",
    }


def test_without_lights_there_is_no_light():
    assert "light.kitchen_lights" not in found(discovery(info(lights=None, effect=None), KITCHEN))


def test_the_end_of_a_song_is_an_event(entities):
    event = entities["event.kitchen_song_event"]
    assert event.options["state_topic"] == KITCHEN.song
    assert event.options["event_types"] == list(GTZAN)
    ended = event.state(encode(song()))
    assert (ended["event_type"], ended["duration_s"], ended["stability"]) == ("jazz", 180.0, 0.93)


def test_no_two_entities_of_a_device_have_one_name(entities):
    names = [entity.options["name"] for entity in entities.values()]
    assert len(names) == len(set(names))


def test_the_device_has_the_room_and_the_page_if_they_are_known():
    ((_, payload),) = discovery(info(area="Kitchen", page="http://kitchen.local:8080/"), KITCHEN).items()
    device = json.loads(payload)["device"]
    assert (device["suggested_area"], device["configuration_url"]) == ("Kitchen", "http://kitchen.local:8080/")
    ((_, payload),) = discovery(info(board=""), KITCHEN).items()
    assert not {"suggested_area", "configuration_url", "hw_version"} & json.loads(payload)["device"].keys()


@pytest.mark.parametrize("node", ["Kitchen-1", "_", "--a--", "7", "a__b", "x" * 64])
@pytest.mark.parametrize("form", FORMS)
def test_every_name_of_a_listener_makes_good_entities(node, form):
    assert len(found(discovery(info(node=node), Topics("house/headnod", node), form=form))) == len(
        found(discovery(info(), KITCHEN))
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda genre: genre.update(state_class="measurement"),
        lambda genre: genre.update(unit_of_measurement="%"),
        lambda genre: genre.update(options=[]),
        lambda genre: genre.update(object_id="genre"),
        lambda genre: genre.update(availability_topic="x"),
        lambda genre: genre.update(device_class="sound_pressure"),
        lambda genre: genre.update(default_entity_id="genre"),
        lambda genre: genre.pop("unique_id"),
        lambda genre: genre.pop("platform"),
    ],
)
def test_the_stand_in_refuses_what_home_assistant_refuses(spoil):
    ((topic, payload),) = discovery(info(), KITCHEN).items()
    said = json.loads(payload)
    spoil(said["components"]["genre"])
    with pytest.raises(Refused):
        found({topic: json.dumps(said).encode()})
