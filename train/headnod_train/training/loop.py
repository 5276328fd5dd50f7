"""The training loop: one step, the moving average of the weights, the state to continue from, and its display.

Not Keras's `fit`, because a training must continue after Ctrl-C or a power cut exactly as if it had not stopped:
weights, their average, the optimiser's moments and the state of dropout are stored after every epoch, and batches
depend only on the seed and their number.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.features.frontend import Features, FrontEnd
from headnod.inference.manifest import softmax
from headnod_train.backend import keras, tf
from headnod_train.console import progress_bar
from headnod_train.dataset.archive import Archive, window_features
from headnod_train.evaluation.metrics import by_track
from headnod_train.storage import open_npz, replacing, write_npz
from headnod_train.training.archive_batches import DistillationBatch, TrainingBatch
from headnod_train.training.run_folder import HISTORY, STATE, WEIGHTS, RunError, TrainingSettings, read_history

TAGS_SHARE = 8.0
"""Weight of the tags' cross-entropy (a mean over tags) relative to that of genres."""


EMBEDDING_SHARE = 1.0
"""Weight of the squared error of a larger network's embedding (a mean over its numbers) relative to that of genres."""


class TrainingLoop:
    """A network, its optimiser, and the moving average of its weights."""

    def __init__(self, network: keras.Model, *, steps: int, rate: float, decay: float) -> None:
        """Prepare the training.

        Args:
            network: Outputs logits of genres, of tags if it has two heads, and the embedding of a larger network if
                it has three.
            steps: Length of the whole training, over which the learning rate falls to zero.
            rate: Highest learning rate of AdamW.
            decay: Weight decay of AdamW, for kernels only.
        """
        self.network = network
        warm = min(max(steps // 20, 1), 200)
        schedule = keras.optimizers.schedules.CosineDecay(
            rate / 20, max(steps - warm, 1), warmup_target=rate, warmup_steps=warm
        )
        self._optimizer = keras.optimizers.AdamW(schedule, weight_decay=decay, global_clipnorm=5.0)
        self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self._optimizer.build(network.trainable_variables)
        # The accuracy of the last weights varies by points between epochs, that of their average does not.
        self._momentum = min(0.998, 1.0 - 10.0 / max(steps, 20))
        self._average = [tf.Variable(variable) for variable in network.weights]
        self._step = tf.function(self._learn)

    def learn(self, batch: TrainingBatch | DistillationBatch) -> float:
        """One step on one batch; returns the loss."""
        return float(self._step(*map(tf.constant, batch)))

    def averaged(self, network: keras.Model) -> list[NDArray[np.float32]]:
        """Moving average of the weights of a network that is part of the trained one, in its order."""
        places = {variable.path: place for place, variable in enumerate(self.network.weights)}
        return [self._average[places[variable.path]].numpy() for variable in network.weights]

    def save(self, path: Path, epoch: int) -> None:
        """Write everything that the next epoch depends on, atomically."""
        write_npz(path, {"epoch": np.int64(epoch), **{f"v{n}": v.numpy() for n, v in enumerate(self._state())}})

    def restore(self, path: Path) -> int:
        """Read the file of `save`.

        Returns:
            Number of finished epochs.

        Raises:
            RunError: The file is absent, damaged or from another network.
        """
        with open_npz(path, "the state of this network (run 'headnod-train fit' again)", RunError) as arrays:
            for number, variable in enumerate(self._state()):
                variable.assign(arrays[f"v{number}"])
            return int(arrays["epoch"])

    def _state(self) -> list[tf.Variable]:
        return [*self.network.variables, *self._average, *self._optimizer.variables]

    def _learn(
        self,
        features: tf.Tensor,
        genres: tf.Tensor,
        tags: tf.Tensor,
        tagged: tf.Tensor,
        embedding: tf.Tensor | None = None,
        embedded: tf.Tensor | None = None,
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = self.network(features, training=True)
            logits, *guessed = outputs if isinstance(outputs, list | tuple) else (outputs,)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(genres, logits))
            if guessed:
                of_tags = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tags, guessed[0]), axis=1)
                loss += TAGS_SHARE * tf.reduce_mean(tagged * of_tags)
            if embedding is not None:
                error = tf.reduce_mean(tf.square(embedding - guessed[1]), axis=1)
                loss += EMBEDDING_SHARE * tf.reduce_mean(embedded * error)
        gradients = tape.gradient(loss, self.network.trainable_variables)
        self._optimizer.apply(gradients, self.network.trainable_variables)
        # A smaller momentum at the start, or the average would keep the random initial weights.
        done = tf.cast(self._optimizer.iterations, tf.float32)
        momentum = tf.minimum(self._momentum, done / (done + 10.0))
        for average, variable in zip(self._average, self.network.weights, strict=True):
            average.assign(momentum * average + (1.0 - momentum) * variable)
        return loss


_PARTS = 16
"""Number of batches of an evaluation, at most."""


@dataclass(frozen=True)
class HeldOut:
    """Windows of the validation split."""

    features: Features
    """Standardised MFCCs, shape (windows, frames, n_mfcc)."""

    targets: NDArray[np.intp]
    """True genre of each window, shape (windows,)."""

    tracks: NDArray[np.intp]
    """Track of each window, shape (windows,)."""

    labels: int
    """Number of genres; a further output is ignored."""

    @classmethod
    def of(
        cls, archive: Archive, labels: tuple[str, ...], front_end: FrontEnd, spread: tuple[np.ndarray, np.ndarray]
    ) -> HeldOut:
        """Every window of an archive."""
        features, tracks = window_features(archive, front_end)
        return cls((features - spread[0]) / spread[1], archive.targets(labels)[tracks], tracks, len(labels))

    def evaluate(self, network: keras.Model) -> dict[str, float]:
        """Accuracy of windows and of tracks, and mean cross-entropy."""
        count = min(_PARTS, len(self.features))
        parts = [np.asarray(network(part)) for part in np.array_split(self.features, count)]
        logits = np.concatenate(parts)[:, : self.labels]
        scores = softmax(logits)
        played = self.targets[np.unique(self.tracks, return_index=True)[1]]
        return {
            "windows": float((scores.argmax(axis=1) == self.targets).mean()),
            "tracks": float((by_track(scores, self.tracks).argmax(axis=1) == played).mean()),
            "loss_watched": float(-np.log(scores[np.arange(len(scores)), self.targets] + 1e-9).mean()),
        }


_Batch = TypeVar("_Batch")


class TrainingProgress:
    """A progress bar of steps, with the figures of the last epoch; a line for each epoch in a log."""

    def __init__(self, console: Console, epochs: int, done: int = 0) -> None:
        """Show `epochs` epochs, of which `done` are finished."""
        self._console, self._epochs, self._done, self._began = console, epochs, done, time.monotonic()
        self._bar = progress_bar(console)
        self._task = self._bar.add_task("epochs", total=epochs, completed=done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def steps(self, batches: Iterable[_Batch], count: int) -> Iterator[_Batch]:
        """The batches of an epoch; advances the bar after each."""
        for batch in batches:
            yield batch
            self._bar.advance(self._task, 1.0 / count)

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Show the figures of a finished epoch."""
        self._done += 1
        text = f"loss {figures['loss']:.3f}"
        if "windows" in figures:
            text += f", validation: {figures['windows']:.1%} of windows, {figures['tracks']:.1%} of tracks"
        self._bar.update(self._task, completed=self._done, description=f"epochs, {text}")
        if not self._console.is_terminal:
            minutes = (time.monotonic() - self._began) / 60
            self._console.print(f"epoch {self._done} of {self._epochs}: {text} ({minutes:.1f} min)", highlight=False)


class EpochBatches(Protocol):
    """Batches of a training, the same in every run."""

    def __len__(self) -> int:
        """Steps in an epoch."""
        ...

    def epoch(self, number: int) -> Iterator[TrainingBatch | DistillationBatch]:
        """The batches of one epoch."""
        ...


def train_epochs(
    loop: TrainingLoop,
    network: keras.Model,
    batches: EpochBatches,
    watched: HeldOut | None,
    settings: TrainingSettings,
    *,
    run: Path,
    resume: bool = False,
    tensorboard: bool = False,
    console: Console,
) -> keras.Model:
    """Train for some epochs, and keep the moving average of the weights and the state after each.

    The network is a part of the loop, whose average is kept. Without windows that are `watched`, nothing is measured.
    `run` is the folder of the run, and `resume` continues from its state. With `tensorboard` figures are written for
    TensorBoard too.

    Returns:
        The network with the average after the last epoch.
    """
    done, reached = (loop.restore(run / STATE), read_history(run)) if resume else (0, [])
    average = keras.models.clone_model(network)
    board = tf.summary.create_file_writer(str(run / "tensorboard")) if tensorboard else None
    with TrainingProgress(console, settings.epochs, done) as progress:
        for epoch in range(done + 1, settings.epochs + 1):
            losses = [loop.learn(batch) for batch in progress.steps(batches.epoch(epoch), len(batches))]
            average.set_weights(loop.averaged(network))
            figures = {"loss": float(np.mean(losses)), **(watched.evaluate(average) if watched else {})}
            reached.append({"epoch": epoch, **{name: round(value, 5) for name, value in figures.items()}})
            best = (
                1 + int(np.argmax([each["windows"] for each in reached]))
                if settings.patience is not None and watched
                else epoch
            )
            if best == epoch:
                with replacing(run / WEIGHTS, "the weights before it are kept") as unfinished:
                    average.save(unfinished)
            loop.save(run / STATE, epoch)
            (run / HISTORY).write_text(json.dumps(reached, indent=1) + "\n")
            progress.epoch(figures)
            if board is not None:
                with board.as_default(step=epoch):
                    for name, value in figures.items():
                        tf.summary.scalar(name, value)
                board.flush()
            if settings.patience is not None and epoch - best >= settings.patience:
                console.print(
                    f"stopped after epoch {epoch}: {settings.patience} epochs without a gain on the valid split"
                )
                break
    return average
