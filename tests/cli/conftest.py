"""The program as a person runs it, in surroundings of its own."""

import pytest

from support.command_line import run, surroundings


@pytest.fixture
def environment(tmp_path):
    return surroundings(tmp_path)


@pytest.fixture
def headnod(environment):
    return lambda *words, **others: run(*words, **{"environment": environment} | others)
