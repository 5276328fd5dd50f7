"""The file that shows every key says what the code says."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from headnod.config import SECTIONS, Config, load
from headnod.config.layers import file_layer

SHOWN = Path(__file__).parents[2] / "firmware_config" / "headnod.toml"
LINES = SHOWN.read_text().splitlines()
KEYS = [(section, key) for section, keys in SECTIONS.items() for key in keys]


def place(section, key):
    """The index of a key's line."""
    start = LINES.index(f"[{section}]")
    return next(number for number in range(start, len(LINES)) if LINES[number].startswith(f"{key} = "))


def test_the_file_shows_every_key_with_its_default():
    config = msgspec.json.decode(msgspec.json.encode(Config()))
    (config["leds"],) = config["leds"]
    assert tomllib.loads(SHOWN.read_text()) == config


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_is_explained_above_it(section, key):
    number = place(section, key)
    while LINES[number].partition(" ")[0] in SECTIONS[section]:
        number -= 1
    assert LINES[number].startswith("# ")


def test_the_file_can_be_used_as_it_is():
    loaded = load(file_layer(SHOWN, required=True))
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {f"{SHOWN}:{place(section, key) + 1}" for section, key in KEYS}


def test_with_every_value_commented_out_nothing_is_set(tmp_path):
    installed = tmp_path / "headnod.toml"
    installed.write_text(re.sub(r"(?m)^(?=[a-z])", "#", SHOWN.read_text()))
    loaded = load(file_layer(installed, required=True))
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}
