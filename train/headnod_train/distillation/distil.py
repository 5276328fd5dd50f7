"""From the wheel and prepared windows to a bundle. Finished steps are kept in a folder and not repeated.

start.npz        the pruned tagger, equalised and standardised, with a head
targets.npz      predictions of the teachers for the windows
fixed_layers/    outputs of the first layer and the coarse branch, input of the training of the other layers
training-1/ ...  state of interrupted trainings
trained.npz      the trained network, averaged with the start and equalised again
model.tflite     the int8 file
float.tflite     the same in float32, for comparison

For degraded sound, the targets are the predictions of the teachers for clean sound. Training starts from the pruned
teacher, so low rates suffice. Only the layers after the first are trained, on stored outputs of the first and of a
coarse branch with the weights of `genre-small`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.inference.manifest import MODEL, Manifest, sigmoid
from headnod.inference.model import GenreModel
from headnod_train.acoustics import MeasuredRooms
from headnod_train.backend import keras, tf
from headnod_train.distillation.batches import (
    Augmentation,
    AugmentedWindows,
    Batches,
    Distillation,
    FixedOutputs,
    Targets,
    network_input,
    stored_outputs,
)
from headnod_train.distillation.coarse import (
    SHARE,
    answers_of_branch,
    branch_from,
    with_answers,
    with_branch,
    without_shape,
    without_weakest,
)
from headnod_train.distillation.network import Parameters, as_tensors, multiply_adds, prune, upper_layers
from headnod_train.distillation.pretrained_bundle import Fitted, draft, figures, health_of, write_bundle
from headnod_train.distillation.quantisation import (
    LIMIT,
    converted,
    corrected,
    equalise,
    evaluated,
    run_file,
    separate,
    standardise,
)
from headnod_train.distillation.student import TrainingSet, mfccs
from headnod_train.distillation.tagger import Weights
from headnod_train.distillation.targets import (
    Head,
    answer_targets,
    fit_answers,
    read_targets,
    save_targets,
    teach,
)
from headnod_train.distillation.window_sets import WindowSet
from headnod_train.evaluation.calibration import WindowLogits, fit_calibration, fit_energy, fit_tags
from headnod_train.storage import open_npz, write_npz
from headnod_train.training.fit import StartingWeights
from headnod_train.training.loop import TrainingProgress
from headnod_train.training.provenance import TRACK_HASHES, track_hashes
from headnod_train.training.run_folder import RunError

_FIXED = ("offset", "front", "coarse", "max.", "mean.")
"""Beginnings of the names of fixed parameters: the scales of pooled channels are redundant with the next kernel."""
_CLIP = 5.0
_WARMUP = 100
"""Steps until the rate is reached."""
_LEAST_RATE = 0.02
"""Rate at the end, as a share of the highest."""


def distil(
    start: Parameters,
    batches: Batches,
    spread: NDArray[np.float32],
    folder: Path,
    *,
    settings: Distillation,
    console: Console,
    clock: Callable[[], float] = time.monotonic,
) -> Parameters:
    """Train the layers after the first.

    Returns:
        The moving average of the weights.
    """
    state = _State(start, settings, spread)
    state.resume(folder)
    learn = state.learner()
    saved = clock()
    epochs = -(-settings.steps // settings.epoch)
    with TrainingProgress(console, epochs, state.step // settings.epoch) as progress:
        while state.step < settings.steps:
            count = min(settings.epoch - state.step % settings.epoch, settings.steps - state.step)
            losses = []
            for batch in progress.steps(batches.steps(state.step, count), settings.epoch):
                losses.append([float(each) for each in learn(*map(tf.constant, batch))])
                state.advance()
                if clock() - saved > settings.save_every:
                    state.save(folder)
                    saved = clock()
            parts = np.mean(losses, axis=0)
            console.print(
                f"step {state.step}: answers {parts[1]:.4f}, tags {parts[2]:.4f}, embedding {parts[3]:.4f}",
                highlight=False,
            )
            progress.epoch({"loss": float(parts[0])})
    state.save(folder)
    return state.averaged()


def unit_of(name: str) -> float:
    """Unit of a parameter during training, so that one rate suits all parameters.

    Equalised rectifiers range from 0 to `LIMIT` and their scaled outputs from -1 to 1, so kernels before a rectifier
    are larger than those after one, by that factor.
    """
    if name.startswith(("mid", "carry", "dense")):
        return _REACH
    return 1.0 / _REACH if name in ("tags.kernel", "hidden.kernel") else 1.0


_REACH = LIMIT / 1.5
"""The 99.9th percentile of an equalised rectifier's output."""


class _State:
    """Variables, their moving average and the optimiser, which are saved together."""

    def __init__(self, start: Parameters, settings: Distillation, spread: NDArray[np.float32]) -> None:
        self._settings, self._spread = settings, spread
        self._fixed = {name: value for name, value in start.items() if name.startswith(_FIXED)}
        learned = {name: value for name, value in start.items() if name not in self._fixed}
        self._units = {name: unit_of(name) for name in learned}
        self._variables = {
            name: tf.Variable(value / self._units[name], dtype=tf.float32) for name, value in learned.items()
        }
        self._average = {name: np.array(value, np.float64) for name, value in learned.items()}
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(settings.steps - _WARMUP, 1), alpha=_LEAST_RATE, warmup_target=settings.rate, warmup_steps=_WARMUP
        )
        self._adam = keras.optimizers.Adam(rate, global_clipnorm=_CLIP)
        self._adam.build(list(self._variables.values()))
        self.step = 0

    def learner(self) -> Callable[..., tuple[tf.Tensor, ...]]:
        """A step of training."""
        fixed = as_tensors(self._fixed)
        spread = tf.constant(self._spread, tf.float32)
        variables, settings = list(self._variables.values()), self._settings

        def learn(
            front: tf.Tensor,
            coarse: tf.Tensor,
            answers: tf.Tensor,
            tags: tf.Tensor,
            embedding: tf.Tensor,
            music: tf.Tensor,
            weights: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape() as tape:
                found = upper_layers({**fixed, **self._now()}, front, coarse)
                of_answers = tf.nn.softmax_cross_entropy_with_logits(answers, found["answers"])
                of_answers += tf.reduce_sum(tf.math.xlogy(answers, answers), axis=1)
                of_tags = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tags, found["tags"]), axis=1)
                of_embedding = tf.reduce_mean(tf.square((found["embedding"] - embedding) / spread), axis=1)
                parts = (of_answers, music * of_tags, music * of_embedding)
                means = [tf.reduce_sum(weights * part) / tf.reduce_sum(weights) for part in parts]
                loss = means[0] + settings.tags * means[1] + settings.embedding * means[2]
            self._adam.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss, *means

        return cast("Callable[..., tuple[tf.Tensor, ...]]", tf.function(learn))

    def _now(self) -> dict[str, tf.Tensor]:
        return {name: variable * self._units[name] for name, variable in self._variables.items()}

    def advance(self) -> None:
        """Count a step, and let the average follow."""
        self.step += 1
        # The average of few steps reaches back to few.
        decay = min(self._settings.average, self.step / (self.step + 10.0))
        for name, variable in self._variables.items():
            self._average[name] += (1.0 - decay) * (variable.numpy() * self._units[name] - self._average[name])

    def averaged(self) -> Parameters:
        """The network with the moving average of its weights."""
        return {**self._fixed, **{name: value.copy() for name, value in self._average.items()}}

    def save(self, folder: Path) -> None:
        held = {f"variable/{name}": variable.numpy() for name, variable in self._variables.items()}
        held |= {f"average/{name}": value for name, value in self._average.items()}
        held |= {f"adam/{place}": np.asarray(each) for place, each in enumerate(self._adam.variables)}
        write_npz(folder / "state.npz", {"step": self.step, **held})

    def resume(self, folder: Path) -> None:
        if not (folder / "state.npz").is_file():
            return
        with open_npz(folder / "state.npz", "the state of this training (delete it to begin anew)", RunError) as held:
            self.step = int(held["step"])
            for name, variable in self._variables.items():
                variable.assign(held[f"variable/{name}"])
                self._average[name] = held[f"average/{name}"]
            for place, each in enumerate(self._adam.variables):
                each.assign(held[f"adam/{place}"])


_SHOWN, _CORRECTING, _TAGGED = 400, 1000, 1500
SETTINGS = Distillation()
"""Settings of the training."""

_TRAININGS = 3
"""Trainings from one start whose mean is taken."""

_MOVED = 0.7
"""Share of the trained weights in the result; the rest are the weights before training.

The mean of these networks is nearly as good in rooms as the best of them and as good on clean music as the start
(Wortsman and others, 2022).
"""

_REMOVED = 2
"""Filters of the first layer that are removed after training: 20 instead of 22 fill whole vector registers."""

_ABSENT = 3
"""Kernel shape, 64 frames of one band, whose seven filters are removed as well: they took a seventh of the time."""

_HEAD_STEPS = 4000
_AT_ONCE = 256
_RECIPE = ("steps", "batch", "rate", "clean", "clean_weight", "tags", "embedding", "average", "seed")
"""Settings that are part of the recipe."""
_LEAST_SPREAD = 0.05
_STORED = "fixed_layers"
_STEP = "a finished step of this run (delete it, and the same command makes it again)"


@dataclass(frozen=True)
class Begun:
    """The network before training, and its targets."""

    parameters: Parameters
    targets: Targets


def begin(
    folder: Path,
    weights: Weights,
    small: StartingWeights,
    head: Head,
    windows: WindowSet,
    classes: Sequence[str],
    labels: tuple[str, ...],
    *,
    console: Console,
) -> Begun:
    """Prune, equalise, add the branch of `genre-small`, compute the predictions of the teachers and fit the head.

    Args:
        folder: Of the run.
        weights: Of the tagger.
        small: `genre-small`.
        head: From tags to genres.
        windows: Of training.
        classes: Names of YAMNet's classes.
        labels: Genres.
        console: Shows the steps.
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
        inputs = AugmentedWindows(windows, Augmentation(), offset)
        shown = inputs.music(_SHOWN)
        network = with_branch(equalise(tagger, shown), branch_from(small, windows, offset))
        network = standardise(network, shown)
        # The training needs the outputs for clean windows, too.
        stored = stored_outputs(folder / _STORED, network, inputs, seed=0, console=console, versions=0)
        embedding = _embedding(network, stored.clean)
        answer_head = fit_answers(embedding[useful], answers[useful], steps=_HEAD_STEPS, seed=1)
        write_npz(start, {"embedding": embedding, "small": small.manifest.sha256[MODEL], **network, **answer_head})
    with open_npz(start, _STEP, RunError) as held:
        if "small" not in held.files or str(held["small"]) != small.manifest.sha256[MODEL]:
            raise RunError(
                f"{folder}: was begun with another --small than {small.manifest.id} (delete it to begin anew)"
            )
        parameters = {name: held[name] for name in held.files if name not in {"embedding", "small"}}
        embedding = held["embedding"]
    return Begun(parameters, Targets(answers, sigmoid(teachers.tags), embedding, useful))


def _embedding(network: Parameters, stored: FixedOutputs) -> NDArray[np.float32]:
    """Embedding, (n, 200), for stored outputs of the fixed layers."""
    constants = as_tensors(network)
    graph = tf.function(lambda front, coarse: upper_layers(constants, front, coarse)["embedding"])
    rows = [slice(start, start + _AT_ONCE) for start in range(0, len(stored.front), _AT_ONCE)]
    parts = [graph(*(tf.constant(each[some], tf.float32) for each in stored)).numpy() for some in rows]
    return np.concatenate(parts)


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
    """Train the layers after the first, unless the folder has the trained network."""
    inputs = AugmentedWindows(windows, augmentation, float(begun.parameters["offset"]), rooms)
    path = folder / "trained.npz"
    if not path.is_file():
        stored = stored_outputs(folder / _STORED, begun.parameters, inputs, seed=settings.seed, console=console)
        # Differences count relative to each channel's deviation.
        spread = begun.targets.embedding.std(axis=0) + _LEAST_SPREAD
        console.print("training the layers after the first")
        trained = []
        for number in range(_TRAININGS):
            one = replace(settings, seed=settings.seed + number)
            batches = Batches(windows, begun.targets, one, stored)
            state = folder / f"training-{one.seed}"
            trained.append(distil(begun.parameters, batches, spread, state, settings=one, console=console))
        mixed = {
            name: value + _MOVED * (np.mean([one[name] for one in trained], axis=0) - value)
            for name, value in begun.parameters.items()
        }
        shown = inputs.music(_SHOWN)
        pruned = without_shape(without_weakest(mixed, shown, _REMOVED), shown, _ABSENT)
        # Training has changed the ranges.
        write_npz(path, standardise(separate(pruned, shown), shown))
    return read_trained(path)


def read_trained(path: Path) -> Parameters:
    """The trained network of a run folder.

    Raises:
        RunError: The file cannot be read, or is of an earlier version of headnod.
    """
    with open_npz(path, _STEP, RunError) as held:
        found = {name: held[name] for name in held.files}
    if found[f"front{_ABSENT}.bias"].size:
        message = f"{path}: is of an earlier version, which left filters over 64 frames in it (delete it)"
        raise RunError(message)
    return found


def add_labels(
    trained: Parameters,
    begun: Begun,
    windows: WindowSet,
    model: GenreModel,
    start: StartingWeights,
    archived: TrainingSet,
    *,
    console: Console,
) -> Parameters:
    """The trained network with answers of its branch, fitted to the labels of an archive.

    Args:
        trained: From `train`.
        begun: From `begin`.
        windows: Of training; speech and noise are examples of "not music".
        model: `genre-small`.
        start: Its weights.
        archived: Windows of labelled tracks, with the front end of `genre-small`.
        console: Shows the step.
    """
    console.print(f"fitting answers of the branch to {archived.archived} labelled tracks", highlight=False)
    rows = np.flatnonzero(np.isin(windows.kind, ("speech", "noise")) & begun.targets.useful)
    clean, degraded = (mfccs(each[rows], model.front_end) for each in (windows.clean22, windows.degraded22))
    branch = answers_of_branch(model, start, archived, (clean, degraded))
    shown = AugmentedWindows(windows, Augmentation(), float(trained["offset"])).music(_SHOWN)
    return with_answers(trained, shown, branch)


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
    small: Manifest,
    labelled: Sequence[str],
    replace: bool,
    console: Console,
) -> Path:
    """Quantise, calibrate, measure and pack.

    `small` is the manifest of `genre-small`, and `labelled` are the names of the tracks of `add_labels`.
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
    names = windows.names[np.unique(windows.track[windows.kind == "gtzan"])].tolist()
    recipe = {name: value for name, value in asdict(settings).items() if name in _RECIPE}
    return write_bundle(
        models, version, draft(labels, offset, fitted, content, notice), content,
        measured=measured, health=health_of(logits_of["clean"], stream.temperature),
        recipe={
            **recipe, "trainings": _TRAININGS, "moved": _MOVED, "windows": len(windows), "removed": _REMOVED,
            "coarse": small.id, "share_of_branch": SHARE,
            TRACK_HASHES: track_hashes([*names, *labelled], small.training.recipe),
        },
        replace=replace,
    )  # fmt: skip
