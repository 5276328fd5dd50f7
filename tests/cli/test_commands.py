"""The commands as a person runs them: results on stdout, one line for each fault, the exit status of the design."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest

from headnod import __version__
from headnod.resources import demo_clip
from support.command_line import HEADNOD, PATIENCE, PROMPT, fault, json_lines, write
from support.signals import RATE, music


def test_each_file_gets_one_line_with_its_genre_and_how_sure_that_is(headnod, tmp_path, demo):
    short = write(tmp_path / "a.flac", demo[:RATE])
    ended = headnod("classify", demo_clip(), short)
    assert (ended.returncode, ended.stderr) == (0, "")
    first, second = ended.stdout.splitlines()
    genre, confidence = first.removeprefix(str(demo_clip())).split()
    assert genre == "metal"
    assert 0.3 < float(confidence) <= 1.0
    assert second.startswith(f"{short} ")
    assert second.endswith(" short")


def test_json_has_what_was_promised_and_nothing_else(headnod, tmp_path, demo, model):
    short = write(tmp_path / "a.wav", demo[: RATE // 4])
    whole, clip = json_lines(headnod("classify", "--json", demo_clip(), short))
    for verdict in (whole, clip):
        assert set(verdict) == {"file", "genre", "confidence", "scores", "seconds", "short"}
        assert list(verdict["scores"]) == list(model.labels)
        assert sum(verdict["scores"].values()) < 1.002  # what is missing is the chance that it is no music
        assert verdict["scores"][verdict["genre"]] == verdict["confidence"]
    assert (whole["file"], whole["genre"], whole["short"]) == (str(demo_clip()), "metal", False)
    assert whole["seconds"] == pytest.approx(27.0, abs=0.1)
    assert (clip["short"], clip["seconds"]) == (True, 0.25)


@pytest.mark.parametrize("name", [b"jazz \xff.wav", b"two\nlines.wav", "ζωή.wav".encode(), b"--json", b" .wav"])
def test_a_file_of_any_name_can_be_told(headnod, tmp_path, demo, name):
    song = write(tmp_path / "song.wav", demo[: 4 * RATE])
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(song.read_bytes())
    (verdict,) = json_lines(headnod("classify", "--json", path))
    assert verdict["genre"] == "metal"
    plain = headnod("classify", path)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert plain.stdout.split()[-2] == "metal"


def test_the_pipe_and_the_file_give_the_same_genres(headnod, demo):
    samples = (np.clip(demo, -1, 1) * 32767).astype("<i2").tobytes()
    piped = json_lines(headnod("listen", "--audio", "-", "--rate", str(RATE), "--json", stdin=samples))
    stored = json_lines(headnod("listen", "--audio", demo_clip(), "--json"))
    assert len(stored) == 8
    assert [each["genre"] for each in piped] == [each["genre"] for each in stored] == ["metal"] * 8
    assert [each["sequence"] for each in stored] == list(range(8))
    for one, other in zip(piped, stored, strict=True):
        assert list(one["scores"].values()) == pytest.approx(list(other["scores"].values()), abs=0.03)


def test_raw_samples_of_another_rate_and_of_two_channels_are_heard_alike(headnod, demo):
    stereo = np.repeat(demo[: 10 * RATE], 4).reshape(-1, 2)
    samples = (np.clip(stereo, -1, 1) * 32767).astype("<i2").tobytes()
    ended = headnod("listen", "--audio", "-", "--rate", "44100", "--channels", "2", "--plain", stdin=samples)
    assert [line.split()[1] for line in ended.stdout.splitlines()] == ["metal"] * 3


def test_a_file_at_the_pace_of_music_takes_its_time(headnod, tmp_path, brief):
    path = write(tmp_path / "song.wav", music(2.0))
    began = time.monotonic()
    assert json_lines(headnod("listen", "--audio", path, "--model", brief, "--pace", "real", "--json"))
    assert time.monotonic() - began >= 2.0
    path = write(tmp_path / "long.wav", music(2 * PATIENCE))
    began = time.monotonic()
    assert json_lines(headnod("listen", "--audio", path, "--model", brief, "--pace", "fast", "--json"))
    assert time.monotonic() - began < 2 * PATIENCE


def test_a_file_shorter_than_a_window_says_so(headnod, tmp_path):
    ended = headnod("listen", "--audio", write(tmp_path / "a.wav", music(1.0)), "--json")
    assert ended.stdout == ""
    assert "ended before its first 3.0 s" in fault(ended, 0)


SOUNDING = '["sh", "-c", "exec cat /dev/zero"]'
HANGING = '["sleep", "600"]'


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
@pytest.mark.parametrize(
    "command",
    ["", SOUNDING, pytest.param(HANGING, marks=pytest.mark.long)],
    ids=["absent", "sounding", "hanging"],
)
def test_a_listener_that_is_stopped_ends_soon(environment, number, status, command):
    if command:
        environment["HEADNOD_MICROPHONE__COMMAND"] = command
    words = ["listen", "--audio", "mic", "--device", "usb:none", "--json"]
    with subprocess.Popen(
        [*HEADNOD, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().startswith(b"{")
        process.send_signal(number)
        began = time.monotonic()
        _, log = process.communicate(timeout=PATIENCE)
        assert time.monotonic() - began < PROMPT
        assert (process.returncode, log.decode()) == (status, "")


def test_the_configuration_is_shown_with_its_origins(headnod, tmp_path):
    (tmp_path / "headnod.toml").write_text("[listen]\nevery = 1.5\n")
    ended = headnod("config", "show")
    assert f"listen.every = 1.5{' ' * 22}# {tmp_path / 'headnod.toml'}:2" in ended.stdout
    (told,) = (each for each in json_lines(headnod("config", "show", "--json"))[0] if each["key"] == "every")
    assert told == {"section": "listen", "key": "every", "value": 1.5, "origin": f"{tmp_path / 'headnod.toml'}:2"}
    assert headnod("config", "check").stdout.startswith("ok       configuration  valid (1 value set, ")


def test_the_configuration_is_shown_without_logins(headnod, tmp_path):
    for line in (
        'address = "rtsp://me:secret@camera/live"',
        'command = ["ffmpeg", "-i", "rtsp://me:secret@camera/live"]',
    ):
        (tmp_path / "headnod.toml").write_text(f"[microphone]\n{line}\n")
        for words in (["show"], ["show", "--json"]):
            shown = headnod("config", *words).stdout
            assert "rtsp://camera/live" in shown
            assert "secret" not in shown


def test_the_configuration_is_shown_without_the_paths_of_webhooks(headnod, tmp_path):
    (tmp_path / "headnod.toml").write_text('[web]\nwebhooks = ["https://me:secret@hooks.lan:8443/secret?key=secret"]\n')
    for words in (["show"], ["show", "--json"]):
        shown = headnod("config", *words).stdout
        assert "https://hooks.lan:8443/..." in shown
        assert "secret" not in shown


def test_every_wrong_value_has_a_line(headnod, tmp_path):
    (tmp_path / "headnod.toml").write_text("[listen]\nevery = 0\ncertainty = 2.0\n[history]\ndays = 0\n")
    ended = headnod("config", "check")
    assert ended.returncode == 78
    assert [line.split(": ")[2] for line in ended.stderr.splitlines()] == [
        "listen.every",
        "listen.certainty",
        "history.days",
    ]


def test_the_version_is_that_of_the_package(headnod):
    assert headnod("--version").stdout == f"headnod {__version__}\n"


MEASURED = """
import sys
from headnod.__main__ import main
status = main(sys.argv[1:])
with open("/proc/self/status") as file:
    (line,) = (line for line in file if line.startswith("VmHWM"))
sys.stderr.write(line)
sys.exit(status)
"""


def test_listening_to_a_file_takes_less_than_90_megabytes(environment, tmp_path, demo, record_property):
    path = write(tmp_path / "long.flac", np.tile(demo, 4), RATE)
    command = [HEADNOD[0], "-c", MEASURED, "listen", "--audio", str(path), "--json"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert len(ended.stdout.splitlines()) == 35
    kibibytes = int(ended.stderr.split()[1])
    record_property("peak memory in MB", kibibytes * 1024 / 1e6)
    # On a processor with AMX, where XNNPACK takes 6 MB more: 74 MB with Python 3.11, 81 with 3.13.
    assert kibibytes * 1024 < 90e6
