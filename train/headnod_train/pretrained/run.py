"""From the wheel and prepared windows to a bundle. Finished steps are kept in a folder and not repeated.

start.npz        the pruned tagger, equalised and standardised, with a head
targets.npz      predictions of the teachers for the windows
first_layer/     outputs of the first layer, input of the training of the other layers
training/        state of an interrupted training
trained.npz      the trained network, averaged with the start and equalised again
model.tflite     the int8 file
float.tflite     the same in float32, for comparison
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.inference.manifest import sigmoid
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
from headnod_train.pretrained.training import distil
from headnod_train.storage import open_npz, write_npz
from headnod_train.tagger.wheel import Weights
from headnod_train.training.run_folder import RunError

_SHOWN, _CORRECTING, _TAGGED = 400, 1000, 1500
_AT_ONCE = 2048
SETTINGS = Distillation()
"""Settings of the training."""

_MOVED = 0.8
"""Share of the trained weights in the result; the rest are the weights before training.

The mean of both networks is nearly as good in rooms as the trained one and as good on clean music as the start
(Wortsman and others, 2022).
"""

_HEAD_STEPS = 4000
_TOLD = ("steps", "batch", "rate", "clean", "clean_weight", "tags", "embedding", "average", "seed")
"""Settings that are part of the recipe."""
_LEAST_SPREAD = 0.05
_STEP = "a finished step of this run (delete it, and the same command makes it again)"


@dataclass(frozen=True)
class Begun:
    """The network before training, and its targets."""

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
    console: Console,
) -> Begun:
    """Prune, equalise, compute the predictions of the teachers and fit the head.

    Args:
        folder: Folder of the run.
        weights: Weights of the tagger.
        head: From tags to genres.
        windows: Training windows.
        classes: Names of YAMNet's classes.
        labels: Genres.
        console: Shows progress.
    """
    tagger = prune(weights)
    offset = float(tagger["offset"])
    path = folder / "targets.npz"
    if not path.is_file():
        console.print(f"predictions of the teachers for {len(windows):,} windows")
        save_targets(path, teach(windows, tagger, head, classes, labels))
    teachers = read_targets(path, windows)
    answers, useful = answer_targets(windows, teachers)
    start = folder / "start.npz"
    if not start.is_file():
        console.print("equalising and fitting the head")
        shown = AugmentedWindows(windows, Augmentation(), offset).music(_SHOWN)
        network = standardise(equalise(tagger, shown), shown)
        embedding = _embeddings(network, windows.clean16, offset)
        answer_head = fit_answers(embedding[useful], answers[useful], steps=_HEAD_STEPS, seed=1)
        write_npz(start, {"embedding": embedding, **network, **answer_head})
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
    console: Console,
) -> Parameters:
    """Train the layers after the first, unless the folder has the trained network.

    Args:
        folder: Folder of the run.
        begun: From `begin`.
        windows: Training windows.
        settings: Settings of the training.
        augmentation: Random changes of degraded windows.
        rooms: Measured rooms for some of the degraded windows.
        console: Shows progress.
    """
    inputs = AugmentedWindows(windows, augmentation, float(begun.parameters["offset"]), rooms)
    path = folder / "trained.npz"
    if not path.is_file():
        stored = stored_outputs(folder / "first_layer", begun.parameters, inputs, seed=settings.seed, console=console)
        # Differences count relative to each channel's deviation.
        spread = begun.targets.embedding.std(axis=0) + _LEAST_SPREAD
        console.print("training the layers after the first")
        trained = distil(
            begun.parameters, Batches(windows, begun.targets, settings, stored), spread, folder / "training",
            settings=settings, console=console,
        )  # fmt: skip
        mixed = {name: value + _MOVED * (trained[name] - value) for name, value in begun.parameters.items()}
        # Training has changed the ranges.
        shown = inputs.music(_SHOWN)
        write_npz(path, standardise(separate(mixed, shown), shown))
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
    replace: bool,
    console: Console,
) -> Path:
    """Quantise, calibrate, measure and pack.

    Args:
        folder: Folder of the run.
        trained: The network.
        begun: The network before training.
        windows: Training windows.
        held_out: Windows of clips that were not used for training.
        models: Folder of bundles.
        version: Version of the bundle, such as 2.0.0.
        labels: Genres.
        notice: Licences of the tagger and the teachers.
        settings: Settings of the training.
        replace: Replace a bundle of that version.
        console: Shows progress.
    """
    offset = float(trained["offset"])
    inputs = AugmentedWindows(windows, Augmentation(), offset)
    # Clean windows only: degraded ones have wider ranges, and coarser int8 steps cost more than limited outputs.
    shown = inputs.music(2 * _SHOWN)[::2]
    console.print("converting to int8")
    network = corrected(trained, inputs.music(_CORRECTING), shown)
    content = converted(network, shown)
    (folder / "model.tflite").write_bytes(content)
    (folder / "float.tflite").write_bytes(converted(trained, shown, form="float32"))
    console.print("calibrating and measuring")
    logits_of = {
        name: WindowLogits(
            run_file(content, network_input(log_mel, offset), ("answers",))["answers"],
            held_out.genre.astype(np.intp),
            held_out.track.astype(np.intp),
        )
        for name, log_mel in (("clean", held_out.clean16), ("through rooms and devices", held_out.degraded16))
    }
    stream, single = fit_calibration(list(logits_of.values()))
    rows = inputs.music_rows(_TAGGED)
    logits = run_file(content, inputs.music(_TAGGED), ("tags",))["tags"]
    fitted = Fitted(stream, single, fit_tags(logits, begun.targets.tags[rows]), fit_energy(logits))
    exact = evaluated(trained, network_input(held_out.clean16, offset))["answers"]
    measured = {
        **figures(logits_of, fitted, exact),
        "on": f"{len(held_out):,} windows of {len(np.unique(held_out.track))} clips of the valid split of GTZAN",
        "multiply_adds": multiply_adds(trained),
    }
    recipe = {name: value for name, value in asdict(settings).items() if name in _TOLD}
    return write_bundle(
        models, version, draft(labels, offset, fitted, content, notice), content,
        measured=measured, health=health_of(logits_of["clean"], stream.temperature),
        recipe={
            **recipe, "moved": _MOVED, "windows": len(windows),
            TRACK_HASHES: track_hashes(windows.names[np.unique(windows.track[windows.kind == "gtzan"])].tolist()),
        },
        replace=replace,
    )  # fmt: skip


def _embeddings(network: Parameters, log_mel: NDArray[np.float16], offset: float) -> NDArray[np.float32]:
    parts = [
        evaluated(network, network_input(log_mel[start : start + _AT_ONCE], offset))["embedding"]
        for start in range(0, len(log_mel), _AT_ONCE)
    ]
    return np.concatenate(parts)
