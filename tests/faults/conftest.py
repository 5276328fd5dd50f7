"""What the faults start from: listeners in processes of their own, and a microphone that is a program."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from support import bundles
from support.listener_process import Listening
from support.pulseaudio import NAME, VirtualMicrophone
from support.sound_loss import LOUD, tone

ROOM_NOISE = Path(__file__).with_name("room_noise.py")


@pytest.fixture
def environment(tmp_path):
    """Of a listener that meets no other one, and no configuration but its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADNOD_", "STATE_", "NOTIFY_"))}
    return {**kept, "RUNTIME_DIRECTORY": str(tmp_path)}


@pytest.fixture
def configured(tmp_path, brief):
    """Writes the configuration of a listener that hears noise, with sections added or replaced; gives its path."""

    def configured(*, dbfs=-20, every=0.2, model=brief, more=""):
        path = tmp_path / "headnod.toml"
        path.write_text(
            f'[microphone]\ncommand = ["{sys.executable}", "{ROOM_NOISE}", "{dbfs}"]\n'
            f'[model]\nname = "{model}"\n[listen]\nevery = {every}\nsilence = -80.0\n{more}'
        )
        return path

    return configured


@pytest.fixture
def listening(tmp_path, environment):
    """Starts listeners."""
    with ExitStack() as stack:

        def listening(*words, **changed):
            log = tmp_path / "log"
            return stack.enter_context(Listening(*map(str, words), environment=environment | changed, log=log))

        yield listening


@pytest.fixture
def microphone(tmp_path):
    """A microphone that hears a loud tone."""
    microphone = VirtualMicrophone(tmp_path / "sound")
    with ExitStack() as stack:
        stack.callback(microphone.close)
        microphone.start()
        microphone.play(tone(tmp_path, LOUD))
        yield microphone


@pytest.fixture
def start(tmp_path):
    """Starts listeners to the virtual microphone."""
    with ExitStack() as stack:

        def start(environment, *, model=None, every=0.2):
            model = model or bundles.write_short(tmp_path / "model")
            listening = Listening(
                *("--audio", "mic", "--device", NAME, "--model", str(model), "--every", str(every)),
                environment=environment,
                log=tmp_path / "log",
            )
            return stack.enter_context(listening)

        yield start
