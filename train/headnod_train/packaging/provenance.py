"""A run's recipe as a manifest tells it: flat, in plain words and numbers, and as the command that repeats it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from headnod_train.training.run_folder import Recipe, TrainingSettings

Plain = str | int | float | bool

_OF_THE_DATA = frozenset({"data", "tracks", "sides"})
"""What always differs between a run and the sibling that its figures are measured on."""

NETWORK = frozenset({"width", "other"})
"""Settings that decide what network it is: with another one there is no sibling."""

_ELSEWHERE = frozenset({"labels", "front_end", "mean", "deviation", "tag_names"})
_WORDS = {"epochs": "--epochs", "width": "--width", "patience": "--patience", "seed": "--seed"}


def manifest_recipe(recipe: Recipe) -> dict[str, Plain]:
    """What a manifest says of a recipe; what stands elsewhere in it, or was not used, is left out."""
    whole = {name: getattr(recipe, name) for name in recipe.__struct_fields__ if name not in _ELSEWHERE}
    settings = msgspec.structs.asdict(whole.pop("settings"))
    bent = {f"augmentation.{name}": value for name, value in asdict(whole.pop("augmentation")).items()}
    return {name: _plain(value) for name, value in {**whole, **settings, **bent}.items() if value not in {None, "", ()}}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings in which two recipes as told differ, but for those of the data; None where one has it not."""
    names = sorted({*one, *other} - _OF_THE_DATA)
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def command(recipe: Recipe) -> str:
    """The words of `headnod-train fit` that repeat a recipe."""
    return " ".join(("headnod-train fit", "--data", recipe.data, "--run", "RUN", *_words(recipe)))


def _words(recipe: Recipe) -> Iterator[str]:
    settings, usual = recipe.settings, TrainingSettings()
    for name, word in _WORDS.items():
        value = getattr(settings, name)
        if value != getattr(usual, name) or name in {"epochs", "seed"}:
            yield f"{word} {value}"
    yield f"--n-mfcc {recipe.front_end.n_mfcc}"
    if settings.sides != usual.sides:
        yield f"--sides {','.join(settings.sides)}"
    if settings.fold:
        yield f"--fold {settings.fold[0]}/{settings.fold[1]}"
    if recipe.tags:
        yield f"--tags {recipe.tags}"
    if recipe.other:
        yield f"--not-music {recipe.other}"
    yield from (f"--teacher {teacher}" for teacher in recipe.teachers)


def _plain(value: object) -> Plain:
    return value if isinstance(value, str | int | float) else ", ".join(map(str, value))  # type: ignore[call-overload]
