"""Training: an archive in, a run folder with a float network out.

A training can start from the weights of a bundle: those of the int8 file as real numbers. In the file, batch norm is
folded into the convolutions. In the network, batch norm gets the mean and deviation of the convolution's output for
training windows, and the scale and offset that cancel them: outputs are those of the file, and training can continue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.escaping import label_fault, printable
from headnod.features.frontend import Features, FrontEnd
from headnod.inference.manifest import MODEL, Manifest, read_checked, read_manifest
from headnod.inference.model import interpreter
from headnod.resources import find_model
from headnod_train.backend import keras, repeatable
from headnod_train.dataset.archive import Archive, ArchiveError, count_windows, read_archive, window_features
from headnod_train.dataset.split import folds, refuse_leaks
from headnod_train.storage import write_json
from headnod_train.training import run_folder
from headnod_train.training.archive_batches import ArchiveBatches, ExtraTargets
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.genre_network import build, multiply_adds, with_tag_head
from headnod_train.training.loop import HeldOut, TrainingLoop, train_epochs
from headnod_train.training.provenance import RecipeFile, write_recipe
from headnod_train.training.run_folder import Recipe, RunError, TrainingSettings

_CONVOLUTIONS = 6
_SHOWN = 512
"""Windows that the statistics of batch norm are measured on."""


@dataclass(frozen=True)
class Linear:
    """Weights of one layer in the layout of Keras."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class StartingWeights:
    """A packed network of the kind that `fit` trains."""

    manifest: Manifest
    dense: Linear
    """The inverse DCT, (coefficients, bands)."""
    convolutions: tuple[Linear, ...]
    logits: Linear

    @property
    def width(self) -> int:
        """Channels of the first convolution."""
        return int(self.convolutions[0].bias.size)


def read_start(bundle: Path) -> StartingWeights:
    """The weights of a bundle.

    Raises:
        RunError: Its network is of another kind.
        ManifestError: It is damaged.
    """
    manifest = read_manifest(bundle)
    runtime = interpreter(read_checked(bundle, MODEL, manifest))
    linear: dict[str, list[Linear]] = {"FULLY_CONNECTED": [], "CONV_2D": []}
    for operator in runtime._get_ops_details():  # noqa: SLF001 - the only way to see operators; there is no public one
        if operator["op_name"] in linear:
            kernel, bias = (_real(runtime, int(place)) for place in operator["inputs"][1:3])
            order = (1, 0) if kernel.ndim == 2 else (1, 2, 3, 0)  # noqa: PLR2004 - a matrix
            linear[operator["op_name"]].append(Linear(kernel.transpose(order), bias))
    dense, convolutions = linear["FULLY_CONNECTED"], linear["CONV_2D"]
    answers = manifest.output.shape[-1]
    heads = [each for each in dense[1:] if each.bias.size == answers]
    if len(convolutions) != _CONVOLUTIONS or not heads or manifest.front_end.n_mfcc == 0:
        raise RunError(
            f"{bundle}: its network is not of the kind that fit trains (--start genre-small; for others see "
            "'headnod-train teach')"
        )
    return StartingWeights(manifest, dense[0], tuple(convolutions), heads[0])


def spread_of(start: StartingWeights) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation that standardise the input of a packed network, each (n_mfcc,)."""
    standard = start.manifest.standardisation
    return np.array(standard.mean, np.float32), np.array(standard.deviation, np.float32)


def _real(runtime: object, place: int) -> NDArray[np.float32]:
    """Real numbers of a constant tensor, quantised by the rows of its first axis."""
    details = {each["index"]: each for each in runtime.get_tensor_details()}[place]  # type: ignore[attr-defined]
    stored = runtime.get_tensor(place)  # type: ignore[attr-defined]
    scales = details["quantization_parameters"]["scales"]
    if not scales.size:
        return np.asarray(stored, np.float32)
    return np.asarray(stored * scales.reshape(-1, *[1] * (stored.ndim - 1)), np.float32)


def apply(start: StartingWeights, network: keras.Model, shown: Features, labels: tuple[str, ...]) -> None:
    """Set the weights of a network of the same width.

    Args:
        start: The weights.
        network: From `genre_network.build`.
        shown: Standardised features of training windows.
        labels: Of the network; rows of labels that the bundle has, too, are set, others keep their random weights.
    """
    network.get_layer("inverse_dct").set_weights([start.dense.kernel, start.dense.bias])
    shown = shown[np.linspace(0, len(shown) - 1, min(len(shown), _SHOWN)).astype(int)]
    norms = [each for each in network.layers if isinstance(each, keras.layers.BatchNormalization)]
    convolutions = [each for each in network.layers if isinstance(each, keras.layers.Conv2D)]
    for weights, convolution, norm in zip(start.convolutions, convolutions, norms, strict=True):
        convolution.set_weights([weights.kernel])
        outputs = keras.Model(network.input, convolution.output)(shown, training=False).numpy()
        mean, variance = outputs.mean(axis=(0, 1, 2)), outputs.var(axis=(0, 1, 2))
        norm.set_weights([np.sqrt(variance + norm.epsilon), weights.bias + mean, mean, variance])
    kernel, bias = network.get_layer("logits").get_weights()
    for place, label in enumerate(labels):
        if label in start.manifest.labels:
            row = start.manifest.labels.index(label)
            kernel[:, place], bias[place] = start.logits.kernel[:, row], start.logits.bias[row]
    network.get_layer("logits").set_weights([kernel, bias])


_LABELS_ALONE = ExtraTargets()


def fit(
    data: Path,
    run: Path,
    settings: TrainingSettings,
    *,
    front_end: FrontEnd,
    augmentation: MelAugmentation,
    lessons: ExtraTargets = _LABELS_ALONE,
    resume: bool = False,
    force: bool = False,
    tensorboard: bool = False,
    console: Console,
) -> Recipe:
    """Train the network on some splits of an archive, and measure it on the others after each epoch.

    The result is the moving average of the weights after the last epoch. On some 200 tracks the best epoch differs from
    the others by chance (3 points either way), and its accuracy would be too good. `TrainingSettings.patience` chooses
    it for larger collections.

    Raises:
        ArchiveError: The archive cannot be used.
        LeakError: A track or an artist is in two splits.
        TagsError: The tags cannot be used.
        RunError: A teacher or the run to resume cannot be used; the folder has a run, or another command writes to it.
    """
    with run_folder.locked(run):
        if not (resume or force):
            run_folder.refuse_former(run)
        repeatable(settings.seed)
        archive = read_archive(data, front_end)
        refuse_leaks(archive)
        learning, watching = _parted(archive, settings)
        labels = learning.labels
        for label in labels:
            if fault := label_fault(label):
                raise ArchiveError(f"{data}: genre '{printable(label)}' {fault} (import {data} again with --rename)")
        if len(labels) == 1:
            message = f"{data}: its sides {', '.join(settings.sides)} have one genre, {labels[0]}: a model needs two"
            raise ArchiveError(message)
        features, _ = window_features(learning, front_end)
        spread = features.mean(axis=(0, 1)), np.maximum(features.std(axis=(0, 1)), np.float32(1e-3))
        start = _start(settings, front_end)
        if start is not None:
            settings = msgspec.structs.replace(settings, width=start.width)
            spread = spread_of(start)
        recipe = Recipe(
            data.name, len(learning), labels, front_end,
            tuple(map(float, spread[0])), tuple(map(float, spread[1])),
            augmentation, settings,
            lessons.tags.name if lessons.tags else "", lessons.other.name if lessons.other else "",
            tuple(teacher.name for teacher in lessons.teachers),
        )  # fmt: skip
        if resume:
            _refuse_another(run, recipe)
            write_json(run / run_folder.RECIPE, recipe)
        else:
            run_folder.start(run, recipe, [str(track) for track in learning.tracks])
        write_recipe(run, RecipeFile(settings, augmentation, front_end.n_mfcc))
        sources = lessons.sources(learning, labels, front_end)
        batches = ArchiveBatches(
            sources, front_end=front_end, spread=spread, augmentation=augmentation,
            batch=settings.batch, seed=settings.seed, balance=settings.balance,
        )  # fmt: skip
        outputs, tags = sources[0].targets.genres.shape[2], sources[0].targets.tags.shape[2]
        network = build(front_end, outputs, spread, settings.width)
        if start is not None and not resume:
            apply(start, network, ((features - spread[0]) / spread[1]).astype(np.float32), labels)
        console.print(
            f"{len(learning)} training tracks, {len(watching) if watching else 'none'} for validation; "
            f"{network.count_params():,} parameters, {multiply_adds(network) / 1e6:.1f} M multiply-adds a window",
            highlight=False,
        )
        for warning in _warnings(learning, watching, front_end, settings):
            console.print(warning, markup=False, highlight=False, soft_wrap=True)
        watched = HeldOut.of(watching, labels, front_end, spread) if watching else None
        taught = with_tag_head(network, tags) if tags else network
        loop = TrainingLoop(taught, steps=settings.epochs * len(batches), rate=settings.rate, decay=settings.decay)
        train_epochs(
            loop, network, batches, watched, settings, run=run, resume=resume, tensorboard=tensorboard, console=console
        )
        return recipe


def _parted(archive: Archive, settings: TrainingSettings) -> tuple[Archive, Archive | None]:
    """Training tracks, and tracks for validation."""
    learning = archive.chosen(np.isin(archive.splits, settings.sides))
    for side in settings.sides:
        archive.subset(side)
    if settings.fold is not None:
        place, count = settings.fold
        inside, outside = folds(learning, count, seed=0)[place - 1]
        return learning.chosen(inside), learning.chosen(outside)
    if "valid" in settings.sides or not (archive.splits == "valid").any():
        return learning, None
    return learning, archive.subset("valid")


def _warnings(
    learning: Archive, watching: Archive | None, front_end: FrontEnd, settings: TrainingSettings
) -> Iterator[str]:
    windows, step = count_windows(learning, front_end), settings.batch
    if windows < step:
        yield f"{windows} windows of 3 s for training, fewer than a batch ({step}): add music"
    if watching is None:
        yield "there is no valid split: quantise will need --sibling, or import again with --valid 0.15"
    elif absent := sorted(set(learning.labels) - set(watching.labels)):
        yield f"no track of the valid split is {' or '.join(absent)}"


def _start(settings: TrainingSettings, front_end: FrontEnd) -> StartingWeights | None:
    """The weights to start from, if there are any."""
    if not settings.start:
        return None
    found = read_start(find_model(settings.start))
    if found.manifest.front_end != front_end:
        raise RunError(
            f"--start {settings.start}: has another front end than the archive (genre-small has that of 'import'; "
            f"--n-mfcc is {front_end.n_mfcc}, its {found.manifest.front_end.n_mfcc})"
        )
    return found


def _refuse_another(run: Path, recipe: Recipe) -> None:
    """Check that a run was begun with the same recipe; the number of epochs may be larger."""
    former = run_folder.load(run, run_folder.RECIPE, Recipe)
    if former.settings.epochs < recipe.settings.epochs:
        longer = msgspec.structs.replace(former.settings, epochs=recipe.settings.epochs)
        former = msgspec.structs.replace(former, settings=longer)
    # Through JSON, as it was written.
    if msgspec.json.encode(former) != msgspec.json.encode(recipe):
        raise RunError(
            f"{run}: was begun with another recipe (use the options in {run / run_folder.RECIPE}, or --replace it)"
        )
