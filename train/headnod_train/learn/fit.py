"""Training: an archive in, a run folder with a float network out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from headnod.frontend import FrontEnd
from headnod_train.archive import Archive, heard_windows, read_archive
from headnod_train.backend import keras
from headnod_train.learn import run_folder
from headnod_train.learn.augment import Augmentation
from headnod_train.learn.batches import Batches
from headnod_train.learn.network import build, multiply_adds
from headnod_train.learn.run_folder import Recipe
from headnod_train.split import refuse_leaks


def fit(
    data: Path,
    run: Path,
    *,
    epochs: int,
    seed: int,
    front_end: FrontEnd,
    augmentation: Augmentation,
    batch: int = 64,
    rate: float = 2e-3,
    console: Console,
) -> Recipe:
    """Train the network on the train side of an archive; the valid side only watches.

    What is kept is the moving average of the weights after the last epoch,
    whatever validation said on the way. Picking the best epoch by its figures
    on some 200 tracks picks noise (3 points either way) and then reports it;
    and by validation loss it picks an unfinished network, because the loss
    grows with certainty long before the answers get worse: temperature, fitted
    after quantising, mends that.

    Args:
        data: The log-mel archive.
        run: Folder to write after every epoch; what a former run left there is removed.
        epochs: Passes over the training tracks.
        seed: Seed of every random choice.
        front_end: How log-mel becomes features.
        augmentation: How far training windows are bent.
        batch: Windows in a step.
        rate: Highest learning rate.
        console: Where progress is shown.

    Raises:
        ArchiveError: The archive cannot be used.
        LeakError: A track or an artist stands on two sides.
    """
    keras.utils.set_random_seed(seed)
    archive = read_archive(data, front_end)
    refuse_leaks(archive)
    train, valid = archive.subset("train"), archive.subset("valid")
    labels = train.labels
    features, _ = heard_windows(train, front_end)
    spread = features.mean(axis=(0, 1)), np.maximum(features.std(axis=(0, 1)), 1e-3)
    recipe = Recipe(
        data.name, len(train), labels, front_end,
        tuple(map(float, spread[0])), tuple(map(float, spread[1])),
        augmentation, epochs, batch, rate, seed,
    )  # fmt: skip
    run_folder.start(run, recipe)
    batches = Batches(
        train,
        train.targets(labels),
        front_end=front_end,
        spread=spread,
        augmentation=augmentation,
        batch=batch,
        seed=seed,
    )
    network = build(front_end, len(labels), spread)
    console.print(
        f"{len(train)} tracks to learn from, {len(valid)} to watch; "
        f"{network.count_params():,} parameters, {multiply_adds(network) / 1e6:.1f} M multiply-adds a window"
    )
    _train(network, batches, _held_out(valid, labels, front_end, spread), recipe, run=run, console=console)
    return recipe


def _held_out(
    valid: Archive, labels: tuple[str, ...], front_end: FrontEnd, spread: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    features, tracks = heard_windows(valid, front_end)
    return (features - spread[0]) / spread[1], np.eye(len(labels), dtype=np.float32)[valid.targets(labels)[tracks]]


def _train(
    network: keras.Model,
    batches: Batches,
    valid: tuple[np.ndarray, np.ndarray],
    recipe: Recipe,
    *,
    run: Path,
    console: Console,
) -> None:
    steps = recipe.epochs * len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.rate / 20, steps, warmup_target=recipe.rate, warmup_steps=min(2 * len(batches), steps // 2)
    )
    network.compile(
        # The answers of one network wander by points from epoch to epoch: its average does not.
        optimizer=keras.optimizers.AdamW(
            schedule, weight_decay=0.05, use_ema=True, ema_momentum=min(0.995, 1.0 - 10.0 / max(steps, 20))
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05),
        metrics=["accuracy"],
    )
    with Progress(
        TextColumn("epoch {task.completed:.0f} of {task.total:.0f}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        network.fit(
            batches,
            epochs=recipe.epochs,
            validation_data=valid,
            callbacks=[
                keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
                _Kept(run),
                _Shown(progress, recipe.epochs),
            ],
            verbose=0,
        )


class _Kept(keras.callbacks.Callback):  # type: ignore[misc]
    """Weights and history in files after every epoch, so that a Ctrl-C loses one at most."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self._run = run
        self._reached: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        reached = {name: round(float(value), 5) for name, value in (logs or {}).items()}
        self._reached.append({"epoch": epoch + 1, **reached})
        (self._run / run_folder.HISTORY).write_text(json.dumps(self._reached, indent=1) + "\n")
        unfinished = self._run / f"unfinished-{run_folder.WEIGHTS}"
        self.model.save(unfinished)
        unfinished.replace(self._run / run_folder.WEIGHTS)


class _Shown(keras.callbacks.Callback):  # type: ignore[misc]
    """Progress on the screen; a line an epoch where there is none."""

    def __init__(self, progress: Progress, epochs: int) -> None:
        super().__init__()
        self._progress = progress
        self._task = progress.add_task("starting", total=epochs)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        reached = logs or {}
        text = f"loss {reached['loss']:.3f}, valid {reached['val_loss']:.3f}, {reached['val_accuracy']:.1%} of windows"
        self._progress.update(self._task, advance=1, description=text)
        if not self._progress.console.is_terminal:
            self._progress.console.print(f"epoch {epoch + 1}: {text}")
