"""Microphones of ALSA as PortAudio really lists and opens them: on one side only, busy, denied, taken."""

import errno
import json

import numpy as np
import pytest
import soxr

from headnod.system import permission_denied
from support.alsa_microphone import RATE, alsa_microphone
from support.command_line import fault, run
from support.listener_process import Listening, is_estimate, is_waiting
from support.signals import music, noise

pytest.importorskip("pyaudio", reason="PyAudio is not installed: pip install 'headnod[device]'")
SONG = soxr.resample(music(10.0), 22_050, RATE)
MONO = SONG[:, None]


def microphone_of(environment):
    ended = run("check", "--json", "--device", "pcm:mic", environment=environment)
    (found,) = (each for each in map(json.loads, ended.stdout.splitlines()) if each["part"] == "microphone")
    return found["verdict"], found["message"]


@pytest.mark.parametrize("side", [0, 1])
def test_sound_on_one_side_of_a_stereo_microphone_is_heard(tmp_path, side):
    frames = np.zeros((SONG.size, 2))
    frames[:, side] = SONG
    verdict, message = microphone_of(alsa_microphone(tmp_path, frames))
    assert verdict == "well"
    assert f"sound on channel {side + 1} of 2 only" in message


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (errno.EBUSY, "'pcm:mic' is held by another program"),
        (errno.EIO, "'pcm:mic' cannot be opened: input/output error (plug it in again)"),
        (errno.ENOSPC, "'pcm:mic' cannot be opened: no space left on device (use another USB port)"),
        (errno.EACCES, f"'pcm:mic' may not be opened: {permission_denied('audio')}"),
    ],
)
def test_a_microphone_that_cannot_be_opened_is_distinguished_from_an_absent_one(tmp_path, refused, reason):
    environment = alsa_microphone(tmp_path, MONO, refused=refused)
    verdict, message = microphone_of(environment)
    assert verdict == "fault"
    assert reason in message
    ended = run("devices", environment=environment)
    assert ended.returncode == 1
    assert reason in ended.stderr
    with Listening("--audio", "mic", environment=environment, log=tmp_path / "log") as listening:
        assert reason in listening.until(is_waiting)["message"]


def test_one_microphone_by_two_names_has_one_listener(tmp_path):
    environment = alsa_microphone(tmp_path, MONO)
    with Listening(environment=environment, log=tmp_path / "log") as listening:
        listening.until(is_estimate)
        second = run("listen", "--device", "pcm:mic", environment=environment)
        assert f"another headnod (process {listening.pid}) listens to microphone 'mic' already" in fault(second)


@pytest.mark.parametrize(("decibels", "verdict"), [(-45.0, "warning"), (0.0, "well")])
def test_a_quiet_microphone_is_reported(tmp_path, decibels, verdict):
    found, message = microphone_of(alsa_microphone(tmp_path, MONO * 10.0 ** (decibels / 20.0)))
    assert found == verdict
    assert ("raise the gain by about" in message) == (verdict == "warning")


def test_a_quiet_room_says_nothing_of_the_gain(tmp_path):
    found, message = microphone_of(alsa_microphone(tmp_path, noise(10.0, dbfs=-60, rate=RATE)[:, None]))
    assert found == "well", message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("pcm.!default {\n type hw\n", "line 3: Unexpected char"),
        ("pcm.!default {\n type hw\n}\n}\n", "line 4: Unexpected }"),
    ],
)
def test_a_configuration_of_alsa_that_it_cannot_read_is_named_with_its_line(tmp_path, content, reason):
    environment = alsa_microphone(tmp_path, MONO)
    (tmp_path / ".asoundrc").write_text(content)
    wanted = f"{tmp_path}/.asoundrc cannot be read by ALSA: {reason} (correct it, or move it away)"
    assert fault(run("devices", environment=environment)) == f"headnod: {wanted}"
    assert microphone_of(environment) == ("fault", wanted)
