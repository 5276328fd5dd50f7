"""`headnod check` and `headnod calibrate`, with a microphone and without one."""

import json
import os
import shutil
import subprocess
from contextlib import ExitStack

import numpy as np
import pytest
import soundfile

from headnod.inference.manifest import MODEL
from support import signals
from support.bundles import copied, flipped
from support.command_line import PATIENCE
from support.listener_process import HEADNOD
from support.mqtt_broker import Broker
from support.pulseaudio import NAME, VirtualMicrophone, missing
from support.signals import RATE

needs_sound = pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")
BAD_CONFIGURATION = 78


@pytest.fixture
def environment(tmp_path):
    """Of a machine without sound."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADNOD_", "PULSE_"))}
    (tmp_path / "home").mkdir()
    return {**kept, "HOME": str(tmp_path / "home"), "PULSE_SERVER": "unix:/nowhere", "RUNTIME_DIRECTORY": str(tmp_path)}


@pytest.fixture(scope="module")
def sound_server(tmp_path_factory):
    microphone = VirtualMicrophone(tmp_path_factory.mktemp("microphone") / "sound")
    with ExitStack() as stack:
        stack.callback(microphone.close)
        yield microphone.start()


@pytest.fixture
def microphone(sound_server):
    """A microphone that hears nothing yet."""
    yield sound_server
    sound_server.mute()


def run(*words, environment):
    command = [*HEADNOD, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def check(*words, environment):
    """What was found, by part, and the exit status."""
    ended = run("check", "--json", *words, environment=environment)
    assert "Traceback" not in ended.stderr
    findings = [json.loads(line) for line in ended.stdout.splitlines()]
    return {finding["part"]: (finding["verdict"], finding["message"]) for finding in findings}, ended.returncode


def wav(folder, sound):
    path = folder / "sound.wav"
    soundfile.write(path, sound, RATE)
    return path


@needs_sound
def test_all_is_well_with_a_microphone_that_hears(microphone, tmp_path):
    microphone.play(wav(tmp_path, signals.noise(60.0, dbfs=-30)))
    # A busy machine lets the player stumble, which is no fault of the microphone.
    for _ in range(3):
        found, status = check("--device", NAME, environment=microphone.environment)
        if "noise floor -3" in found["microphone"][1]:
            break
    assert list(found) == ["configuration", "runtime", "model", "microphone", "lights", "broker", "disk", "clock"]
    verdict, message = found["microphone"]
    assert verdict == "well", message
    assert "level -30 dBFS" in message
    assert "noise floor -3" in message
    assert found["model"][0] == "well"
    assert found["lights"] == ("none", "none are configured")
    assert status == 0


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
def test_a_broker_is_well_or_says_where_the_way_ends(environment, tmp_path):
    with Broker(tmp_path) as broker:
        reached = {**environment, "HEADNOD_MQTT__HOST": "127.0.0.1", "HEADNOD_MQTT__PORT": str(broker.port)}
        found, _ = check(environment=reached)
        assert found["broker"][0] == "well", found["broker"]
    found, _ = check(environment=reached)
    verdict, message = found["broker"]
    assert verdict == "warning"
    assert message.startswith("connection: ")


@needs_sound
def test_a_muted_microphone_is_a_warning(microphone):
    found, status = check("--device", NAME, environment=microphone.environment)
    verdict, message = found["microphone"]
    assert verdict == "warning"
    assert "nothing but zeros (is it muted?)" in message
    assert status == 0


@needs_sound
def test_an_overdriven_microphone_is_a_warning(microphone, tmp_path):
    microphone.play(wav(tmp_path, np.clip(signals.noise(30.0, dbfs=6), -1.0, 1.0)))
    verdict, message = check("--device", NAME, environment=microphone.environment)[0]["microphone"]
    assert verdict == "warning"
    assert "overdriven" in message


def test_no_microphone_is_a_fault_and_the_other_parts_are_looked_at(environment):
    found, status = check(environment=environment)
    verdict, message = found["microphone"]
    assert verdict == "fault"
    assert "microphone" in message
    assert found["model"][0] == "well"
    assert "clock" in found
    assert status == 1


def test_a_damaged_model_is_a_fault_and_is_named(environment, bundle, tmp_path):
    folder = copied(bundle, tmp_path)
    flipped(folder / MODEL, 1000)
    found, status = check("--model", folder, environment=environment)
    verdict, message = found["model"]
    assert verdict == "fault"
    assert MODEL in message
    assert status == 1


def test_a_person_reads_a_line_a_part(environment):
    ended = run("check", environment=environment)
    lines = ended.stdout.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["configuration", "runtime", "model"]
    assert any(line.startswith("FAULT    microphone") for line in lines)
    assert ended.returncode == 1


def test_a_history_that_cannot_be_written_is_a_warning(environment, tmp_path):
    place = tmp_path / "nowhere" / "history.sqlite"
    found, _ = check(environment=environment | {"HEADNOD_HISTORY__PATH": str(place)})
    verdict, message = found["disk"]
    assert verdict == "warning"
    assert str(place.parent) in message


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"HEADNOD_WEB__ENABLED": "true", "HEADNOD_WEB__ADDRESS": "0.0.0.0:0"}, "web.address"),
        (
            {"HEADNOD_WEB__ENABLED": "true", "HEADNOD_WEB__CERTIFICATE": "/no/file", "HEADNOD_WEB__KEY": "/no/file"},
            "web",
        ),
        ({"HEADNOD_MODEL__KEYS": '["abc"]'}, "model.keys"),
    ],
)
def test_a_setting_that_keeps_the_listener_from_starting_is_a_fault(environment, settings, setting):
    found, status = check(environment=environment | settings)
    verdict, message = found["configuration"]
    assert (verdict, status) == ("fault", 1)
    assert setting in message
    assert list(found)[1:3] == ["runtime", "model"]


def test_a_lamp_that_is_away_is_a_warning(environment):
    lamp = {"HEADNOD_LEDS__KIND": "wled", "HEADNOD_LEDS__HOST": "no-such-lamp.invalid"}
    verdict, message = check(environment=environment | lamp)[0]["lights"]
    assert verdict == "warning"
    assert message.startswith("lamp no-such-lamp.invalid: ")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder", "is not a regular file"),
        ("text", "is not an SQLite database"),
        ("text/history.sqlite", "text is not a folder"),
    ],
)
def test_a_history_that_config_check_refuses_is_a_warning_of_check_too(environment, tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("no history\n")
    environment = environment | {"HEADNOD_HISTORY__PATH": str(tmp_path / name)}
    refused = run("config", "check", environment=environment)
    assert refused.returncode == BAD_CONFIGURATION
    assert reason in refused.stderr
    found, _ = check(environment=environment)
    assert found["disk"] == ("warning", refused.stderr.strip().removeprefix("headnod: "))


def test_a_wrong_configuration_ends_with_78(environment, tmp_path):
    path = tmp_path / "headnod.toml"
    path.write_text("[listen]\nevry = 3.0\n")
    ended = run("check", "--config", path, environment=environment)
    assert ended.returncode == BAD_CONFIGURATION
    assert f"{path}:2: listen.evry: there is no such key (did you mean 'every'?)" in ended.stderr
    assert ended.stdout == ""


def test_calibrating_with_a_file_proposes_a_silence_and_leaves_a_good_gain(environment, tmp_path):
    sound = np.concatenate([signals.noise(5.0, dbfs=-65), signals.noise(5.0, dbfs=-20)])
    ended = run("calibrate", "--audio", wav(tmp_path, sound), "--json", environment=environment)
    said = json.loads(ended.stdout)
    assert said["proposal"] == {"device": "", "silence": pytest.approx(-59.0, abs=1.0), "gain": 0.0}
    assert said["heard"]["noise_floor"] == pytest.approx(-65.0, abs=1.0)
    assert ended.returncode == 0


def test_the_clipped_share_of_overdriven_sound_is_part_of_the_json(environment, tmp_path):
    ended = run("calibrate", "--audio", wav(tmp_path, signals.noise(10.0, dbfs=3.0)), "--json", environment=environment)
    assert json.loads(ended.stdout)["heard"]["clipped"] > 0.1


def test_what_calibrating_proposes_is_a_configuration(environment, tmp_path):
    sound = np.concatenate([signals.noise(5.0, dbfs=-65), signals.noise(5.0, dbfs=-50)])
    ended = run("calibrate", "--audio", wav(tmp_path, sound), environment=environment)
    assert "gain: raise it by about 30 dB" in ended.stdout
    path = tmp_path / "headnod.toml"
    path.write_text(ended.stdout.partition("# for")[2].partition("\n")[2])
    shown = json.loads(run("config", "show", "--json", "--config", path, environment=environment).stdout)
    said = [(each["key"], each["value"]) for each in shown if each["origin"] != "default"]
    assert said == [("silence", -59.0)]


def test_music_without_a_pause_proposes_no_silence(environment, tmp_path):
    path = wav(tmp_path, signals.noise(10.0, dbfs=-20))
    ended = run("calibrate", "--audio", path, environment=environment)
    assert "there was no quiet moment" in ended.stdout
    assert "[listen]" not in ended.stdout
    assert json.loads(run("calibrate", "--audio", path, "--json", environment=environment).stdout)["proposal"] == {
        "device": "",
        "silence": None,
        "gain": 0.0,
    }


@needs_sound
def test_calibrating_with_a_microphone_names_it(microphone, tmp_path):
    microphone.play(wav(tmp_path, signals.noise(30.0, dbfs=-20)))
    words = ("calibrate", "--seconds", "1", "--device", NAME)
    ended = run(*words, environment=microphone.environment)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("heard 1 s: ")
    assert f'[microphone]\ndevice = "{NAME}"' in ended.stdout


def test_calibrating_without_a_microphone_says_so(environment):
    ended = run("calibrate", "--seconds", "3", environment=environment)
    assert ended.returncode == 1
    assert "microphone" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-5", "0.9", "3601", "long"])
def test_an_amount_of_calibration_that_cannot_be_is_usage(environment, seconds):
    ended = run("calibrate", "--seconds", seconds, environment=environment)
    assert ended.returncode == 2
    assert f"'{seconds}' is not a number from 1 to 3600" in ended.stderr
