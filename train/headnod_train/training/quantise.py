"""Quantising: a run's float network in, an int8 file and its calibration out."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.inference.manifest import Calibration
from headnod.inference.model import GenreModel
from headnod_train.backend import keras, tf
from headnod_train.dataset.archive import Archive, ArchiveError, read_archive, window_features
from headnod_train.dataset.split import refuse_leaks
from headnod_train.evaluation.calibrate import calibrate
from headnod_train.evaluation.predictions import predict
from headnod_train.packaging.output_tensors import with_outputs
from headnod_train.training import run_folder
from headnod_train.training.conversion import FORMS, Form, LayerError, converted, layer_errors
from headnod_train.training.genre_network import load, multiply_adds
from headnod_train.training.run_folder import Quantised, Recipe, RunError, draft, runnable

REPRESENTATIVE = 500
"""Windows that show the converter how large each tensor grows."""


class FormatResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A TFLite file in one of the forms, beside the float one."""

    form: Form
    """What it computes in."""

    size: int
    """Bytes."""

    agreement: float
    """Share of windows on which it names the genre that float32 names."""


class QuantisationReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What quantising costs, and where."""

    forms: list[FormatResult]
    """Every form, the exact one first."""

    layers: list[LayerError]
    """Every layer of the int8 file, in the order of execution."""


def quantise(run: Path, data: Path, *, sibling: Path | None = None, console: Console) -> Quantised:
    """Make the int8 network of a run, then fit temperature and certainty to it.

    Args:
        run: The run folder; model.tflite, float.tflite and quantised.json are written.
        data: The archive that it was trained on: tracks that it learned from set the
            int8 ranges, tracks of the train and valid sides that it did not learn
            from set temperature and certainty.
        sibling: A quantised run of the same recipe that learned from less, whose
            temperature and certainty are taken where no track is left to fit them on.
        console: Where progress is shown.

    Raises:
        RunError: The run is unfinished or damaged, or another command writes to it.
        ArchiveError: The archive cannot be used, or is another one.
    """
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    with run_folder.locked(run):
        return _quantise(run, data, recipe, sibling=sibling, console=console)


def _quantise(run: Path, data: Path, recipe: Recipe, *, sibling: Path | None, console: Console) -> Quantised:
    learned, strange = _parted(run, data, recipe)
    network = load(run / run_folder.WEIGHTS)
    windows = _representative(learned, recipe)
    console.print(f"quantising with {len(windows)} windows")
    (run / run_folder.FLOAT).write_bytes(converted(network, "float32", windows))
    (run / run_folder.MODEL).write_bytes(converted(network, "int8", windows))
    stream, single = _calibration(run, recipe, strange, sibling, console)
    quantised = Quantised(
        temperature=stream.temperature,
        certainty=stream.threshold,
        single=single,
        representative=len(windows),
        multiply_adds=multiply_adds(network),
        converter={"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": version("numpy")},
    )
    run_folder.save(run, run_folder.QUANTISED, quantised)
    return quantised


def quantisation_report(run: Path, data: Path, *, console: Console) -> QuantisationReport:
    """Measure what quantising a run costs: every form beside float32, and every layer in int8.

    Args:
        run: The run folder; losses.json is written.
        data: The archive that it was trained on.
        console: Where progress is shown.

    Raises:
        RunError: The run is unfinished or damaged.
        ArchiveError: The archive cannot be used, or is another one.
    """
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    learned, strange = _parted(run, data, recipe)
    network, windows = load(run / run_folder.WEIGHTS), _representative(learned, recipe)
    heard, exact, forms = strange if len(strange) else learned, None, []
    for form in FORMS:
        content = converted(network, form, windows)
        kind: Literal["int8", "float32"] = "int8" if form == "int8" else "float32"
        model = GenreModel(with_outputs(draft(recipe, kind), content), content)
        named = predict(model, heard, console=console).guesses
        exact = named if exact is None else exact
        forms.append(FormatResult(form, len(content), round(float((named == exact).mean()), 4)))
    found = QuantisationReport(forms, layer_errors(network, windows[::5]))
    run_folder.save(run, run_folder.LOSSES, found)
    return found


def _parted(run: Path, data: Path, recipe: Recipe) -> tuple[Archive, Archive]:
    """The tracks that a run learned from, and those of the train and valid sides that it did not."""
    archive = read_archive(data, recipe.front_end)
    refuse_leaks(archive)
    learned = np.isin(archive.tracks, run_folder.training_tracks(run))
    if learned.sum() != recipe.tracks or archive.chosen(learned).labels != recipe.labels:
        message = f"{data}: has {learned.sum()} of the {recipe.tracks} tracks that it learned from (name its archive)"
        raise ArchiveError(message)
    return archive.chosen(learned), archive.chosen(~learned & np.isin(archive.splits, ("train", "valid")))


def _calibration(
    run: Path, recipe: Recipe, strange: Archive, sibling: Path | None, console: Console
) -> tuple[Calibration, Calibration | None]:
    """Temperature and certainty of the stream and of single windows."""
    if sibling is not None:
        said = run_folder.load(sibling, run_folder.QUANTISED, Quantised)
        return Calibration(said.temperature, said.certainty), said.single
    if not len(strange):
        message = (
            f"{run}: learned from every track, so none is left to fit temperature and certainty on "
            "(name a run of the same recipe that learned from fewer, with --sibling)"
        )
        raise RunError(message)
    return calibrate(runnable(run, run_folder.MODEL, draft(recipe, "int8")), strange, console=console)


def _representative(train: Archive, recipe: Recipe) -> NDArray[np.float32]:
    """Standardised windows spread evenly over the training tracks, (n, frames, n_mfcc)."""
    features, _ = window_features(train, recipe.front_end)
    chosen = np.linspace(0, len(features) - 1, min(REPRESENTATIVE, len(features))).astype(np.intp)
    spread = np.array(recipe.mean, np.float32), np.array(recipe.deviation, np.float32)
    return (features[chosen] - spread[0]) / spread[1]
