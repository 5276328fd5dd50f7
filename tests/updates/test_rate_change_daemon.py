"""A listener that runs goes on when a model of another sample rate is activated, fails or is rolled back."""

import json

import numpy as np
import pytest
import soundfile
from msgspec.structs import replace

from headnod.config import Config, ModelSection
from headnod.pipeline.listener import ListenerSettings
from headnod.runtime import Runtime
from headnod.updates.state import ShadowRequest
from support.bundles import TAGGER
from support.signals import music
from support.signed_bundles import good, public, write

EVERY = 0.5


@pytest.fixture
def clip(tmp_path):
    """Half a minute of music at 44.1 kHz."""
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.tile(music(15.0), 4)[: 30 * 44_100], 44_100)
    return path


@pytest.fixture
def config(tmp_path, state, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    base = write(good("0.1.0", serial=0, key=None, labels=("calm", "loud")), tmp_path / "base")
    return Config(
        model=ModelSection(name=str(base), keys=(public(),), probation=4),
        listen=ListenerSettings(every=EVERY, silence=-120.0, above_noise=0.0),
    )


def test_no_window_is_lost_over_an_activation_and_a_rollback(config, clip, installer, capsys):
    """The source is neither closed nor opened again: the file would begin anew."""
    passed = 0

    def until():
        nonlocal passed
        passed += 1
        if passed == 10:
            other = good("2.0.0", serial=2, labels=("jazz", "metal", "pop"), front_end=TAGGER)
            installer.start_probation(installer.install(other))
        elif passed == 30:
            installer.store.roll_back("somebody asked for it")
        return False

    with Runtime(config, str(clip), None) as runtime:
        runtime.show_on_terminal("json", "")
        assert not runtime.listen(until=until)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    estimates = [each for each in said if "genre" in each]
    labels = [len(each["scores"]) for each in estimates]
    turned, back = labels.index(3), len(labels) - labels[::-1].index(3)
    assert set(labels[:turned]) == set(labels[back:]) == {2}
    assert set(labels[turned:back]) == {3}
    assert 10 <= turned <= 13
    assert [each["sequence"] for each in estimates] == list(range(len(estimates)))
    ends = [each["seconds"] for each in estimates]
    steps = np.diff(ends)
    # The tagger's window is three seconds long: until there was as much sound, its first one waits.
    assert steps.max() <= EVERY + 0.05
    assert steps.min() > 0
    assert ends[-1] == pytest.approx(30.0, abs=EVERY + 0.05)


def test_a_shadow_of_another_rate_is_compared(config, clip, installer, caplog):

    caplog.set_level("INFO")
    taken = installer.install(good("2.0.0", serial=2, labels=("calm", "loud"), front_end=TAGGER))
    installer.store.change(lambda each: replace(each, shadow=ShadowRequest(taken, 1)))
    with Runtime(config, str(clip), None) as runtime:
        runtime.listen(until=lambda: False)
    assert "fixed-2.0.0 agrees with fixed-0.1.0 on " in caplog.text
    assert "no shadow runs" not in caplog.text
    assert "the shadow failed" not in caplog.text
