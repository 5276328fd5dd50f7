"""Quantising: a run's float network in, an int8 file and its calibration out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod_train.archive import Archive, ArchiveError, heard_windows, read_archive
from headnod_train.backend import keras, quiet, tf
from headnod_train.learn import run_folder
from headnod_train.learn.calibrate import fit_certainty, fit_temperature
from headnod_train.learn.network import multiply_adds
from headnod_train.learn.run_folder import Quantised, Recipe, RunError, draft, runnable
from headnod_train.measure.listening import hear
from headnod_train.split import refuse_leaks

REPRESENTATIVE = 500
"""Windows that show the converter how large each tensor grows."""


def quantise(run: Path, data: Path, *, console: Console) -> Quantised:
    """Make the int8 network of a run, then fit temperature and certainty to it.

    Args:
        run: The run folder; model.tflite, float.tflite and quantised.json are written.
        data: The archive that it was trained on: the train side sets the int8
            ranges, the valid side temperature and certainty.
        console: Where progress is shown.

    Raises:
        RunError: The run is unfinished or damaged.
        ArchiveError: The archive cannot be used, or is another one.
    """
    recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
    archive = read_archive(data, recipe.front_end)
    refuse_leaks(archive)
    train, valid = archive.subset("train"), archive.subset("valid")
    if len(train) != recipe.tracks or train.labels != recipe.labels:
        message = f"{data}: has {len(train)} training tracks, the run learned from {recipe.tracks} (name its archive)"
        raise ArchiveError(message)
    network = _network(run / run_folder.WEIGHTS)
    windows = _representative(train, recipe)
    console.print(f"quantising with {len(windows)} windows")
    for name, shown in ((run_folder.FLOAT, None), (run_folder.MODEL, windows)):
        (run / name).write_bytes(_converted(network, shown))
    model = runnable(run, run_folder.MODEL, draft(recipe, "int8"))
    heard = hear(model, valid, console=console)
    temperature = fit_temperature(heard)
    quantised = Quantised(
        temperature=temperature,
        certainty=fit_certainty(heard, temperature),
        representative=len(windows),
        multiply_adds=multiply_adds(network),
        converter={"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": version("numpy")},
    )
    run_folder.save(run, run_folder.QUANTISED, quantised)
    return quantised


def _network(weights: Path) -> keras.Model:
    if not weights.is_file():
        message = f"{weights}: there is no such file (run 'headnod-train fit' first)"
        raise RunError(message)
    try:
        return keras.models.load_model(weights, compile=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        message = f"{weights}: {reason} (run 'headnod-train fit' again)"
        raise RunError(message) from error


def _representative(train: Archive, recipe: Recipe) -> NDArray[np.float32]:
    """Standardised windows spread evenly over the training tracks, (n, frames, n_mfcc)."""
    features, _ = heard_windows(train, recipe.front_end)
    chosen = np.linspace(0, len(features) - 1, min(REPRESENTATIVE, len(features))).astype(np.intp)
    spread = np.array(recipe.mean, np.float32), np.array(recipe.deviation, np.float32)
    return (features[chosen] - spread[0]) / spread[1]


def _converted(network: keras.Model, windows: NDArray[np.float32] | None) -> bytes:
    """The network as a TFLite file for a batch of one: int8, or float where no windows are given."""

    def shown() -> Iterator[list[NDArray[np.float32]]]:
        for window in windows if windows is not None else ():
            yield [window[None]]

    with quiet(), warnings.catch_warnings():
        # It looks for ranges in the graph before it looks at the windows.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        # A batch of exactly one keeps every shape static, or the delegate cannot take it.
        heard = keras.Input(batch_shape=(1, *network.input_shape[1:]), name="mfcc")
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(heard, network(heard)))
        if windows is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = shown
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        converted: bytes = converter.convert()
    return converted
