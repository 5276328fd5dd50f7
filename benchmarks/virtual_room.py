"""A broker and a microphone that the daemon really uses, on a machine that has neither.

The microphone is a plugin of ALSA that PyAudio opens, built on the spot; where
that cannot be, a command that writes samples at the pace of sound.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soxr

from benchmarks.material import RATE, music
from benchmarks.processes import ending, run, start

_STARTING = 15.0
_SECONDS = 900
"""More music than any measurement takes."""
_MICROPHONE = Path(__file__).with_name("paced_microphone.c")
_ITS_RATE = 48_000

_PLAYER = """
import os, sys, time
music, began, written = open(sys.argv[1], "rb"), time.monotonic(), 0
while block := music.read(11024):
    os.write(1, block)
    written += len(block)
    time.sleep(max(began + written / 44100 - time.monotonic(), 0))
"""


class NotInstalledError(RuntimeError):
    """A program that the measurement needs is missing."""


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Debian's mosquitto on loopback; gives its port.

    Raises:
        NotInstalledError: It, or what listens to it, is missing.
    """
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or shutil.which("mosquitto_sub") is None:
        message = "mosquitto or mosquitto_sub is not installed (apt-get install mosquitto mosquitto-clients)"
        raise NotInstalledError(message)
    # Bound and never listening, it keeps the port from others; mosquitto may share it because both set SO_REUSEADDR.
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        settings = folder / "mosquitto.conf"
        user = "user root\n" if os.getuid() == 0 else ""
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{user}", encoding="utf-8")
        with ending(start([program, "-c", settings])):
            _until(lambda: _answers(port), "mosquitto did not start")
            yield port


def commanded(folder: Path) -> dict[str, str]:
    """The environment of a daemon whose microphone is a command that writes music."""
    settings = folder / "headnod.toml"
    command = [sys.executable, "-c", _PLAYER, str(sound_file(folder))]
    settings.write_text(f"[microphone]\ncommand = {json.dumps(command)}\n", encoding="utf-8")
    return {"RUNTIME_DIRECTORY": str(folder), "HEADNOD_CONFIG": str(settings)}


def sound_file(folder: Path, rate: int = RATE) -> Path:
    """Music as mono samples of 16 bit, longer than it will be listened to."""
    place = folder / "music.raw"
    heard = soxr.resample(music(), RATE, rate)
    (np.resize(heard, _SECONDS * rate) * np.float32(20_000.0)).astype("<i2").tofile(place)
    return place


@contextlib.contextmanager
def microphone(folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """A microphone that hears music; gives the environment that the daemon needs for it, and what it is."""
    plugin = folder / "paced_microphone.so"
    try:
        run(["cc", "-shared", "-fPIC", "-DPIC", "-O2", "-o", plugin, _MICROPHONE, "-lasound"])
    except (OSError, RuntimeError):
        yield commanded(folder), "a command, not PyAudio: no C compiler with the headers of ALSA (portaudio19-dev)"
        return
    played, settings = sound_file(folder, _ITS_RATE), folder / "asound.conf"
    # Nothing else: for each name that the system's own settings add, PortAudio loads the plugin and keeps it.
    settings.write_text(
        f'pcm_type.paced {{ lib "{plugin}" }}\n'
        f'pcm.vmic {{ type paced file "{played}" hint {{ show on description "virtual microphone" }} }}\n'
        "pcm.default { type null }\n",
        encoding="utf-8",
    )
    there = {"HOME": str(folder), "RUNTIME_DIRECTORY": str(folder), "ALSA_CONFIG_PATH": str(settings)}
    yield {**there, "HEADNOD_MICROPHONE__DEVICE": "pcm:vmic"}, "PyAudio on a virtual microphone of ALSA"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _until(there: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _STARTING
    while not there():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.05)
