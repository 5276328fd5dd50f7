"""`recipe.toml`: every setting of a training in one file, which `fit` writes into a run and reads with --recipe."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from headnod.escaping import printable
from headnod_train.storage import write_file
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.run_folder import RunError, TrainingSettings

FILE = "recipe.toml"
"""Its name in a run folder."""


class RecipeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a training."""

    settings: TrainingSettings = TrainingSettings()
    """How to train."""

    augmentation: MelAugmentation = MelAugmentation()
    """How far training windows are changed."""

    n_mfcc: int = 64
    """Coefficients per frame."""


def read_recipe(path: Path) -> RecipeFile:
    """The settings of a file; those that it lacks have their usual values.

    Raises:
        RunError: The file cannot be read, or a setting is unknown or of another type.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), RecipeFile)
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise RunError(message) from error
    except (ValueError, msgspec.ValidationError) as error:
        message = f"{path}: {printable(str(error))} ({FILE} of a run has all settings)"
        raise RunError(message) from error


def write_recipe(run: Path, recipe: RecipeFile) -> None:
    """Write the file of a run."""
    tables = {"settings": msgspec.to_builtins(recipe.settings), "augmentation": asdict(recipe.augmentation)}
    lines = ["# Settings of this run, for 'headnod-train fit --recipe'.", f"n_mfcc = {recipe.n_mfcc}"]
    for name, values in tables.items():
        # TOML has no null: a setting without a value is left out.
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items() if value is not None)]
    write_file(run / FILE, ("\n".join(lines) + "\n").encode())


def _toml(value: Any) -> str:  # noqa: ANN401 - numbers, texts, and lists of them
    if isinstance(value, str):
        # A JSON text is a TOML text.
        return msgspec.json.encode(value).decode()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
