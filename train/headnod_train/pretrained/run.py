"""From the wheel and prepared windows to a bundle; every step is kept in a folder, so that none is done twice.

start.npz        the pruned tagger, equalised and standardised, with a head
targets.npz      the teachers' answers to the windows
first_layer/     its outputs, while the layers above it are trained by themselves
training/        what an interrupted training goes on from
trained.npz      the network after it, mixed with the start and equalised anew
model.tflite     the int8 file
float.tflite     the same in float32, to compare with
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.inference.prediction import sigmoid
from headnod_train.acoustics.reverberation import MeasuredRooms
from headnod_train.distillation.targets import read_targets, save_targets, teach
from headnod_train.distillation.window_sets import WindowSet
from headnod_train.packaging.provenance import TRACK_HASHES, track_hashes
from headnod_train.pretrained.augmentation import Augmentation, AugmentedWindows, network_input
from headnod_train.pretrained.batches import Batches, Distillation, Targets, stored_outputs
from headnod_train.pretrained.calibration import WindowLogits, fit_calibration, fit_energy, fit_tags
from headnod_train.pretrained.equalisation import equalise, separate, standardise
from headnod_train.pretrained.head import Head, answer_targets, fit_answers
from headnod_train.pretrained.network import multiply_adds
from headnod_train.pretrained.pretrained_bundle import Fitted, draft, figures, health_of, write_bundle
from headnod_train.pretrained.pruning import Parameters, prune
from headnod_train.pretrained.quantisation import converted, corrected, evaluated, run_file
from headnod_train.pretrained.training import Watch, distil
from headnod_train.storage import open_npz, write_npz
from headnod_train.tagger.wheel import Weights
from headnod_train.training.run_folder import RunError

_SHOWN, _CORRECTING, _TAGGED = 400, 1000, 1500
_AT_ONCE = 2048
SETTINGS = Distillation()
"""Settings of the training."""

_MOVED = 0.8
"""How far the weights move from the start towards the end of the training.

Windows are few, and a mean of both networks is nearly as good in rooms as the trained one and as good on clean music as
the start (Wortsman and others, 2022).
"""

_HEAD_STEPS = 4000
_TOLD = ("steps", "batch", "rate", "clean", "clean_weight", "tags", "embedding", "average", "seed")
"""Settings that the card names."""
_LEAST_SPREAD = 0.05
_YAMNET = (0.1, 0.2)
_STEP = "a finished step of this run (delete it, and the same command makes it again)"
"""Weights of YAMNet: with 1.0 the head that starts from the tagger's embedding loses five points on labelled clips."""


@dataclass(frozen=True)
class Begun:
    """The network before training, and what it shall learn."""

    parameters: Parameters
    targets: Targets


def begin(
    folder: Path,
    weights: Weights,
    head: Head,
    windows: WindowSet,
    classes: Sequence[str],
    labels: tuple[str, ...],
    *,
    band_step: int,
    console: Console,
) -> Begun:
    """Prune, equalise, ask the teachers and fit the head.

    Args:
        folder: Of the run.
        weights: Of the tagger.
        head: From tags to genres.
        windows: To learn from.
        classes: Names of YAMNet's scores.
        labels: Genres.
        band_step: As in `forward`.
        console: Shows progress.
    """
    tagger = prune(weights)
    offset = float(tagger["offset"])
    path = folder / "targets.npz"
    if not path.is_file():
        console.print(f"asking the teachers about {len(windows):,} windows")
        save_targets(path, teach(windows, tagger, head, classes, labels, yamnet_weights=_YAMNET))
    teachers = read_targets(path, windows)
    answers, useful = answer_targets(windows, teachers)
    start = folder / "start.npz"
    if not start.is_file():
        console.print("equalising and fitting the head")
        shown = AugmentedWindows(windows, Augmentation(), offset).music(_SHOWN)
        network = standardise(equalise(tagger, shown, band_step=band_step), shown, band_step=band_step)
        embedding = _embeddings(network, windows.clean16, offset, band_step)
        taught = fit_answers(embedding[useful], answers[useful], steps=_HEAD_STEPS, seed=1)
        write_npz(start, {"embedding": embedding, **network, **taught})
    with open_npz(start, _STEP, RunError) as held:
        parameters = {name: held[name] for name in held.files if name != "embedding"}
        embedding = held["embedding"]
    return Begun(parameters, Targets(answers, sigmoid(teachers.tags), embedding, useful))


def train(
    folder: Path,
    begun: Begun,
    windows: WindowSet,
    *,
    settings: Distillation,
    augmentation: Augmentation,
    rooms: MeasuredRooms,
    band_step: int,
    console: Console,
    watch: Watch | None = None,
) -> Parameters:
    """Train the layers above the first, unless the folder has the trained network.

    Args:
        folder: Of the run.
        begun: From `begin`.
        windows: To learn from.
        settings: Of the training.
        augmentation: Random changes of degraded windows.
        rooms: Some of the rooms that degraded windows are put in.
        band_step: As in `forward`.
        console: Shows progress.
        watch: Measures the averaged network now and then.
    """
    inputs = AugmentedWindows(windows, augmentation, float(begun.parameters["offset"]), rooms)
    path = folder / "trained.npz"
    if not path.is_file():
        stored = stored_outputs(
            folder / "first_layer", begun.parameters, inputs, seed=settings.seed, band_step=band_step, console=console
        )
        # Rare channels are worth no more than others.
        spread = begun.targets.embedding.std(axis=0) + _LEAST_SPREAD
        console.print("training the layers above the first")
        trained = distil(
            begun.parameters, Batches(windows, begun.targets, settings, stored), spread, folder / "training",
            settings=settings, console=console, watch=watch,
        )  # fmt: skip
        mixed = {name: value + _MOVED * (trained[name] - value) for name, value in begun.parameters.items()}
        # Ranges have moved, and rounding is to come.
        shown = inputs.music(_SHOWN)
        write_npz(path, standardise(separate(mixed, shown, band_step=band_step), shown, band_step=band_step))
    with open_npz(path, _STEP, RunError) as held:
        return {name: held[name] for name in held.files}


def finish(
    folder: Path,
    trained: Parameters,
    begun: Begun,
    windows: WindowSet,
    held_out: WindowSet,
    models: Path,
    version: str,
    *,
    labels: tuple[str, ...],
    notice: str,
    settings: Distillation,
    band_step: int,
    replace: bool,
    console: Console,
) -> Path:
    """Quantise, calibrate, measure and pack.

    Args:
        folder: Of the run.
        trained: The network.
        begun: What it learned.
        windows: What it learned from.
        held_out: Clips that it did not learn from.
        models: The folder of bundles.
        version: Three numbers.
        labels: Genres.
        notice: Licences of what the network began as.
        settings: Of the training.
        band_step: As in `forward`.
        replace: A bundle of that version may go.
        console: Shows progress.
    """
    offset = float(trained["offset"])
    inputs = AugmentedWindows(windows, Augmentation(), offset)
    # Clean windows alone: degraded ones have wider ranges, and their coarser steps cost more than limits do.
    shown = inputs.music(2 * _SHOWN)[::2]
    console.print("converting to int8")
    network = corrected(trained, inputs.music(_CORRECTING), shown, band_step=band_step)
    content = converted(network, shown, band_step=band_step)
    (folder / "model.tflite").write_bytes(content)
    (folder / "float.tflite").write_bytes(converted(trained, shown, band_step=band_step, form="float32"))
    console.print("calibrating and measuring")
    heard = {
        name: WindowLogits(
            run_file(content, network_input(log_mel, offset), ("answers",))["answers"],
            held_out.genre.astype(np.intp),
            held_out.track.astype(np.intp),
        )
        for name, log_mel in (("clean", held_out.clean16), ("through rooms and devices", held_out.degraded16))
    }
    stream, single = fit_calibration(list(heard.values()))
    rows = inputs.music_rows(_TAGGED)
    logits = run_file(content, inputs.music(_TAGGED), ("tags",))["tags"]
    fitted = Fitted(stream, single, fit_tags(logits, begun.targets.tags[rows]), fit_energy(logits))
    exact = evaluated(trained, network_input(held_out.clean16, offset), band_step=band_step)["answers"]
    measured = {
        **figures(heard, fitted, exact),
        "on": f"{len(held_out):,} windows of {len(np.unique(held_out.track))} clips of the valid side of GTZAN",
        "multiply_adds": multiply_adds(trained, band_step=band_step),
    }
    recipe = {name: value for name, value in asdict(settings).items() if name in _TOLD}
    return write_bundle(
        models, version, draft(labels, offset, fitted, content, notice), content,
        measured=measured, health=health_of(heard["clean"], stream.temperature),
        recipe={
            **recipe, "moved": _MOVED, "band_step": band_step, "windows": len(windows),
            TRACK_HASHES: track_hashes(windows.names[np.unique(windows.track[windows.kind == "gtzan"])].tolist()),
        },
        replace=replace,
    )  # fmt: skip


def _embeddings(
    network: Parameters, log_mel: NDArray[np.float16], offset: float, band_step: int
) -> NDArray[np.float32]:
    parts = [
        evaluated(network, network_input(log_mel[start : start + _AT_ONCE], offset), band_step=band_step)["embedding"]
        for start in range(0, len(log_mel), _AT_ONCE)
    ]
    return np.concatenate(parts)
