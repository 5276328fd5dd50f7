"""The microphone's own process, with a stand-in for the hardware below it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.microphone import CAPTURE
from support.command_line import PATIENCE

STAND_IN = Path(__file__).with_name("stand_in")
MIC = {"name": "Mic (hw:1,0)", "rate": 44_100, "channels": 1, "takes": [44_100]}


def run(*words, devices):
    environment = {**os.environ, "PYTHONPATH": str(STAND_IN), "STAND_IN": json.dumps(devices)}
    command = [sys.executable, "-P", str(CAPTURE), *words]
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    line, _, samples = ended.stdout.partition(b"\n")
    assert ended.stderr == b"", "what ALSA prints is kept from the log"
    return json.loads(line), np.frombuffer(samples, "<i2"), ended.returncode


def read(device, *rates, name=None):
    return run("read", name or device["name"], "0.25", *map(str, rates), devices=[device])


def test_inputs_are_listed_and_outputs_are_not():
    speaker = MIC | {"name": "HDMI", "channels": 0}
    said, _, status = run("list", devices=[speaker, MIC])
    assert said == {"devices": [{"index": 1, "name": "Mic (hw:1,0)", "rate": 44_100, "channels": 1}]}
    assert status == 0


def test_a_microphone_is_opened_at_the_rate_that_it_prefers():
    said, samples, _ = read(MIC, 48_000)
    assert said == {"device": "Mic (hw:1,0)", "rate": 44_100, "channels": 1}
    assert samples.size == 44_100 // 4 * 4
    assert np.array_equal(samples, np.arange(samples.size) % 1_000)


def test_one_that_takes_another_rate_only_is_opened_at_that():
    said, _, _ = read(MIC | {"takes": [48_000]}, 44_100, 48_000, 32_000)
    assert said["rate"] == 48_000


def test_one_that_is_stereo_only_is_opened_with_two_channels():
    said, samples, _ = read(MIC | {"channels": 2, "opens": [2]})
    assert said["channels"] == 2
    assert np.array_equal(samples[::2], samples[1::2])


@pytest.mark.parametrize(
    ("name", "offered", "opens", "channels"),
    [
        ("Mic (hw:1,0)", 2, [1, 2], 2),
        ("Array (hw:1,0)", 6, [6], 6),
        ("Array (hw:1,0)", 16, [1, 2, 8, 16], 8),
        ("Array (hw:1,0)", 6, [1], 1),
        ("pulse", 32, [1, 2, 8, 32], 2),
    ],
)
def test_every_channel_of_a_sound_card_is_read(name, offered, opens, channels):
    said, _, _ = read(MIC | {"name": name, "channels": offered, "opens": opens})
    assert said["channels"] == channels


def test_a_telephones_rate_is_no_choice():
    said, _, status = read(MIC | {"rate": 8_000, "takes": [8_000]}, 8_000)
    assert "error" in said
    assert status == 1


@pytest.mark.parametrize(
    ("device", "name", "error"),
    [
        (MIC | {"error": "Device unavailable"}, None, "Device unavailable"),
        (MIC | {"takes": [96_000]}, None, "Invalid sample rate"),
        (MIC, "Mic (hw:2,0)", "absent"),
        (MIC, "Mic", "absent"),
    ],
)
def test_a_microphone_that_cannot_be_opened_says_why(device, name, error):
    said, samples, status = read(device, 48_000, name=name)
    assert said == {"error": error}
    assert samples.size == 0
    assert status == 1


def test_the_one_of_that_very_name_is_opened():
    said, _, _ = run("read", "default", "0.25", devices=[MIC | {"name": "sysdefault"}, MIC | {"name": "default"}])
    assert said["device"] == "default"


@pytest.mark.parametrize("seconds", ["0.1", "0.25", "1.0"])
def test_sound_comes_so_many_seconds_at_a_time(seconds):
    _, samples, _ = run("read", MIC["name"], seconds, devices=[MIC | {"blocks": 1}])
    assert samples.size == float(seconds) * 44_100


def test_it_ends_when_the_hardware_breaks():
    _, samples, status = read(MIC | {"blocks": 2})
    assert samples.size == 2 * (44_100 // 4)
    assert status == 1


def test_without_pyaudio_the_way_out_is_reported(tmp_path):
    (tmp_path / "pyaudio.py").write_text("raise ImportError('no module named pyaudio')")
    command = [sys.executable, "-P", str(CAPTURE), "list"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    assert json.loads(ended.stdout) == {"error": "PyAudio is not installed", "extra": "device"}
    assert ended.stderr == b""


@pytest.mark.parametrize(("rate", "opened"), [(15_999, False), (16_000, True)])
def test_a_microphone_has_16_kilohertz_at_least(rate, opened):
    said, _, _ = read(MIC | {"rate": rate, "takes": [rate]})
    assert said.get("rate") == (rate if opened else None)
