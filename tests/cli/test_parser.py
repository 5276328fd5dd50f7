"""A command line that cannot be used says what is nearest to what was typed, and exits with 2."""

import pytest

from headnod.cli.parser import Parser


def parser():
    made = Parser(prog="tool", epilog="examples:\n  tool fit --run a\n  tool fit --run b")
    subparsers = made.add_subparsers(required=True, metavar="COMMAND")
    fit = subparsers.add_parser("fit")
    fit.add_argument("--run", dest="folder")
    fit.add_argument("--kind", choices=("pins", "wled"))
    models = subparsers.add_parser("models")
    models.add_subparsers(required=True, metavar="COMMAND").add_parser("list")
    return made


def refused(capsys, *words):
    with pytest.raises(SystemExit) as end:
        parser().parse_args(words)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize(
    ("words", "prog", "nearest"),
    [
        (["fti"], "tool", "fit"),
        (["models", "lst"], "tool models", "list"),
        (["fit", "--rum", "a"], "tool fit", "--run"),
        (["fit", "--runs=a"], "tool fit", "--run"),
        (["fit", "--kind", "wlde"], "tool fit", "wled"),
    ],
)
def test_the_nearest_word_is_named(capsys, words, prog, nearest):
    said = refused(capsys, *words)
    assert said.startswith(f"usage: {prog}")
    assert said.endswith(f"; did you mean '{nearest}'? (see {prog} --help)\n")


@pytest.mark.parametrize("words", [["xyz"], ["fit", "--zzz"], ["fit", "more"]])
def test_nothing_is_proposed_where_nothing_is_near(capsys, words):
    said = refused(capsys, *words)
    assert "did you mean" not in said
    assert "--help)" in said


@pytest.mark.parametrize(("words", "prog"), [([], "tool"), (["models"], "tool models")])
def test_help_is_shown_where_no_command_is_named(capsys, words, prog):
    said = refused(capsys, *words)
    assert said.startswith(f"usage: {prog} [-h] COMMAND ...")
    assert "show this help message" in said


def test_options_are_not_abbreviated(capsys):
    assert "unrecognized arguments: --ru" in refused(capsys, "fit", "--ru", "a")


def test_what_can_be_used_is_parsed():
    assert parser().parse_args(["fit", "--run", "a", "--kind", "wled"]).folder == "a"


def test_examples_keep_their_lines():
    assert "examples:\n  tool fit --run a\n  tool fit --run b" in parser().format_help()
