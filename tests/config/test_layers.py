"""The configuration: four layers, every value with its origin, and a way out of every mistake."""

from pathlib import Path

import pytest

from headnod.config import SECTIONS, Config, load, misspelt_variables
from headnod.config.layers import environment_layer, file_layer, flag_layer
from headnod.errors import ConfigError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "headnod.toml"


def written(path, text):
    path.write_text(text)
    return file_layer(path, required=True)


def refusal(*layers):
    with pytest.raises(ConfigError) as caught:
        load(*layers)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_without_any_layer_everything_is_as_it_comes():
    loaded = load()
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}
    assert set(loaded.origins) == {(section, key) for section, keys in SECTIONS.items() for key in keys}


def test_flags_win_over_the_environment_and_that_over_the_file(path):
    file = written(path, "[listen]\nevery = 1.0\nsmoothing = 6.0\nsilence = -50.0\n")
    environment = environment_layer({"HEADNOD_LISTEN__EVERY": "2.0", "HEADNOD_LISTEN__SMOOTHING": "7.5"})
    flags = flag_layer({("--every", "listen", "every"): 4.0, ("--model", "model", "name"): None})
    loaded = load(file, environment, flags)
    said = loaded.config.listen
    assert (said.every, said.smoothing, said.silence, said.above_noise) == (4.0, 7.5, -50.0, 6.0)
    assert loaded.origins["listen", "every"] == "--every"
    assert loaded.origins["listen", "smoothing"] == "HEADNOD_LISTEN__SMOOTHING"
    assert loaded.origins["listen", "silence"] == f"{path}:4"
    assert loaded.origins["model", "name"] == "default"


@pytest.mark.parametrize(
    ("text", "section", "key", "value"),
    [
        ("0.5", "leds", "brightness", 0.5),
        ("30", "history", "days", 30),
        ("usb:0d8c:0014", "microphone", "device", "usb:0d8c:0014"),
        ('"12"', "microphone", "device", "12"),
        ('["arecord", "-t", "raw"]', "microphone", "command", ("arecord", "-t", "raw")),
        ("{jazz = 4}", "leds", "pins", {"jazz": 4}),
        ("", "history", "path", ""),
        ("7", "mqtt", "node", "7"),
        ("007", "mqtt", "node", "007"),
        ("true", "mqtt", "username", "true"),
        ("2026-11-20", "mqtt", "node", "2026-11-20"),
        ("1.0", "leds", "spi", "1.0"),
        ("[kitchen]", "mqtt", "username", "[kitchen]"),
        ("'12345'", "mqtt", "username", "12345"),
        ("warning", "log", "level", "warning"),
        ("4", "mqtt", "protocol", 4),
        ("true", "mqtt", "tls", True),
        ("5", "listen", "every", 5.0),
    ],
)
def test_a_variable_is_written_as_in_the_file_or_as_plain_text(text, section, key, value):
    layer = environment_layer({f"HEADNOD_{section}__{key}".upper(): text})
    found = getattr(load(layer).config, section)
    assert getattr(found[0] if section == "leds" else found, key) == value


def test_a_variable_of_several_lines_is_one_value():
    layer = environment_layer({"HEADNOD_MICROPHONE__DEVICE": "'usb'\nrate = 1"})
    assert load(layer).config.microphone.device == "'usb'\nrate = 1"


@pytest.mark.parametrize("name", ["HEADNOD_CONFIG", "HEADNOD_", "PATH", "headnod_listen__every"])
def test_other_variables_say_nothing(name):
    assert environment_layer({name: "3"}) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[listen]\nevry = 3.0", ":2: listen.evry: there is no such key (did you mean 'every'?)"),
        ("[lisen]\nevery = 3.0", ":2: there is no section 'lisen' (did you mean 'listen'?)"),
        ("[nonsense]", ": there is no section 'nonsense' (there is listen, model"),
        ("[listen]\n\n# often\nevery = 0.0", ":4: listen.every: expected `float` >= 0.1, got 0.0"),
        ("[listen]\nevery = nan", ":2: listen.every: "),
        ("[listen]\nevery = inf", ":2: listen.every: "),
        ("[listen]\nevery = 'often'", ":2: listen.every: expected `float`, got `string`"),
        ("[listen]\nsilence = nan", ":2: listen.silence: "),
        ("[microphone]\nrate = 8000", ":2: microphone.rate: expected `integer` >= 16000"),
        ("[microphone]\nrate = 44100.5", ":2: microphone.rate: expected `integer`"),
        ("[microphone]\nrate = true", ":2: microphone.rate: expected `integer`, got `boolean`"),
        (
            "[microphone]\ncommand = 'arecord -t raw'",
            ':2: microphone.command: expected `array`, got `string` (write ["arecord","-t","raw"])',
        ),
        ("[microphone]\ncommand = ['arecord', 3]", ":2: microphone.command: expected `string`, got `integer`"),
        ("[microphone]\nchannels = 0", ":2: microphone.channels: expected `integer` >= 1"),
        ("[leds]\nkind = 'neon'", ':2: leds.kind: "neon" is not one of "none", "pins"'),
        ("[leds]\npins = {jazz = 99}", ":2: leds.pins: expected `integer` <= 27"),
        ("[leds.pins]\njazz = 'four'", ":1: leds.pins: expected `integer`, got `string`"),
        ("[log]\nlevel = 3", ":2: log.level: "),
        ("[model]\nname = 2026-11-22", ":2: model.name: expected `string`"),
        ("every = 3.0", ":1: 'every' is outside of a section (write it under [listen])"),
        ("# here\nhost = 'a'", ":2: 'host' is outside of a section (write it under [leds] or [dashboard] or [mqtt])"),
        ("foo = 3", ":1: 'foo' is outside of a section (write it under one, such as [listen])"),
        ("[listen]\n'' = 3", ":2: [listen] has a key without a name"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_line_and_key(path, text, complaint):
    with pytest.raises(ConfigError) as caught:
        load(written(path, text))
    assert str(caught.value).startswith(f"{path}{complaint}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("value", ["[]", "[3]", "[[]]", "1", "'ws2812'", "false"])
@pytest.mark.parametrize("section", list(SECTIONS))
def test_a_value_in_place_of_a_section_is_refused_with_the_way_to_write_it(path, section, value):
    line = refusal(written(path, f"\n{section} = {value}\n"))
    assert line == f"{path}:2: {section} is a section (write [{section}], and its keys in the lines below it)"


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [
        ("every", 0.1, 10.0),
        ("smoothing", 0.0, 600.0),
        ("lead", 0.0, 1.0),
        ("silence", -120.0, 0.0),
        ("above_noise", 0.0, 60.0),
        ("certainty", 0.0, 1.0),
    ],
)
def test_the_limits_of_listening_are_in_force_to_the_last(path, key, least, most):
    for value in (least, most):
        load(written(path, f"[listen]\n{key} = {value}"))
    for value in (least - 0.01, most + 0.01):
        with pytest.raises(ConfigError, match=f"listen.{key}: expected"):
            load(written(path, f"[listen]\n{key} = {value}"))


def test_a_mistake_in_a_variable_or_a_flag_is_named_by_it():
    layer = environment_layer({"HEADNOD_LISTEN__EVERY": "soon"})
    assert refusal(layer) == "HEADNOD_LISTEN__EVERY: listen.every: expected `float`, got `string`"
    layer = environment_layer({"HEADNOD_LISTEN__EVRY": "3"})
    assert refusal(layer) == "HEADNOD_LISTEN__EVRY: listen.evry: there is no such key (did you mean 'every'?)"
    layer = flag_layer({("--rate", "microphone", "rate"): 7})
    assert refusal(layer).startswith("--rate: microphone.rate: expected `integer` >= 16000")


@pytest.mark.parametrize("text", ["[listen", "a = = 3", "[listen]\nevery = 1\nevery = 2", "\0"])
def test_what_is_no_toml_is_refused_with_its_place(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"headnod\.toml: is not TOML: .*\(at "):
        file_layer(path, required=True)


def test_a_file_that_cannot_be_read_is_named(path, tmp_path):
    path.write_bytes(b"[listen]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"headnod\.toml: cannot be read: .*utf-8"):
        file_layer(path, required=True)
    with pytest.raises(ConfigError, match=r"cannot be read: .*directory"):
        file_layer(tmp_path, required=True)


def test_only_a_file_that_somebody_named_must_be_there(path):
    assert file_layer(path, required=False) == {}
    with pytest.raises(ConfigError, match=r"there is no such file \(name another with --config, or leave it out\)"):
        file_layer(path, required=True)


def test_a_key_is_found_on_its_own_line_whatever_stands_around_it(path):
    text = "# every = 1\n[model]\nname = 'genre'\n\n[ listen ] # [model]\n  'every' = 2\n[leds.pins]\njazz = 4\n"
    loaded = load(written(path, text))
    assert loaded.origins["listen", "every"] == f"{path}:6"
    assert loaded.origins["model", "name"] == f"{path}:3"
    assert loaded.origins["leds", "pins"] == f"{path}:7"


TWO = """
[[leds]]
kind = "wled"
host = "shelf.lan"
[[leds]]
kind = "pins"
brightness = 0.25
[leds.pins]
jazz = 4
"""


def test_several_outputs_of_lights_are_tables_in_double_brackets(path):
    loaded = load(written(path, TWO))
    shelf, pins = loaded.config.leds
    assert (shelf.kind, shelf.host, shelf.brightness) == ("wled", "shelf.lan", 0.5)
    assert (pins.kind, pins.pins, pins.brightness) == ("pins", {"jazz": 4}, 0.25)
    assert loaded.origins["leds", "kind"] == f"{path}:3"
    assert loaded.origins["leds.2", "kind"] == f"{path}:6"
    assert loaded.origins["leds.2", "pins"] == f"{path}:8"
    assert loaded.origins["leds", "brightness"] == "default"


@pytest.mark.parametrize("text", ["[leds]\ncount = 12", "[[leds]]\ncount = 12"])
def test_one_output_may_be_written_either_way(path, text):
    loaded = load(written(path, text), environment_layer({"HEADNOD_LEDS__BRIGHTNESS": "0.1"}))
    (only,) = loaded.config.leds
    assert (only.count, only.brightness) == (12, 0.1)
    assert loaded.origins["leds", "count"] == f"{path}:2"


def test_no_output_of_lights_is_written_as_no_table(path):
    assert load(written(path, "[leds]")).config.leds == Config().leds


def test_a_variable_names_the_output_by_its_number(path):
    environment = environment_layer({"HEADNOD_LEDS__2__BRIGHTNESS": "0.1", "HEADNOD_LEDS__1__COUNT": "9"})
    first, second = load(written(path, TWO), environment).config.leds
    assert (first.count, first.brightness, second.count, second.brightness) == (9, 0.5, 60, 0.1)
    alone = load(environment_layer({"HEADNOD_LEDS__KIND": "pins", "HEADNOD_LEDS__2__KIND": "ws2812"})).config.leds
    assert [each.kind for each in alone] == ["pins", "ws2812"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[leds]]\n[[leds]]\nkind = 'neon'", ":3: leds.2.kind: "),
        ("[[leds]]\nkind = 'pins'\n[[leds]]\nkidn = 'pins'", ":4: leds.2.kidn: there is no such key (did you mean"),
        ("[[mqtt]]\n[[mqtt]]\nhost = 'a'", ":3: there can be one section 'mqtt' only (write [mqtt])"),
        ("[[leds]]\nkind='ws2812'\n[[leds]]\nkind='apa102'\nspi='0.0'", ":5: leds.2.spi: SPI 0.0 is in use by leds"),
        ("[[leds]]\nbrightness = 2", ":2: leds.brightness: expected `float` <= 1.0, got 2"),
        ("[[leds]]\nkind='wled'\nhost='a'\n[[leds]]\nkind='wled'\nhost='a'", ":6: leds.2.host: a is in use by leds"),
        (
            '[[leds]]\nkind="ws2812"\n[[leds]]\nkind="pins"\npins={jazz=4, pop=10}',
            ":2: leds.spi: SPI 0.0 is wired to GPIO 10, which leds.2.pins names for an LED",
        ),
        (
            '[[leds]]\nkind="pins"\npins={jazz=21}\n[[leds]]\nkind="apa102"\nspi="1.0"',
            ":5: leds.2.spi: SPI 1.0 is wired to GPIO 21, which leds.pins names for an LED",
        ),
        (
            "[[leds]]\nkind='pins'\npins={1=4}\n[[leds]]\nkind='pins'\npins={1=5, 2=4}",
            ":6: leds.2.pins: GPIO 4 is in use by leds already",
        ),
        ("[leds]\nrgbw = true\nkind = 'apa102'", ":2: leds.rgbw: apa102 have no white LED"),
        ("[leds]\nhost = 'http://shelf'", ":2: leds.host: "),
        ("[leds]\ngamma = 0.99", ":2: leds.gamma: expected `float` >= 1.0"),
        ("[leds]\ngamma = 4.01", ":2: leds.gamma: expected `float` <= 4.0"),
        ("[leds]\nmilliamps = 99", ":2: leds.milliamps: expected `integer` >= 100"),
        ("[leds]\nmilliamps = 100001", ":2: leds.milliamps: expected `integer` <= 100000"),
    ],
)
def test_a_mistake_in_the_lights_is_named_by_line_output_and_key(path, text, complaint):
    assert refusal(written(path, text)).startswith(f"{path}{complaint}")


def test_a_variable_of_an_output_after_one_that_is_not_there_is_refused():
    layer = environment_layer({"HEADNOD_LEDS__3__COUNT": "9"})
    assert refusal(layer) == "HEADNOD_LEDS__3__COUNT: there is no output 2 of lights (number them 1, 2, 3)"


@pytest.mark.parametrize("text", ["gamma = 1.0", "gamma = 4.0", "milliamps = 100", "milliamps = 100000"])
def test_the_bounds_of_lights_are_allowed_themselves(path, text):
    assert load(written(path, f"[leds]\n{text}")).config.leds != Config().leds


def test_every_wrong_value_is_named_at_once(path):
    layers = (
        written(
            path,
            '[listen]\nevery = 0\n[mqtt]\nhosst = "x"\nport = 70000\n[leds]\nkind = "strip"\n[lights]\nx = 1\ny = 2\n',
        ),
        environment_layer({"HEADNOD_HISTORY__DAYS": "0"}),
    )
    with pytest.raises(ConfigError) as caught:
        load(*layers)
    lines = [str(caught.value), *caught.value.__notes__]
    places = ("4: mqtt.hosst", "9: there is no section 'lights'", "2: listen.every", "7: leds.kind", "5: mqtt.port")
    assert all(sum(f"{path}:{place}" in line for line in lines) == 1 for place in places)
    assert sum(line.startswith("HEADNOD_HISTORY__DAYS: history.days: ") for line in lines) == 1
    assert len(lines) == len(places) + 1


@pytest.mark.parametrize("host", ["http://wled.local/", "mqtt://wled.local"])
def test_a_lamp_written_as_a_url_is_reported_as_a_lamp(path, host):
    told = refusal(written(path, f'[leds]\nkind = "wled"\nhost = "{host}"\n'))
    assert told.startswith(f"{path}:3: leds.host: ")
    assert "write the lamp's name or address alone" in told
    assert "MQTT" not in told
    assert "mqtt]" not in told


def test_two_lamps_without_an_address_are_no_shared_lamp(path):
    loaded = load(written(path, "[[leds]]\nkind = 'wled'\n[[leds]]\nkind = 'wled'"))
    assert [output.host for output in loaded.config.leds] == ["", ""]


@pytest.mark.parametrize(
    "lights",
    [
        'kind="ws2812"\n[[leds]]\nkind="pins"\npins={jazz=11}',
        'kind="ws2812"\nspi="1.0"\n[[leds]]\nkind="pins"\npins={jazz=10, pop=11}',
        'kind="none"\n[[leds]]\nkind="pins"\npins={jazz=10}',
    ],
)
def test_a_pin_that_the_strip_does_not_use_may_have_an_led(path, lights):
    assert len(load(written(path, f"[[leds]]\n{lights}")).config.leds) == 2


@pytest.mark.parametrize("name", ["corrections.sqlite", "mqtt.sqlite"])
def test_the_history_is_no_other_file_of_its_folder(path, name):
    with pytest.raises(ConfigError, match=f"history.path: {name} in this folder is another file of headnod"):
        load(written(path, f"[history]\npath = '/var/lib/headnod/{name}'"))


def test_a_variable_with_one_underscore_is_no_setting_and_the_right_one_is_named():
    names = ["HEADNOD_MQTT_HOST", "HEADNOD_MQTT__HOST", "HEADNOD_BIN", "HEADNOD_LEDS_KIND"]
    assert list(misspelt_variables(names)) == [
        "HEADNOD_LEDS_KIND: has no effect (write HEADNOD_LEDS__KIND)",
        "HEADNOD_MQTT_HOST: has no effect (write HEADNOD_MQTT__HOST)",
    ]


@pytest.mark.parametrize(("length", "read"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_a_configuration_has_a_million_characters_at_most(path, length, read):
    text = "[listen]\nevery = 3.0\n#"
    path.write_text(text.ljust(length, "."))
    if read:
        assert load(file_layer(path, required=True)).config.listen.every == 3.0
        return
    with pytest.raises(ConfigError, match=f"{path}: cannot be read: it is longer than 1048576 characters"):
        file_layer(path, required=True)


def test_a_configuration_that_never_ends_is_refused():
    with pytest.raises(ConfigError, match="/dev/zero: cannot be read: it is longer than"):
        file_layer(Path("/dev/zero"), required=True)
