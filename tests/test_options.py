# ruff: noqa: SLF001 - argparse names its actions only so
"""Every option that a command reads is one that its parser declares."""

import argparse
import ast
from pathlib import Path

import pytest

import headnod.__main__
import headnod_train.__main__

READ_ELSEWHERE = {"loaded", "unreadable_overlay"}
"""Attributes that a command sets itself."""


def declared(parser):
    names = {action.dest for action in parser._actions} | set(parser._defaults)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            names = names.union(*map(declared, action.choices.values()))
    return names


def read(path):
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "options"
    }


@pytest.mark.parametrize("program", [headnod.__main__, headnod_train.__main__])
def test_commands_read_the_options_that_are_declared(program):
    package = Path(program.__file__).parent
    files = [*(package / "cli").glob("*.py"), Path(program.__file__)]
    found = set().union(*map(read, files))
    assert len(found) > 20
    assert found - declared(program.command_parser()) - READ_ELSEWHERE == set()


def typed(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from typed(each)
        # 0 stands for the option's absence where it is no value of the option.
        elif isinstance(action.default, int | float) and action.default and callable(action.type):
            yield action


@pytest.mark.parametrize("program", [headnod.__main__, headnod_train.__main__])
def test_a_default_is_a_value_that_its_option_accepts(program):
    options = list(typed(program.command_parser()))
    assert options
    assert {action.dest: action.type(str(action.default)) for action in options} == {
        action.dest: action.default for action in options
    }
