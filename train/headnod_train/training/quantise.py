"""Quantisation: from a run's float network to TFLite files and the calibration of the int8 one.

Listeners run the int8 file; the other formats show the loss of each step. A global mean becomes a depthwise convolution
with equal weights, because XNNPACK rounds halves of an int8 `MEAN` differently on Arm and x86-64; all other operators
of the network give equal numbers on both.
"""

from __future__ import annotations

import contextlib
import csv
import io
import warnings
from collections.abc import Iterator
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
from headnod_train.backend import keras, quiet, tf
from headnod_train.console import text_table
from headnod_train.dataset.archive import Archive, ArchiveError, read_archive, window_features
from headnod_train.dataset.split import refuse_leaks
from headnod_train.evaluation.calibration import calibrate
from headnod_train.evaluation.predictions import predict
from headnod_train.storage import write_json
from headnod_train.training import run_folder
from headnod_train.training.genre_network import load, multiply_adds
from headnod_train.training.run_folder import Quantised, Recipe, RunError, draft, runnable, with_outputs

Form = Literal["float32", "float16", "dynamic", "int8"]
FORMS: tuple[Form, ...] = ("float32", "float16", "dynamic", "int8")
"""`dynamic` keeps weights in 8 bits and computes in float32 between layers."""

_OVER_HALVES = 1.0001
"""A mean of ten int8 numbers is a half in every tenth case, and kernels round halves differently: a factor just above 1
lifts each over the half, and moves no other mean of fewer than 39 numbers across one."""


class LayerError(msgspec.Struct, frozen=True):
    """Quantisation error of one layer."""

    operation: str
    """TensorFlow Lite operator, such as CONV_2D."""

    place: int
    """Position in the order of execution, from 0."""

    numbers: int
    """Size of the output."""

    scale: float
    """Value of one int8 step."""

    error: float
    """Root mean square of int8 minus float, in steps. Rounding alone gives 0.29."""


def converted(network: keras.Model, form: Form, windows: NDArray[np.float32]) -> bytes:
    """A network as a TFLite file for a batch of one.

    Args:
        network: With float weights.
        form: Number format.
        windows: Standardised windows, (n, frames, n_mfcc), that determine the int8 ranges.
    """
    with _quiet_conversion():
        converter = _converter(network)
        if form != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if form == "int8":
            _in_int8(converter, windows)
            converter.inference_input_type = converter.inference_output_type = tf.int8
        content: bytes = converter.convert()
    return content


def layer_errors(network: keras.Model, windows: NDArray[np.float32]) -> list[LayerError]:
    """Quantisation error of each layer if all layers before it are exact.

    Args:
        network: With float weights.
        windows: Standardised windows, (n, frames, n_mfcc).
    """
    with _quiet_conversion():
        converter = _converter(network)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        _in_int8(converter, windows)
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter, debug_dataset=lambda: ([window[None]] for window in windows)
        )
        debugger.run()
        statistics = io.StringIO()
        debugger.layer_statistics_dump(statistics)
    return [
        LayerError(
            row["op_name"],
            place,
            int(float(row["num_elements"])),
            float(row["scale"]),
            round(float(row["mean_squared_error"]) ** 0.5 / float(row["scale"]), 4),
        )
        for place, row in enumerate(csv.DictReader(io.StringIO(statistics.getvalue())))
    ]


@contextlib.contextmanager
def _quiet_conversion() -> Iterator[None]:
    with quiet(), warnings.catch_warnings():
        # The converter warns before it has seen the windows.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        # The debugger does not use LiteRT yet.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
        yield


def _converter(network: keras.Model) -> tf.lite.TFLiteConverter:
    # The delegate needs static shapes, and so a batch of exactly one.
    inputs = keras.Input(batch_shape=(1, *network.input_shape[1:]), name="mfcc")
    return tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, _averaging_by_weights(network)(inputs)))


def _averaging_by_weights(network: keras.Model) -> keras.Model:
    """The same network with each global mean as a convolution."""

    def replaced(layer: keras.Layer) -> keras.Layer:
        if not isinstance(layer, keras.layers.GlobalAveragePooling2D):
            return layer.from_config(layer.get_config())
        places = tuple(layer.input.shape[1:3])
        equal = keras.initializers.Constant(_OVER_HALVES / np.prod(places))
        return keras.layers.DepthwiseConv2D(places, depthwise_initializer=equal, use_bias=False, name=layer.name)

    weighed = keras.models.clone_model(network, clone_function=replaced)
    for layer, like in zip(weighed.layers, network.layers, strict=True):
        if like.weights:
            layer.set_weights(like.get_weights())
    return weighed


def _in_int8(converter: tf.lite.TFLiteConverter, windows: NDArray[np.float32]) -> None:
    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for window in windows:
            yield [window[None]]

    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


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
        write_json(run / run_folder.QUANTISED, quantised)
        return quantised


def quantisation_report(run: Path, data: Path, *, console: Console) -> QuantisationReport:
    """Measure the losses by quantisation: every format against float32, and every layer in int8.

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
    write_json(run / run_folder.LOSSES, found)
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
        raise RunError(
            f"{run}: was trained on every track, so none is left to fit temperature and threshold on "
            "(name a run of the same recipe that was trained on fewer tracks, with --sibling)"
        )
    return calibrate(runnable(run, run_folder.MODEL, draft(recipe, "int8")), unseen, console=console)


def _representative(train: Archive, recipe: Recipe) -> NDArray[np.float32]:
    """Standardised windows spread evenly over the training tracks, (n, frames, n_mfcc)."""
    features, _ = window_features(train, recipe.front_end)
    chosen = np.linspace(0, len(features) - 1, min(REPRESENTATIVE, len(features))).astype(np.intp)
    spread = np.array(recipe.mean, np.float32), np.array(recipe.deviation, np.float32)
    return (features[chosen] - spread[0]) / spread[1]


def quantisation_tables(report: QuantisationReport) -> tuple[Table, Table]:
    """Losses of every format, and of every layer of the int8 file."""
    forms = [(form.form, f"{form.size / 1000:.0f}", f"{form.agreement:.1%}") for form in report.forms]
    layers = [
        (str(layer.place), layer.operation, f"{layer.numbers:,}", f"{layer.scale:.4g}", f"{layer.error:.2f}")
        for layer in report.layers
    ]
    title = "error of each layer in int8 (rounding alone: 0.29)"
    return (
        text_table("format", "kB", "same genre as float32", rows=forms, title="loss of each format"),
        text_table("layer", "operation", "numbers", "one step", "error in steps", rows=layers, title=title),
    )
