"""A microphone that PyAudio really opens hears what is played."""

import logging
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pytest
import soundfile

from headnod.audio.audio_process import AudioProcess
from headnod.audio.blocks import Gap
from headnod.audio.microphone import CAPTURE, microphone_blocks
from headnod.pipeline.estimate import State
from support import pulseaudio
from support.command_line import PATIENCE
from support.pulseaudio import VirtualMicrophone
from support.signals import RATE

pytest.importorskip("pyaudio", reason="PyAudio is not installed: scripts/setup device")
pytestmark = pytest.mark.skipif(bool(pulseaudio.missing()), reason=f"not installed: {pulseaudio.missing()}")


@pytest.fixture
def microphone(tmp_path):
    made = VirtualMicrophone(tmp_path)
    with ExitStack() as stack:
        stack.callback(made.close)
        made.start()
        yield made


@pytest.fixture
def blocks(microphone):
    told = {key: microphone.environment[key] for key in ("HOME", "PULSE_RUNTIME_PATH", "PULSE_SERVER")}
    command = ["env", *(f"{key}={value}" for key, value in told.items())]
    command += [sys.executable, "-P", str(CAPTURE), "read", "vmic", "0.25", "44100", "48000"]
    heard = microphone_blocks(lambda: AudioProcess(command), RATE)
    # A null sink that just started gives its first sound after two seconds, when it already counts as hung.
    until(heard, np.ndarray)
    yield heard
    heard.close()


def listened(blocks, seconds):
    """So many seconds of sound on end; a busy machine may lose some now and then, and it begins anew."""
    heard, count, deadline = [], 0, time.monotonic() + PATIENCE
    while count < seconds * RATE:
        block = next(blocks)
        if isinstance(block, Gap):
            assert block.state is State.BEHIND, block
            assert time.monotonic() < deadline, block
            heard, count = [], 0
        else:
            heard.append(block)
            count += block.size
    return np.concatenate(heard)


def until(blocks, kind):
    """The first of that kind."""
    deadline = time.monotonic() + PATIENCE
    while not isinstance(block := next(blocks), kind):
        assert time.monotonic() < deadline
    return block


def aligned(heard, played):
    """The part of what was heard that holds what was played, and the played as late as that, to a tenth of a sample."""
    size = heard.size + played.size
    lags = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size)))
    start = int(lags[: heard.size - played.size].argmax())
    part = heard[start : start + played.size]
    turns = -2j * np.pi * np.fft.rfftfreq(played.size)
    spectrum = np.fft.rfft(played)
    late = [np.fft.irfft(spectrum * np.exp(turns * samples), played.size) for samples in np.linspace(-1.0, 1.0, 21)]
    return part, max(late, key=lambda moved: float(moved @ part))


def test_the_microphone_hears_what_the_file_holds(microphone, blocks, demo, tmp_path):
    song = demo[RATE : 4 * RATE]
    soundfile.write(tmp_path / "song.wav", song, RATE)
    half, least = RATE // 2, []
    deadline = time.monotonic() + PATIENCE
    # A busy machine lets the player stumble, which is no fault of the microphone.
    while max(least, default=0.0) < 0.99:
        assert time.monotonic() < deadline, least
        listened(blocks, 0.5)
        player = microphone.play(tmp_path / "song.wav", ahead=1_000)
        heard = listened(blocks, 5.5)
        assert player.wait(PATIENCE) == 0
        pieces = zip(*(audio.reshape(-1, half) for audio in aligned(heard, song)), strict=True)
        # A player that stumbled leaves silence, which correlates with nothing.
        found = [np.corrcoef(part, meant)[0, 1] if part.std() else 0.0 for part, meant in pieces]
        assert len(found) == 6
        least.append(min(found))
    logging.getLogger(__name__).info("least correlation of half a second: %s", least)


@pytest.mark.long
def test_a_sound_server_that_dies_is_noticed_and_waited_for(microphone, blocks):
    listened(blocks, 1.0)
    microphone.kill_server()
    assert until(blocks, Gap).state is State.WAITING
    assert isinstance(next(blocks), Gap)
    microphone.start()
    until(blocks, np.ndarray)
    listened(blocks, 1.0)


def test_the_virtual_microphone_is_listed_by_its_stable_name(microphone):
    command = [sys.executable, "-m", "headnod", "devices"]
    ended = subprocess.run(
        command, env=microphone.environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert f" {pulseaudio.NAME} " in ended.stdout
