"""A real listener and a real Home Assistant: the device, its entities, its controls, a blueprint, and a restart."""

import re
import shutil
import socket

import numpy as np
import pytest
import soundfile

from headnod.mqtt.payloads import encode
from headnod.resources import demo_clip
from support import debian_roots as roots
from support.firmware_kits import KITS
from support.home_assistant_core import STARTING, HomeAssistantCore, root
from support.mqtt_broker import HOST
from support.mqtt_payloads import KITCHEN, song
from support.mqtt_publisher import decoded

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(roots.missing()), reason=f"not installed: {roots.missing()}"),
]

AUTOMATION = """\
automation:
  - use_blueprint:
      path: headnod/lights_by_genre.yaml
      input:
        genre: sensor.kitchen_genre
        lights: {entity_id: light.kitchen_lights}
        calm: []
        calm_brightness: 1
        energetic: [GENRES]
        energetic_brightness: 80
        stable: {seconds: 1}
"""
GENRES = ("disco", "hiphop", "metal", "pop", "rock", "blues", "classical", "country", "jazz", "reggae")


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    blueprints = folder / "blueprints" / "automation" / "headnod"
    blueprints.mkdir(parents=True)
    shutil.copy(KITS / "homeassistant" / "lights_by_genre.yaml", blueprints)
    with HomeAssistantCore(root(), folder, more=AUTOMATION.replace("GENRES", ", ".join(GENRES))) as core:
        yield core


@pytest.fixture
def playing(tmp_path):
    """Ten minutes of the demo clip, in real time."""
    clip, rate = soundfile.read(demo_clip())
    soundfile.write(tmp_path / "long.wav", np.concatenate([clip] * (600 * rate // len(clip))), rate)
    return ("--audio", str(tmp_path / "long.wav"), "--pace", "real")


@pytest.fixture
def lamp(environment):
    """LEDs of a WLED lamp that takes every frame."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as frames:
        frames.bind((HOST, 0))
        environment |= {"HEADNOD_LEDS__KIND": "wled", "HEADNOD_LEDS__HOST": f"{HOST}:{frames.getsockname()[1]}"}
        yield frames


@pytest.fixture
def listener(home, broker, subscriber, lamp, listening):
    """A listener that Home Assistant shows."""
    home.connect(broker.port)
    started = listening(broker.port, area="Kitchen")
    lamp.settimeout(STARTING)
    assert lamp.recv(4096)
    subscriber.until_on("/estimate", 1, STARTING)
    home.until(lambda: home.state("sensor.kitchen_genre") in GENRES)
    return started


def check_device(home, subscriber):
    """The device, and every entity that is announced, each with a name of its own."""
    assert home.ask()["devices"]["kitchen"][0] == "kitchen"
    (announced,) = decoded(subscriber.on("/device/headnod_kitchen/config")[-1:])
    there = home.ask()["entities"]
    for entity in announced["components"].values():
        unique_id, disabled = there[entity["default_entity_id"]]
        assert unique_id == entity["unique_id"]
        assert disabled == (entity.get("enabled_by_default") is False)
    states = home.ask()["states"].values()
    names = [attributes["friendly_name"] for _, attributes in states if "friendly_name" in attributes]
    assert len(names) == len(set(names))
    assert len(home.attributes("sensor.kitchen_genre")["tags"]) == 5


def check_lights(home):
    """The blueprint sets the brightness of the LEDs; a person switches them."""
    light = "light.kitchen_lights"
    home.until(lambda: home.attributes(light).get("brightness") == round(0.8 * 255))
    home.call("light", "turn_off", entity_id=light)
    home.until(lambda: home.state(light) == "off")
    home.call("light", "turn_on", entity_id=light, effect="mood")
    home.until(lambda: home.attributes(light).get("effect") == "mood")


def check_settings(home):
    home.call("number", "set_value", entity_id="number.kitchen_threshold", value=35)
    home.until(lambda: home.state("number.kitchen_threshold") == "35")
    for service, state in (("turn_on", "on"), ("turn_off", "off")):
        home.call("switch", service, entity_id="switch.kitchen_pause")
        home.until(lambda state=state: home.state("switch.kitchen_pause") == state)


def check_model(home):
    """Another model is selected; then a newer one of its name is known, with what its card says, and is installed."""
    update = "update.kitchen_update"
    assert home.state(update) == "off"
    home.call("select", "select_option", entity_id="select.kitchen_select", option="genre-small-1.0.0")
    home.until(lambda: home.state("sensor.kitchen_model") == "genre-small-1.0.0", STARTING)
    home.until(lambda: home.state("select.kitchen_select") == "genre-small-1.0.0")
    home.until(lambda: home.state(update) == "on" and home.attributes(update)["release_summary"])
    offered = home.attributes(update)
    assert (offered["installed_version"], offered["latest_version"]) == ("1.0.0", "2.1.0")
    assert offered["title"] == "genre-small-2.1.0"
    assert "genres" in offered["release_summary"]
    home.call("update", "install", entity_id=update)
    home.until(lambda: home.state("sensor.kitchen_model") == "genre-small-2.1.0", STARTING)
    home.until(lambda: home.state(update) == "off")


def check_songs(home, subscriber):
    subscriber.publish(KITCHEN.song, encode(song()))
    home.until(lambda: home.attributes("event.kitchen_song_event").get("event_type") == "jazz")
    assert home.attributes("event.kitchen_song_event")["duration_s"] == 180.0
    subscriber.publish(KITCHEN.last_song, encode(song()), retain=True)
    home.until(lambda: home.state("sensor.kitchen_song") == "jazz")


def check_restarts(home, subscriber):
    """The listener is restarted by its button, and Home Assistant is restarted."""
    runs = {each["boot"] for each in decoded(subscriber.on("/info"))}

    def another_run(message):
        return message.topic == KITCHEN.info and decoded([message.payload])[0]["boot"] not in runs

    home.call("button", "press", entity_id="button.kitchen_restart")
    subscriber.until(another_run, STARTING)
    home.until(lambda: home.state("binary_sensor.kitchen_connectivity") == "on")
    home.stop()
    home.start()
    home.until(lambda: home.state("sensor.kitchen_song") == "jazz")
    assert home.attributes("sensor.kitchen_song")["duration_s"] == 180.0
    home.until(lambda: home.state("light.kitchen_lights") == "on")
    home.until(lambda: home.state("sensor.kitchen_genre") in GENRES)


def test_a_listener_in_home_assistant(home, subscriber, listener):
    check_device(home, subscriber)
    check_lights(home)
    check_settings(home)
    check_model(home)
    check_songs(home, subscriber)
    check_restarts(home, subscriber)
    assert listener.process.poll() is None
    assert re.findall(r".*(?:ERROR|WARNING).*(?:mqtt|kitchen|blueprint|automation).*", home.log) == []
