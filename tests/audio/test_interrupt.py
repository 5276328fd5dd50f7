"""Ctrl-C and SIGTERM while a file is decoded are neither lost nor taken for damage."""

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import soundfile

from headnod.audio.audio_file import audio_file, delayed_signals
from support.signals import RATE, music

# A parent that sends a signal between any two instructions of a child that decodes without a pause.
DECODING = """
import signal, sys
from pathlib import Path
from headnod.audio.audio_file import audio_file

signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
try:
    print("ready", flush=True)
    while True:
        with audio_file(Path(sys.argv[1]), 22050) as blocks:
            for _ in blocks:
                pass
except KeyboardInterrupt:
    sys.exit(8)
"""


class Interrupting(io.FileIO):
    """A file whose reader gets a signal while it reads."""

    armed = True
    number = signal.SIGINT

    def readinto(self, buffer):
        self._interrupt()
        return super().readinto(buffer)

    def read(self, size=-1):
        self._interrupt()
        return super().read(size)

    def _interrupt(self):
        if self.armed:
            os.kill(os.getpid(), self.number)


class InterruptingPath(type(Path())):
    armed = True

    def open(self, *_, **__):
        self.opened = Interrupting(self)
        self.opened.armed = self.armed
        return self.opened


@pytest.fixture
def terminated():
    """SIGTERM as the program handles it."""
    former = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    yield
    signal.signal(signal.SIGTERM, former)


@pytest.fixture(params=["wav", "flac", "mp3", "ogg"])
def path(tmp_path, request):
    path = InterruptingPath(tmp_path / f"song.{request.param}")
    soundfile.write(str(path), music(3.0), RATE)
    return path


def test_ctrl_c_is_not_lost_while_a_file_is_opened(path):
    with pytest.raises(KeyboardInterrupt), audio_file(path, RATE):
        pass


@pytest.mark.usefixtures("terminated")
@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["int", "term"]
)
def test_a_signal_is_not_lost_while_a_file_is_decoded(path, number, raised):
    path.armed = False
    with audio_file(path, RATE) as blocks:
        path.opened.number, path.opened.armed = number, True
        with pytest.raises(raised):
            list(blocks)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 8), (signal.SIGTERM, 7)], ids=["int", "term"])
def test_a_program_that_decodes_without_a_pause_ends(tmp_path, number, status):
    soundfile.write(tmp_path / "song.wav", music(3.0), RATE)
    command = [sys.executable, "-c", DECODING, str(tmp_path / "song.wav")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(20) == status, process.stderr.read()


def test_ctrl_c_that_is_ignored_stays_so():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with delayed_signals():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


def test_another_thread_decodes_as_before(path):
    path.armed = False
    decoded = []

    def decode():
        with audio_file(path, RATE) as blocks:
            decoded.extend(blocks)

    thread = threading.Thread(target=decode)
    thread.start()
    thread.join()
    assert sum(map(len, decoded)) > 2 * RATE
