"""Quantisation: from a run's float network to an int8 file and its calibration."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from headnod.inference.manifest import Calibration
from headnod.inference.model import GenreModel
from headnod_train.backend import keras, tf
from headnod_train.console import text_table
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
"""Number of windows that determine the int8 ranges."""


class FormatResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A TFLite file in one number format."""

    form: Form
    size: int
    """Bytes."""

    agreement: float
    """Share of windows with the same prediction as float32."""


class QuantisationReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Losses by quantisation."""

    forms: list[FormatResult]
    """Every format, float32 first."""

    layers: list[LayerError]
    """Layers of the int8 file in the order of execution."""


def quantise(run: Path, data: Path, *, sibling: Path | None = None, console: Console) -> Quantised:
    """Make the int8 network of a run, and fit temperature and threshold.

    Args:
        run: The run folder; model.tflite, float.tflite and quantised.json are written.
        data: The archive that it was trained on. Training tracks determine the int8 ranges, other tracks of the train
            and valid splits temperature and threshold.
        sibling: A quantised run of the same recipe that was trained on fewer tracks; its temperature and threshold
            are used if no other track is left.
        console: Shows progress.

    Raises:
        RunError: The run is unfinished or damaged, or another command writes to it.
        ArchiveError: The archive cannot be used, or is another one.
    """
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    with run_folder.locked(run):
        return _quantise(run, data, recipe, sibling=sibling, console=console)


def _quantise(run: Path, data: Path, recipe: Recipe, *, sibling: Path | None, console: Console) -> Quantised:
    learned, unseen = _parted(run, data, recipe)
    network = load(run / run_folder.WEIGHTS)
    windows = _representative(learned, recipe)
    console.print(f"quantising with {len(windows)} windows")
    (run / run_folder.FLOAT).write_bytes(converted(network, "float32", windows))
    (run / run_folder.MODEL).write_bytes(converted(network, "int8", windows))
    stream, single = _calibration(run, recipe, unseen, sibling, console)
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
    """Measure the losses by quantisation: every format against float32, and every layer in int8.

    Args:
        run: The run folder; losses.json is written.
        data: The archive that it was trained on.
        console: Shows progress.

    Raises:
        RunError: The run is unfinished or damaged.
        ArchiveError: The archive cannot be used, or is another one.
    """
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    learned, unseen = _parted(run, data, recipe)
    network, windows = load(run / run_folder.WEIGHTS), _representative(learned, recipe)
    tracks, exact, forms = unseen if len(unseen) else learned, None, []
    for form in FORMS:
        content = converted(network, form, windows)
        kind: Literal["int8", "float32"] = "int8" if form == "int8" else "float32"
        model = GenreModel(with_outputs(draft(recipe, kind), content), content)
        named = predict(model, tracks, console=console).guesses
        exact = named if exact is None else exact
        forms.append(FormatResult(form, len(content), round(float((named == exact).mean()), 4)))
    found = QuantisationReport(forms, layer_errors(network, windows[::5]))
    run_folder.save(run, run_folder.LOSSES, found)
    return found


def _parted(run: Path, data: Path, recipe: Recipe) -> tuple[Archive, Archive]:
    """The training tracks of a run, and the other tracks of the train and valid splits."""
    archive = read_archive(data, recipe.front_end)
    refuse_leaks(archive)
    learned = np.isin(archive.tracks, run_folder.training_tracks(run))
    if learned.sum() != recipe.tracks or archive.chosen(learned).labels != recipe.labels:
        message = f"{data}: has {learned.sum()} of the {recipe.tracks} training tracks of the run (name its archive)"
        raise ArchiveError(message)
    return archive.chosen(learned), archive.chosen(~learned & np.isin(archive.splits, ("train", "valid")))


def _calibration(
    run: Path, recipe: Recipe, unseen: Archive, sibling: Path | None, console: Console
) -> tuple[Calibration, Calibration | None]:
    """Calibration of the stream and of single windows."""
    if sibling is not None:
        quantised = run_folder.load(sibling, run_folder.QUANTISED, Quantised)
        return Calibration(quantised.temperature, quantised.certainty), quantised.single
    if not len(unseen):
        message = (
            f"{run}: was trained on every track, so none is left to fit temperature and threshold on "
            "(name a run of the same recipe that was trained on fewer tracks, with --sibling)"
        )
        raise RunError(message)
    return calibrate(runnable(run, run_folder.MODEL, draft(recipe, "int8")), unseen, console=console)


def _representative(train: Archive, recipe: Recipe) -> NDArray[np.float32]:
    """Standardised windows spread evenly over the training tracks, (n, frames, n_mfcc)."""
    features, _ = window_features(train, recipe.front_end)
    chosen = np.linspace(0, len(features) - 1, min(REPRESENTATIVE, len(features))).astype(np.intp)
    spread = np.array(recipe.mean, np.float32), np.array(recipe.deviation, np.float32)
    return (features[chosen] - spread[0]) / spread[1]


def quantisation_tables(report: QuantisationReport) -> tuple[Table, Table]:
    """Losses of every format, and of every layer of the int8 file."""
    forms = text_table("format", "kB", "same genre as float32", title="loss of each format")
    for form in report.forms:
        forms.add_row(form.form, f"{form.size / 1000:.0f}", f"{form.agreement:.1%}")
    title = "error of each layer in int8 (rounding alone: 0.29)"
    layers = text_table("layer", "operation", "numbers", "one step", "error in steps", title=title)
    for layer in report.layers:
        layers.add_row(
            str(layer.place), layer.operation, f"{layer.numbers:,}", f"{layer.scale:.4g}", f"{layer.error:.2f}"
        )
    return forms, layers
