"""The audio of cameras and other RTSP servers, through PyAV."""

import base64
import itertools
import random
import socket
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from headnod.audio.audio_process import RadioLimits, radio_blocks
from headnod.audio.blocks import Gap
from support.command_line import run, surroundings
from support.rtsp_server import RATE as SENT
from support.rtsp_server import rtsp_server
from support.signals import RATE, pitch

pytest.importorskip("av", reason="PyAV is not installed: scripts/setup formats")
LIMITS = RadioLimits(answer=5.0, silent=5.0)


def sine(seconds, frequency=440.0):
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * SENT)) / SENT)


def received(address, limits=LIMITS):
    """The blocks up to the first gap, and its message."""
    with closing(radio_blocks(address, RATE, limits=limits, rng=random.Random(0), sleep=lambda _: None)) as coming:
        found = list(itertools.takewhile(lambda block: not isinstance(block, Gap), coming))
        return np.concatenate([np.zeros(0, np.float32), *found])


def reason(address, limits=LIMITS):
    with closing(radio_blocks(address, RATE, limits=limits, rng=random.Random(0), sleep=lambda _: None)) as coming:
        return next(block.message for block in coming if isinstance(block, Gap))


def test_the_audio_of_a_camera_is_played_and_its_video_not_requested():
    with rtsp_server(sine(6.0)) as server:
        sound = received(server.address)
        setups = [request.split()[1] for request in server.requests if request.startswith("SETUP")]
    assert sound.size / RATE == pytest.approx(6.0, abs=0.3)
    assert pitch(sound[RATE:]) == pytest.approx(440.0, abs=2.0)
    assert setups == [f"{server.address}/audio"]


def test_a_login_goes_to_the_server_and_into_no_message():
    login = "Basic " + base64.b64encode(b"me:secret").decode()
    with rtsp_server(sine(3.0), login=login) as server:
        address = server.address.replace("://", "://me:secret@")
        assert received(address).size / RATE == pytest.approx(3.0, abs=0.3)
        message = reason(server.address)
        wrong = reason(address.replace("secret", "other"))
    assert "requires a login (write rtsp://NAME:PASSWORD@host/...)" in message
    assert "other" not in wrong


def test_a_wrong_path_is_refused_with_the_address():
    with rtsp_server(sine(1.0)) as server:
        address = server.address.replace("/live", "/other")
        assert reason(address).startswith(f"{address}: the server refuses: ")


def test_a_camera_that_is_off_is_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert reason(f"rtsp://me:secret@127.0.0.1:{port}/live") == f"rtsp://127.0.0.1:{port}/live: connection refused"


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
        assert reason(address, RadioLimits(answer=0.5)).startswith(address)


def test_a_stream_that_stalls_is_given_up():
    with rtsp_server(sine(3.0), stalled=True) as server:
        assert reason(server.address, RadioLimits(answer=30.0, silent=1.0)).endswith("no sound came for 1 s")


@pytest.mark.parametrize("wanted", ["rtsp", "m4a"])
def test_without_pyav_the_command_that_installs_it_is_named(tmp_path, wanted):
    (tmp_path / "av.py").write_text("raise ImportError('no such module', name='av')")
    environment = surroundings(tmp_path) | {"PYTHONPATH": f"{tmp_path}:{':'.join(filter(None, sys.path))}"}
    if wanted == "m4a":
        (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(64))
        message = run("classify", str(tmp_path / "song.m4a"), environment=environment).stderr
    else:
        command = "from headnod.audio.decoder import run, radio_sound; run(lambda: radio_sound('rtsp://x/', 1.0))"
        message = subprocess.run(
            [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=False
        ).stdout
    assert "which needs PyAV (install it with: " in message
