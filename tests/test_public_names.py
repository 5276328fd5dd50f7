"""The names that `headnod` exports: all of them exist, are documented, and are loaded when they are first used."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import headnod

PACKAGE = Path(headnod.__file__).parent
TREE = ast.parse((PACKAGE / "__init__.py").read_text())
EXPORTING = sorted(
    ".".join(("headnod", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if "\n__all__ = " in path.read_text()
)


def test_the_exported_names_are_those_that_the_module_imports():
    """An import for type checkers that is not exported, or the other way round, would be a mistake."""
    imported = {
        alias.name
        for node in ast.walk(TREE)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headnod.")
        for alias in node.names
    }
    assert sorted(imported) == headnod.__all__


@pytest.mark.parametrize("name", headnod.__all__)
def test_an_exported_name_has_a_docstring_and_is_found_by_every_way(name):
    found = getattr(headnod, name)
    assert inspect.getdoc(found)
    assert found.__module__.startswith("headnod.")
    assert getattr(import_module(found.__module__), name) is found
    assert name in dir(headnod)


def test_another_name_is_an_error():
    with pytest.raises(AttributeError, match="module 'headnod' has no attribute 'Radio'"):
        _ = headnod.Radio


@pytest.mark.parametrize("name", EXPORTING)
def test_every_name_in_the_list_of_a_module_exists(name):
    module = import_module(name)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []
    assert len(set(module.__all__)) == len(module.__all__)
