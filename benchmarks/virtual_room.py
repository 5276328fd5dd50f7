"""A broker and a microphone that the daemon really uses, on a machine that has neither.

The microphone is PulseAudio's null sink, read by PyAudio through ALSA; where no
PulseAudio is installed, a command that writes silence at the pace of sound.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.processes import run, start

_STARTING = 15.0
_SINK = "module-null-sink sink_name=vmic rate=48000 channels=1 format=s16le"
_HISS = """
import os, time
block, began, written = os.urandom(11024), time.monotonic(), 0
while True:
    os.write(1, block)
    written += 1
    time.sleep(max(began + written / 4 - time.monotonic(), 0))
"""


class NotInstalledError(RuntimeError):
    """A program that the measurement needs is missing."""


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[int]:
    """Debian's mosquitto on loopback; gives its port."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        message = "mosquitto is not installed"
        raise NotInstalledError(message)
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = folder / "mosquitto.conf"
    user = "user root\n" if os.getuid() == 0 else ""
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{user}", encoding="utf-8")
    with ending(start([program, "-c", settings])):
        _until(lambda: _answers(port), "mosquitto did not start")
        yield port


@contextlib.contextmanager
def microphone(folder: Path) -> Iterator[tuple[dict[str, str], str]]:
    """A microphone; gives the environment that the daemon needs for it, and what it is."""
    if shutil.which("pulseaudio") is None or shutil.which("pacat") is None:
        settings = folder / "headnod.toml"
        settings.write_text(f"[microphone]\ncommand = {[sys.executable, '-c', _HISS]!r}\n", encoding="utf-8")
        yield {"RUNTIME_DIRECTORY": str(folder), "HEADNOD_CONFIG": str(settings)}, "a command"
        return
    home = folder / "home"
    home.mkdir(mode=0o700)
    server = f"unix:{folder / 'native'}"
    (home / ".asoundrc").write_text(
        f'pcm.vmic {{ type pulse server "{server}" device "vmic.monitor" '
        'hint { show on description "virtual microphone" } }\n',
        encoding="utf-8",
    )
    runtime = str(folder)
    there = {"HOME": str(home), "PULSE_RUNTIME_PATH": runtime, "PULSE_SERVER": server, "RUNTIME_DIRECTORY": runtime}
    sound = [
        *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"),
        *("-L", f"module-native-protocol-unix socket={folder / 'native'} auth-anonymous=1", "-L", _SINK),
    ]
    hiss = ["pacat", "--playback", "--raw", "--format=s16le", "--rate=48000", "--channels=1", "-d", "vmic"]
    with ending(start(sound, more=there)):
        _until(lambda: _hears(there), "PulseAudio did not start")
        with ending(start([*hiss, "/dev/urandom"], more=there)):
            yield {**there, "HEADNOD_MICROPHONE__DEVICE": "pcm:vmic"}, "PyAudio on a virtual microphone"


@contextlib.contextmanager
def ending(program: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A program that ends when it is no longer needed."""
    try:
        yield program
    finally:
        program.send_signal(signal.SIGTERM)
        try:
            program.wait(_STARTING)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        if program.stdout is not None:
            program.stdout.close()


def _hears(there: dict[str, str]) -> bool:
    try:
        run(["pactl", "info"], more=there)
    except RuntimeError:
        return False
    return True


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
