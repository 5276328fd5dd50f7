"""A run: the folder of one training, with everything that is needed to repeat it.

recipe.json        settings, data and standardisation
recipe.toml        the settings alone, for people and for `fit --recipe`
tracks.txt         names of the training tracks, one per line
weights.keras      the network after training
state.npz          state from which an interrupted training continues
history.json       loss and accuracy of each epoch
model.tflite       the int8 network, after `quantise`
float.tflite       the float network that it was made of
quantised.json     calibration and size of the int8 network
losses.json        losses by quantisation, after `quantise --losses`
.lock              locked by the command that writes to the folder
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
from scipy import stats

from headnod.errors import HeadnodError, ManifestError
from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import (
    FORMAT,
    Calibration,
    Energy,
    Manifest,
    Output,
    Rejection,
    Standardisation,
    Tags,
    Tensor,
    Training,
)
from headnod.inference.model import GenreModel, interpreter
from headnod_train.dataset.archive import BATCH_SIZE
from headnod_train.storage import write_json
from headnod_train.training.augment import MelAugmentation

RECIPE, TRACKS, WEIGHTS, STATE, HISTORY = "recipe.json", "tracks.txt", "weights.keras", "state.npz", "history.json"
MODEL, FLOAT, QUANTISED, LOSSES = "model.tflite", "float.tflite", "quantised.json", "losses.json"
LOCK = ".lock"

_Stored = TypeVar("_Stored", bound=msgspec.Struct)


class RunError(HeadnodError, ValueError):
    """A run folder is incomplete, or belongs to another training."""


class TrainingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a training."""

    epochs: int = 50
    """Passes over the training tracks."""

    batch: int = BATCH_SIZE
    """Windows in a step."""

    rate: float = 2e-3
    """Highest learning rate of AdamW."""

    decay: float = 0.05
    """Weight decay of AdamW."""

    width: int = 24
    """Channels of the network's first convolution."""

    seed: int = 1
    """Seed of every random choice."""

    sides: tuple[str, ...] = ("train",)
    """Splits of the archive that the network is trained on."""

    fold: tuple[int, int] | None = None
    """(k, n): the k-th of n folds by artist is left out, and validation uses it instead of the valid split."""

    balance: bool = False
    """Train on equally many windows of each genre, whatever its number of tracks."""

    start: str = ""
    """Bundle whose weights the training starts from, such as `genre-small`; random ones if empty."""

    patience: int | None = None
    """Training stops after this many epochs without better validation, and keeps the weights of the best epoch."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Data, standardisation and settings of a training."""

    data: str
    """Name of the archive."""

    tracks: int
    """Training tracks."""

    labels: tuple[str, ...]
    """Genres, in the order of the outputs."""

    front_end: FrontEnd
    """Front end of the features."""

    mean: tuple[float, ...]
    """Mean of each coefficient over the training windows."""

    deviation: tuple[float, ...]
    """Standard deviation of each coefficient over the training windows."""

    augmentation: MelAugmentation
    settings: TrainingSettings

    tags: str = ""
    """Name of the file of tags that were targets, if any."""

    other: str = ""
    """Name of the archive of sounds other than music, if any."""

    teachers: tuple[str, ...] = ()
    """Names of the runs whose scores were targets, if any."""

    prepared: int = 0
    """Recordings with prepared windows that it was trained on, beside the tracks of the archive."""

    tag_names: tuple[str, ...] = ()
    """Names of the tags for which the network has an output, if any."""

    mixtures: int = 0
    """Mixtures of two prepared windows that it was trained on."""


class Quantised(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calibration and size of an int8 network."""

    temperature: float
    """Softmax temperature, fitted after quantisation on tracks that the network was not trained on."""

    certainty: float
    """Threshold of the smoothed probability for a genre to be shown."""

    representative: int
    """Number of training windows from which the int8 ranges were measured."""

    multiply_adds: int
    """Multiplications of one inference."""

    converter: dict[str, str]
    """Versions of the libraries that made the file."""

    single: Calibration | None = None
    """Temperature and threshold of single windows."""

    tags: Tags | None = None
    """Names and calibration of the tags, if the network has any and they were calibrated."""

    energy: Energy | None = None
    """Weights of the tags' logits for the energy of the sound, if they were fitted."""

    notice: str = ""
    """Licence and notice of third parties whose work is part of the network."""


def start(run: Path, recipe: Recipe, tracks: Sequence[str]) -> None:
    """Make the folder of a run; files of a former run are deleted."""
    for name in (WEIGHTS, STATE, HISTORY, MODEL, FLOAT, QUANTISED, LOSSES):
        (run / name).unlink(missing_ok=True)
    write_json(run / RECIPE, recipe)
    (run / TRACKS).write_text("".join(f"{track}\n" for track in tracks), "utf-8")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock a run folder against other commands."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"{run}: another headnod-train writes to it (wait until it has ended, or name another --run)"
            raise RunError(message) from error
        except OSError as error:
            raise RunError(f"{run}: cannot be locked: {error.strerror} (name a --run on a local disk)") from error
        yield


def refuse_former(run: Path) -> None:
    """Check that a run folder has no training that would be lost."""
    if not any((run / name).exists() for name in (WEIGHTS, STATE, QUANTISED)):
        return
    message = f"{run}: holds a run already (--resume continues it, --replace replaces it, or name another --run)"
    raise RunError(message)


def training_tracks(run: Path) -> list[str]:
    """Names of the training tracks of a run."""
    try:
        return (run / TRACKS).read_text("utf-8").split("\n")[:-1]
    except (OSError, ValueError) as error:
        raise RunError(f"{run / TRACKS}: {error} (run 'headnod-train fit' again)") from error


def load(run: Path, name: str, kind: type[_Stored]) -> _Stored:
    """Read one JSON file of a run."""
    step = "quantise" if kind is Quantised else "fit"
    try:
        return msgspec.json.decode((run / name).read_bytes(), type=kind)
    except OSError as error:
        raise RunError(f"{run / name}: {error.strerror} (run 'headnod-train {step}' first)") from error
    except msgspec.MsgspecError as error:
        raise RunError(f"{run / name}: {error} (run 'headnod-train {step}' again)") from error


def read_history(run: Path) -> list[dict[str, int | float]]:
    """Loss and accuracy of each epoch of a run."""
    try:
        found = msgspec.json.decode((run / HISTORY).read_bytes(), type=list[dict[str, int | float]])
    except (OSError, msgspec.MsgspecError) as error:
        raise RunError(f"{run / HISTORY}: {error} (run 'headnod-train fit' first)") from error
    if not found:
        raise RunError(f"{run / HISTORY}: has no epoch (run 'headnod-train fit' first)")
    return found


def spread(runs: Sequence[Path], what: str = "seeds") -> str:
    """Accuracy after the last epochs of runs that differ by seed or fold: mean and 95 % interval of the mean."""
    last = [json.loads((run / HISTORY).read_text())[-1] for run in runs]
    shares = [
        f"{100 * np.mean(reached):.1f} % of {kind} ({_interval(reached)})"
        for kind in ("windows", "tracks")
        if (reached := [epoch[kind] for epoch in last if kind in epoch])
    ]
    return f"{len(runs)} {what}: " + (", ".join(shares) or "no valid split")


def _interval(values: Sequence[float]) -> str:
    """Student's t interval of a mean, cut off at 0 and 100 %, and the range: `61 to 70, single ones 58 to 73`."""
    error = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    low, high = max(float(np.mean(values)) - error, 0.0), min(float(np.mean(values)) + error, 1.0)
    return (
        f"95 % interval {100 * low:.1f} to {100 * high:.1f}; "
        f"single runs {100 * min(values):.1f} to {100 * max(values):.1f}"
    )


def draft(
    recipe: Recipe, kind: Literal["int8", "float32"], *, temperature: float = 1.0, certainty: float = 0.0
) -> Manifest:
    """A manifest of a network that is not packed yet: without hashes, licence and figures.

    `with_outputs` completes it for a network of several outputs.
    """
    front_end, names = recipe.front_end, recipe.tag_names
    return Manifest(
        format=FORMAT,
        name="run",
        version="0.0.0",
        sha256={},
        labels=recipe.labels,
        front_end=front_end,
        standardisation=Standardisation(recipe.mean, recipe.deviation),
        input=Tensor((1, front_end.frames, front_end.n_features), kind),
        output=Tensor((1, len(recipe.labels) + bool(recipe.other)), kind),
        temperature=temperature,
        rejection=Rejection(certainty, bool(recipe.other)),
        training=Training(recipe.data, "", {}),
        measured={},
        toolchain={},
        tags=Tags(names, (1.0,) * len(names), (0.0,) * len(names)) if names else None,
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
        raise RunError(f"{run / name}: {error.strerror} (run 'headnod-train quantise' first)") from error
    return GenreModel(with_outputs(manifest, content), content)


def with_outputs(manifest: Manifest, content: bytes) -> Manifest:
    """The manifest with the output tensors of its network, where that has several.

    Raises:
        ManifestError: An output's size fits no role, or several.
    """
    try:
        found = interpreter(content).get_output_details()
    except HeadnodError:
        raise
    except Exception:  # GenreModel reports what is wrong with the file
        return manifest
    if len(found) == 1 and manifest.tags is None:
        return manifest
    wanted = {"answers": manifest.output.shape[-1]}
    if manifest.tags is not None:
        wanted["tags"] = len(manifest.tags.names)
    shapes = [tuple(int(size) for size in tensor["shape"]) for tensor in found]
    roles = _roles([shape[-1] if shape else 0 for shape in shapes], wanted)
    outputs = tuple(
        Output(shape, np.dtype(tensor["dtype"]).name, role)  # type: ignore[arg-type]  # checked when it is read
        for shape, tensor, role in zip(shapes, found, roles, strict=True)
    )
    (answers,) = (output for output in outputs if output.role == "answers")
    output = msgspec.structs.replace(manifest.output, type=answers.type)
    return msgspec.structs.replace(manifest, output=output, outputs=outputs)


def _roles(sizes: list[int], wanted: dict[str, int]) -> list[str]:
    if len(set(wanted.values())) < len(wanted):
        message = f"{MODEL}: answers and tags are {wanted['answers']} numbers each, so none can be found by its size"
        raise ManifestError(message)
    roles = {size: role for role, size in wanted.items()}
    found = [roles.get(size, "embedding") for size in sizes]
    for role in ("answers", "tags", "embedding"):
        if found.count(role) > 1 or (role in wanted and role not in found):
            each = ", ".join(map(str, sizes))
            raise ManifestError(
                f"{MODEL}: its outputs have {each} numbers, {found.count(role)} can be the {role} "
                f"({' and '.join(f'{size} {name}' for name, size in wanted.items())} are wanted, and at most one more)"
            )
    return found
