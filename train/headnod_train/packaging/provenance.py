"""A run's recipe in a manifest: flat text and numbers, and the command that repeats it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import msgspec

from headnod_train.training.run_folder import Recipe, TrainingSettings

Plain = str | int | float | bool

_OF_THE_DATA = frozenset({"data", "tracks", "sides"})
"""Settings that always differ between a run and its sibling."""

NETWORK = frozenset({"width", "other"})
"""Settings of the network, which are equal in siblings."""

_ELSEWHERE = frozenset({"labels", "front_end", "mean", "deviation", "tag_names"})
_WORDS = {
    name: f"--{name}" for name in ("epochs", "batch", "rate", "decay", "width", "start", "patience", "seed")
}  # fmt: skip


def manifest_recipe(recipe: Recipe) -> dict[str, Plain]:
    """A recipe for a manifest, without parts that are elsewhere in it or were not used."""
    whole = {name: getattr(recipe, name) for name in recipe.__struct_fields__ if name not in _ELSEWHERE}
    settings = msgspec.structs.asdict(whole.pop("settings"))
    bent = {f"augmentation.{name}": value for name, value in asdict(whole.pop("augmentation")).items()}
    return {name: _plain(value) for name, value in {**whole, **settings, **bent}.items() if value not in {None, "", ()}}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings in which two recipes differ, except those of the data; None for a missing one."""
    names = sorted({*one, *other} - _OF_THE_DATA)
    return {name: (one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)}


def command(recipe: Recipe) -> str:
    """The command that repeats a recipe."""
    return " ".join(("headnod-train fit", "--data", recipe.data, "--run", "RUN", *_words(recipe)))


def _words(recipe: Recipe) -> Iterator[str]:
    settings, usual = recipe.settings, TrainingSettings()
    for name, word in _WORDS.items():
        value = getattr(settings, name)
        if value != getattr(usual, name) or name in {"epochs", "seed"}:
            yield f"{word} {value}"
    if settings.balance:
        yield "--balance"
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
