"""Ctrl-C while a file is decoded is neither lost nor taken for damage."""

import io
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from headnod.audio.audio_file import audio_file, delayed_interrupt, uninterrupted
from support.signals import RATE, music


class Interrupting(io.FileIO):
    """A file whose reader is pressed Ctrl-C at while it reads."""

    armed = True

    def readinto(self, buffer):
        if self.armed:
            os.kill(os.getpid(), signal.SIGINT)
        return super().readinto(buffer)


class InterruptingPath(type(Path())):
    armed = True

    def open(self, *_, **__):
        self.opened = Interrupting(self)
        self.opened.armed = self.armed
        return self.opened


@pytest.fixture
def path(tmp_path):
    soundfile.write(tmp_path / "song.wav", music(3.0), RATE)
    return InterruptingPath(tmp_path / "song.wav")


def test_ctrl_c_is_not_lost_while_a_file_is_opened(path):
    with pytest.raises(KeyboardInterrupt), delayed_interrupt(), audio_file(path, RATE):
        pass


def test_ctrl_c_is_not_lost_while_a_file_is_decoded(path):
    path.armed = False
    with audio_file(path, RATE) as blocks:
        path.opened.armed = True
        with pytest.raises(KeyboardInterrupt):
            list(uninterrupted(blocks))


def test_blocks_pass_as_they_are(rng):
    blocks = [rng.normal(size=size).astype(np.float32) for size in (3, 0, 5)]
    assert all(map(np.array_equal, uninterrupted(iter(blocks)), blocks))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_that_is_ignored_stays_so():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with delayed_interrupt():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


def test_another_thread_decodes_as_ever():
    heard = []
    thread = threading.Thread(target=lambda: heard.extend(uninterrupted(iter([np.zeros(3, np.float32)]))))
    thread.start()
    thread.join()
    assert len(heard) == 1
