"""The examples in docstrings and documents run and give what they show."""

import doctest
from contextlib import chdir
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(folder).with_suffix("").parts)
    for folder in (ROOT / "device", ROOT / "train")
    for path in sorted(folder.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module_run(name):
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "headnod").startswith("headnod"):
            raise
        pytest.skip(f"not installed: {error.name}")
    with chdir(ROOT):
        result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_examples_of_the_library_run():
    pytest.importorskip("ai_edge_litert", reason="scores are those of LiteRT")
    result = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert result.attempted > 20
    assert result.failed == 0
