"""Habits of both command lines: help, examples, completion, and a way out of each mistake."""

import contextlib
import io
import shlex
import shutil
import subprocess
import sys

import pytest

from headnod.__main__ import command_parser
from headnod.cli import EXAMPLES, parsers
from support.command_line import run, surroundings


@pytest.fixture
def headnod(tmp_path):
    return lambda *words, **more: run(*words, environment=surroundings(tmp_path, **more))


def every_parser():
    pytest.importorskip("headnod_train")
    from headnod_train.__main__ import command_parser as of_training

    return [*parsers(command_parser()), *parsers(of_training())]


def test_every_help_has_examples():
    lacking = [parser.prog for parser in every_parser() if f"\n  {parser.prog}" not in (parser.epilog or "")]
    assert lacking == []


def test_no_help_has_a_line_without_a_text():
    helps = {parser.prog: parser.format_help().splitlines() for parser in every_parser()}
    assert [program for program, lines in helps.items() if "None" in map(str.strip, lines)] == []


def test_examples_are_those_of_commands_that_there_are():
    assert EXAMPLES.keys() <= {parser.prog for parser in parsers(command_parser())}


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_every_example_is_a_command_line_that_can_be_used(line):
    words = shlex.split(line.partition("  ")[0].rpartition("| ")[2])
    assert words[0] == "headnod"
    command_parser().parse_args(words[1:])


@pytest.mark.parametrize("words", [[], ["models"], ["mqtt"], ["config"], ["leds"]])
def test_a_command_without_its_word_shows_the_help_and_ends_with_2(headnod, words):
    ended = headnod(*words)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"usage: {' '.join(['headnod', *words])} [-h]")
    assert "examples:" in ended.stderr


def test_the_version_has_a_short_option(headnod):
    assert headnod("-V").stdout == headnod("--version").stdout


@pytest.mark.parametrize(("words", "shown"), [(["help"], []), (["help", "listen"], ["listen"])])
def test_the_word_help_shows_the_help(headnod, words, shown):
    asked = headnod(*words)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert asked.stdout == headnod(*shown, "--help").stdout


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["lisen"], "listen"),
        (["models", "rolback"], "rollback"),
        (["leds", "preview", "--kind", "ws281"], "ws2812"),
        (["listen", "--evry", "3"], "--every"),
    ],
)
def test_a_misspelt_word_names_the_nearest_one(headnod, words, meant):
    ended = headnod(*words)
    assert ended.returncode == 2
    assert f"did you mean '{meant}'?" in ended.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["listen", "--every", "0.01"], "--every: listen.every: expected `float` >= 0.1"),
        (["listen", "--rate", "7"], "--rate: microphone.rate: expected `integer` >= 16000"),
        (["listen", "--channels", "0"], "--channels: microphone.channels: expected `integer` >= 1"),
        (["leds", "preview", "--count", "0"], "--count: leds.count: expected `integer` >= 1"),
        (["dashboard", "--port", "70000"], "--port: dashboard.port: expected `integer` <= 65535"),
        (["models", "prune", "--keep", "-1"], "argument --keep: '-1' is not a whole number of at least 0"),
        (["models", "shadow", "genre", "--every", "0"], "argument --every: '0' is not a whole number of at least 1"),
        (["models", "shadow", "genre", "--every", "often"], "argument --every: 'often' is not a whole number"),
    ],
)
def test_a_flag_that_cannot_be_used_is_wrong_usage(headnod, words, complaint):
    ended = headnod(*words)
    assert ended.returncode == 2
    assert complaint in ended.stderr


def test_the_same_value_in_the_environment_is_a_wrong_configuration(headnod):
    ended = headnod("config", "check", HEADNOD_LISTEN__EVERY="0.01")
    assert ended.returncode == 78


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        (
            "HEADNOD_LEDS__KIND",
            "WS2812",
            'leds.kind: "WS2812" is not one of "none", "pins", "ws2812", "apa102", "wled"; did you mean "ws2812"?',
        ),
        ("HEADNOD_LEDS__2__MODE", "mod", 'leds.2.mode: "mod" is not one of "bars", "mood"; did you mean "mood"?'),
        ("HEADNOD_LOG__LEVEL", "zzz", 'log.level: "zzz" is not one of "debug", "info", "warning", "error"\n'),
        ("HEADNOD_MQTT__PROTOCOL", "3", "mqtt.protocol: 3 is not one of 5, 4\n"),
        ("HEADNOD_MQTT__TLS", "1", "mqtt.tls: expected `boolean`, got `integer`\n"),
    ],
)
def test_a_value_that_is_no_choice_names_the_choices_as_toml_has_them(headnod, variable, value, complaint):
    assert f"{variable}: {complaint}" in headnod("config", "check", **{variable: value}).stderr


LOADED = """
import sys
from headnod.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
slow = {"numpy", "rich", "msgspec", "paho", "soxr", "shtab", "dataclasses", "difflib"}
print(*sorted(slow & set(sys.modules)), file=sys.stderr)
"""


def test_the_help_loads_no_library():
    ended = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr.strip() == ""


@pytest.mark.parametrize("program", ["headnod", "headnod_train"])
def test_bash_completes_commands_and_options(program, tmp_path):
    pytest.importorskip("shtab")
    pytest.importorskip(program)
    script = subprocess.run(
        [sys.executable, "-m", program, "completion", "bash"], capture_output=True, text=True, check=True
    ).stdout
    name = program.replace("_", "-")
    path = tmp_path / "completion"
    path.write_text(script)
    typed = (
        f"source {path}; COMP_WORDS=({name} co); COMP_CWORD=1; "
        f'_shtab_{program} {name} co {name}; echo "${{COMPREPLY[@]}}"'
    )
    said = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, check=True)
    assert "completion" in said.stdout.split(), said


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_get_a_script_of_their_own(shell):
    pytest.importorskip("shtab")
    out = io.StringIO()
    options = command_parser().parse_args(["completion", shell])
    with contextlib.redirect_stdout(out):
        options.run(options)
    assert "classify" in out.getvalue()
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=out.getvalue(), text=True, check=True)
