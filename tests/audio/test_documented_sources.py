"""Every line of docs/sources.md plays: real sound servers, streams and programs in the place of the examples."""

import re
import shutil
import struct
import time
import tomllib
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from headnod.audio.blocks import Gap
from headnod.config import MicrophoneSection
from headnod.factory import MICROPHONE, opener, source
from support import pulseaudio
from support.pipewire import PipeWire
from support.pipewire import missing as pipewire_missing
from support.pulseaudio import VirtualMicrophone
from support.radio_server import answer, radio_server
from support.rtsp_server import RATE as SENT
from support.rtsp_server import rtsp_server
from support.signals import RATE, pitch, tone

TEXT = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
LINES = {each[1]: each[2] for each in re.finditer(r"^\| (.+?) \| `(\w+ = .+)` ?\|$", TEXT, re.MULTILINE)}
LINES["a certain microphone"] = re.search(r'`(device = "\S+")`', TEXT)[1]


def section(name, **replaced):
    (line,) = (line for about, line in LINES.items() if name in about)
    found = msgspec.convert(tomllib.loads(line), MicrophoneSection, strict=False)
    for old, new in replaced.items():
        command = tuple(word.replace(old, new) for word in found.command)
        found = msgspec.structs.replace(found, command=command)
    return found


@pytest.fixture
def played(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))

    def play(wanted, seconds=2.0):
        """The pitch of what a source plays, from its first sound on."""
        found, deadline = [], time.monotonic() + 30.0
        with source(MICROPHONE, wanted, RATE, None) as blocks:
            for block in blocks:
                assert time.monotonic() < deadline
                if isinstance(block, Gap) or not block.size or (not found and np.max(np.abs(block)) < 0.05):
                    continue
                found.append(block)
                if sum(each.size for each in found) > seconds * RATE:
                    break
        return pitch(np.concatenate(found)[RATE // 2 :])

    return play


@pytest.fixture
def sine(tmp_path):
    path = tmp_path / "sine.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 440 * np.arange(30 * RATE) / RATE), RATE)
    return path


def test_every_line_is_a_configuration():
    assert len(LINES) == 8
    for line in LINES.values():
        msgspec.convert(tomllib.loads(line), MicrophoneSection, strict=False)


@pytest.mark.skipif(bool(pulseaudio.missing()), reason=f"not installed: {pulseaudio.missing()}")
@pytest.mark.parametrize("name", ["with PulseAudio", "through PulseAudio", "through ALSA"])
def test_sound_of_pulseaudio(monkeypatch, tmp_path, played, sine, name):
    if name == "through ALSA" and shutil.which("arecord") is None:
        pytest.skip("arecord is not installed")
    with ExitStack() as stack:
        made = VirtualMicrophone(tmp_path / "pulse")
        stack.callback(made.close)
        made.start()
        for key in ("HOME", "PULSE_RUNTIME_PATH", "PULSE_SERVER"):
            monkeypatch.setenv(key, made.environment[key])
        made.play(sine)
        wanted = section(name, default="vmic") if name == "through ALSA" else section(name)
        assert played(wanted) == pytest.approx(440.0, abs=3.0)


@pytest.mark.skipif(bool(pipewire_missing()), reason=f"not installed: {pipewire_missing()}")
def test_what_pipewire_plays(monkeypatch, tmp_path, played, sine):
    with PipeWire(tmp_path / "pipewire") as server:
        for key in ("HOME", "XDG_RUNTIME_DIR"):
            monkeypatch.setenv(key, server.environment[key])
        server.play(sine)
        assert played(section("with PipeWire")) == pytest.approx(440.0, abs=3.0)


def test_a_web_radio(played):
    with radio_server() as server:
        server.on("/live.mp3", answer(tone(440.0, 6.0)))
        wanted = section("a web radio")
        found = msgspec.structs.replace(wanted, address=wanted.address.replace("http://radio.example:8000", server.url))
        assert played(found) == pytest.approx(440.0, abs=3.0)
        with opener(found)() as capture:
            assert capture.read(5.0)


def test_a_camera(played):
    pytest.importorskip("av", reason="PyAV is not installed: scripts/setup formats")
    with rtsp_server(0.3 * np.sin(2 * np.pi * 440 * np.arange(6 * SENT) / SENT)) as server:
        wanted = section("a camera")
        example = "rtsp://camera.example:8554/live"
        found = msgspec.structs.replace(wanted, address=wanted.address.replace(example, server.address))
        assert played(found) == pytest.approx(440.0, abs=3.0)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_what_ffmpeg_opens(played, sine):
    assert played(section("FFmpeg", INPUT=str(sine))) == pytest.approx(440.0, abs=3.0)


def test_the_header_of_pipewire_1_4_is_recognised(played, tmp_path):
    samples = 10_000 * np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE)
    header = b"dns." + struct.pack("<5I", 24, 0xFFFFFFFF, 3, RATE, 1)
    (tmp_path / "pipe").write_bytes(header + samples.astype("<i2").tobytes())
    wanted = MicrophoneSection(command=("cat", str(tmp_path / "pipe")), rate=48_000)
    assert played(wanted) == pytest.approx(440.0, abs=3.0)
