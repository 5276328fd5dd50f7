"""A run: the folder that holds one training and everything needed to repeat it.

recipe.json        settings, data and standardisation
weights.keras      the network after training
history.json       what each epoch reached
model.tflite       the int8 network, once quantised
float.tflite       the same before quantising, to compare with
quantised.json     what the int8 network needs beside its file
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from headnod.errors import HeadnodError
from headnod.frontend import FrontEnd
from headnod.manifest import FORMAT, Manifest, Rejection, Standardisation, Tensor, Training
from headnod.model import GenreModel
from headnod_train.learn.augment import Augmentation

RECIPE, WEIGHTS, HISTORY = "recipe.json", "weights.keras", "history.json"
MODEL, FLOAT, QUANTISED = "model.tflite", "float.tflite", "quantised.json"

_Stored = TypeVar("_Stored", bound=msgspec.Struct)


class RunError(HeadnodError, ValueError):
    """A run folder lacks something, or holds something else."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was trained on what, and how."""

    data: str
    """Name of the archive."""

    tracks: int
    """Training tracks."""

    labels: tuple[str, ...]
    """Genres, in the order of the outputs."""

    front_end: FrontEnd
    """How audio became features."""

    mean: tuple[float, ...]
    """Mean of each coefficient over the training windows."""

    deviation: tuple[float, ...]
    """Standard deviation of each coefficient over the same."""

    augmentation: Augmentation
    """How far windows were bent."""

    epochs: int
    """Passes over the training tracks."""

    batch: int
    """Windows in a step."""

    rate: float
    """Highest learning rate of AdamW."""

    seed: int
    """Seed of every random choice."""


class Quantised(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the int8 network needs beside its file."""

    temperature: float
    """Softmax temperature, fitted on the validation side after quantising."""

    certainty: float
    """Least smoothed probability at which a genre is named."""

    representative: int
    """Windows of the train side that set the int8 ranges."""

    multiply_adds: int
    """Multiplications of one inference."""

    converter: dict[str, str]
    """Versions of the programs that made the file."""


def start(run: Path, recipe: Recipe) -> None:
    """Make the folder of a run; what a former one left there would not fit this one and goes."""
    for name in (WEIGHTS, HISTORY, MODEL, FLOAT, QUANTISED):
        (run / name).unlink(missing_ok=True)
    save(run, RECIPE, recipe)


def save(run: Path, name: str, content: msgspec.Struct) -> None:
    """Write one JSON file of a run, for people to read too."""
    run.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def load(run: Path, name: str, kind: type[_Stored]) -> _Stored:
    """Read one JSON file of a run.

    Raises:
        RunError: It is absent or malformed.
    """
    step = "quantise" if kind is Quantised else "fit"
    try:
        return msgspec.json.decode((run / name).read_bytes(), type=kind)
    except OSError as error:
        message = f"{run / name}: {error.strerror} (run 'headnod-train {step}' first)"
        raise RunError(message) from error
    except msgspec.MsgspecError as error:
        message = f"{run / name}: {error} (run 'headnod-train {step}' again)"
        raise RunError(message) from error


def draft(
    recipe: Recipe, kind: Literal["int8", "float32"], *, temperature: float = 1.0, certainty: float = 0.0
) -> Manifest:
    """A manifest of a network that is not packed yet: without hashes, licence and figures."""
    front_end = recipe.front_end
    return Manifest(
        format=FORMAT,
        name="run",
        version="0.0.0",
        sha256={},
        labels=recipe.labels,
        front_end=front_end,
        standardisation=Standardisation(recipe.mean, recipe.deviation),
        input=Tensor((1, front_end.frames, front_end.n_mfcc), kind),
        output=Tensor((1, len(recipe.labels)), kind),
        temperature=temperature,
        rejection=Rejection(certainty),
        training=Training(recipe.data, "", {}),
        measured={},
        toolchain={},
    )


def runnable(run: Path, name: str, manifest: Manifest) -> GenreModel:
    """A TFLite file of a run, through the device's own class.

    Raises:
        RunError: The file is absent.
        ManifestError: It is not what the manifest says.
    """
    try:
        content = (run / name).read_bytes()
    except OSError as error:
        message = f"{run / name}: {error.strerror} (run 'headnod-train quantise' first)"
        raise RunError(message) from error
    return GenreModel(manifest, content)
