"""A state folder, an intake into it that trusts the test's key, and listeners that run."""

import os
import shutil
import subprocess
import sys

import pytest
import soundfile

from headnod.resources import demo_clip
from headnod.updates.installer import Installer
from support import signed_bundles
from support.command_line import PATIENCE
from support.listener_process import Listening
from support.mqtt_broker import Broker, Subscriber
from support.signed_bundles import good, public

EVERY = 0.5
HEADNOD = (sys.executable, "-m", "headnod")


@pytest.fixture
def state(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """A state folder with one model that has passed its probation; copied, not used."""
    state = tmp_path_factory.mktemp("kept")
    installer = Installer(state, [signed_bundles.public()], lambda _: None, budget=1.0, windows=4)
    installer.start_probation(installer.install(signed_bundles.good("1.0.0", serial=1)))
    installer.store.keep()
    return state


@pytest.fixture(scope="session")
def tried(kept, tmp_path_factory):
    """The same with another on probation."""
    state = tmp_path_factory.mktemp("tried") / "state"
    shutil.copytree(kept, state, symlinks=True)
    installer = Installer(state, [signed_bundles.public()], lambda _: None, budget=1.0, windows=4)
    installer.start_probation(installer.install(signed_bundles.good("2.0.0", serial=2)))
    return state


@pytest.fixture
def said():
    """Every step that was told."""
    return []


@pytest.fixture
def installer(state, said):
    return Installer(state, [signed_bundles.public()], said.append, budget=EVERY / 2, windows=4)


@pytest.fixture
def activation(installer):
    return installer.store


@pytest.fixture
def store(installer):
    return installer.store


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path / "broker", durable=False) as started:
        yield started


@pytest.fixture
def subscriber(broker):
    with Subscriber(broker) as all_of_it:
        yield all_of_it


@pytest.fixture
def music(tmp_path):
    """The demo clip as a microphone that never ends."""
    raw = tmp_path / "music.raw"
    with raw.open("wb") as file:
        samples, rate = soundfile.read(demo_clip(), dtype="int16")
        mono = samples[:: max(rate // 22_050, 1), 0]
        for _ in range(16):
            file.write(mono.astype("<i2").tobytes())
    return raw


@pytest.fixture
def configured(tmp_path, broker):
    """Writes the configuration of a listener that takes signed models."""
    base = signed_bundles.write(good("0.1.0", serial=0, key=None, labels=("calm", "loud")), tmp_path / "base")

    def configured(more="", every=0.25, probation=4):
        path = tmp_path / "headnod.toml"
        path.write_text(
            f'[model]\nname = "{base}"\nkeys = ["{public()}"]\nprobation = {probation}\n{more}\n'
            f"[listen]\nevery = {every}\nsilence = -90.0\nabove_noise = 0.0\n"
            f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\nnode = "kitchen"\n'
        )
        return path

    return configured


@pytest.fixture
def environment(tmp_path, state):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADNOD_", "NOTIFY_"))}
    return {**kept, "STATE_DIRECTORY": str(state), "RUNTIME_DIRECTORY": str(tmp_path)}


@pytest.fixture
def listening(tmp_path, configured, environment, music):
    """Starts listeners that hear the clip at the pace of music."""
    started = []

    def listening(**how):
        path = configured(**how)
        words = ("--audio", "-", "--rate", "22050", "--pace", "real", "--config", str(path))
        with music.open("rb") as stdin:
            listener = Listening(*words, environment=environment, log=tmp_path / "log", stdin=stdin)
        started.append(listener)
        return listener

    yield listening
    for listener in started:
        listener.__exit__()


@pytest.fixture
def headnod(environment, tmp_path):
    """Runs `headnod models` beside the listener."""

    def run(*words, status=0):
        command = [*HEADNOD, "models", *map(str, words), "--config", str(tmp_path / "headnod.toml")]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert ended.returncode == status, ended.stderr
        return ended.stdout + ended.stderr

    return run
