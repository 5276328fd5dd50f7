"""`headnod.local.toml`: over the person's file, under the environment, harmless keys only, never in the way."""

import json
import subprocess
import sys
import tomllib

import pytest

from headnod.config import CHANGEABLE, OVERLAY_FILE, SECTIONS, Overlay, load
from headnod.config.layers import environment_layer, file_layer
from headnod.errors import ConfigError
from support.command_line import PATIENCE, run, surroundings


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[listen]\nlead = 0.2\nevery = 2.0\n[microphone]\ndevice = "usb:a"\n')
    return path


@pytest.fixture
def overlay(tmp_path, own):
    environment = environment_layer({"HEADNOD_LISTEN__EVERY": "1.0"})
    return Overlay(tmp_path / OVERLAY_FILE, lambda layer: load(file_layer(own, required=True), layer, environment))


def test_it_lies_over_the_persons_file_and_under_the_environment(overlay, own):
    before = own.read_bytes()
    overlay.path.write_text("\n\n[listen]\nevery = 5.0\nlead = 0.1\n")
    loaded = overlay.loaded()
    assert (loaded.config.listen.lead, loaded.config.listen.every) == (0.1, 1.0)
    assert loaded.origins["listen", "lead"] == f"{overlay.path}:5"
    assert loaded.origins["listen", "every"] == "HEADNOD_LISTEN__EVERY"
    assert own.read_bytes() == before


@pytest.mark.parametrize("value", [5.0, -1.0])
def test_a_value_that_the_environment_sets_is_refused_with_its_variable(overlay, value):
    with pytest.raises(ConfigError, match=r"listen\.every: HEADNOD_LISTEN__EVERY sets it"):
        overlay.change({"listen.lead": 0.1, "listen.every": value})
    assert not overlay.path.exists()
    overlay.change({"listen.every": None})


def test_a_value_is_taken_back_alone(overlay):
    overlay.change({"listen.lead": 0.1, "microphone.device": 'usb:b "quoted" ü'})
    overlay.change({"listen.lead": None})
    assert tomllib.loads(overlay.path.read_text())["microphone"] == {"device": 'usb:b "quoted" ü'}
    assert overlay.loaded().config.listen.lead == 0.2


def test_every_key_that_may_be_set_exists():
    assert all(keys <= set(SECTIONS[section]) for section, keys in CHANGEABLE.items())


def test_no_program_path_host_or_key_may_be_set():
    dangerous = {"command", "address", "path", "host", "keys", "password_file", "ca_file", "name", "open", "webhooks"}
    assert not any(keys & dangerous for keys in CHANGEABLE.values())
    assert "web" not in CHANGEABLE


@pytest.mark.parametrize(
    "values", [{"microphone.command": ["sh"]}, {"nothing.lead": 1}, {"lead": 1}, {"leds.brightness": 1}]
)
def test_other_keys_are_refused_and_nothing_is_written(overlay, values):
    with pytest.raises(ConfigError, match="cannot be set on the page"):
        overlay.change(values)
    assert not overlay.path.exists()


def test_the_reason_names_the_key_of_a_wrong_value_once(overlay):
    with pytest.raises(ConfigError) as refused:
        overlay.change({"listen.smoothing": -1})
    assert str(refused.value).count("listen.smoothing") == 1


def test_a_wrong_value_keeps_the_former_file(overlay):
    overlay.change({"listen.lead": 0.1})
    before = overlay.path.read_bytes()
    with pytest.raises(ConfigError, match=r"listen\.smoothing"):
        overlay.change({"listen.smoothing": -1})
    assert overlay.path.read_bytes() == before


def test_a_key_that_may_not_be_set_is_ignored_in_the_file_too(overlay, caplog):
    overlay.path.write_text('[microphone]\ncommand = ["sh"]\n[listen]\nlead = 0.1\n')
    assert overlay.loaded().config.microphone.command == ()
    assert overlay.loaded().config.listen.lead == 0.1
    assert "microphone.command cannot be set there" in caplog.text


@pytest.mark.parametrize("content", ["[listen", "[listen]\nlead = 7\n", "lead = 1\n", "listen = []\n", "\xff"])
def test_a_damaged_file_is_ignored_with_a_warning(overlay, caplog, content):
    overlay.path.write_bytes(content.encode("latin-1"))
    assert overlay.loaded().config.listen.lead == 0.2
    assert "ignored (delete" in caplog.text


def test_an_invalid_file_of_the_person_is_still_refused(overlay, own):
    overlay.change({"listen.lead": 0.1})
    own.write_text("[listen]\nsmoothing = -9\n")
    with pytest.raises(ConfigError, match=r"own\.toml"):
        overlay.loaded()


def test_config_show_names_it_as_the_origin(tmp_path):
    history = tmp_path / "history.sqlite"
    (tmp_path / OVERLAY_FILE).write_text("[listen]\nlead = 0.1\n")
    environment = surroundings(tmp_path, HEADNOD_HISTORY__PATH=str(history))
    rows = json.loads(run("config", "show", "--json", environment=environment).stdout)
    (lead,) = (row for row in rows if (row["section"], row["key"]) == ("listen", "lead"))
    assert (lead["value"], lead["origin"]) == (0.1, f"{tmp_path / OVERLAY_FILE}:2")


CHANGES = """
import sys
from pathlib import Path
from headnod.config import Overlay, load

overlay = Overlay(Path(sys.argv[1]), lambda layer: load(layer))
sys.stdin.read(1)
for number in range(40):
    overlay.change({sys.argv[2]: 0.1 + number / 100})
"""


def test_of_changes_by_two_listeners_at_once_none_is_lost(tmp_path):
    """Another key by each of three processes."""
    path, keys = tmp_path / "state" / OVERLAY_FILE, ("lead", "certainty", "smoothing")
    writers = [
        subprocess.Popen([sys.executable, "-c", CHANGES, path, f"listen.{key}"], stdin=subprocess.PIPE) for key in keys
    ]
    for each in writers:
        each.stdin.close()
    assert [each.wait(PATIENCE) for each in writers] == [0, 0, 0]
    assert tomllib.loads(path.read_text())["listen"] == dict.fromkeys(keys, 0.49)
    assert sorted(file.name for file in path.parent.iterdir()) == ["headnod.local.lock", OVERLAY_FILE]
