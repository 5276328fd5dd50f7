"""The training loop: one step, the moving average of the weights, and the state to go on from.

Ours rather than Keras's `fit`, because a training shall go on after Ctrl-C or a
power cut exactly as if nothing had happened: weights, their average, moments of
the optimiser and the state of dropout are written after every epoch and read
again, and the batches are made of the seed and their number alone.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod_train.backend import keras, tf
from headnod_train.training.archive_batches import TrainingBatch
from headnod_train.training.run_folder import RunError

TAGS_SHARE = 8.0
"""Weight of the tags' cross-entropy, a mean over tags, beside that of genres."""


class TrainingLoop:
    """A network, what moves its weights, and the average of where they were."""

    def __init__(self, network: keras.Model, *, steps: int, rate: float, decay: float) -> None:
        """Prepare to learn.

        Args:
            network: Gives logits of genres, and of tags where it has two heads.
            steps: Of the whole training: the learning rate falls to zero over them.
            rate: Highest learning rate of AdamW.
            decay: Weight decay of AdamW; biases and batch norm are spared.
        """
        self.network = network
        warm = min(max(steps // 20, 1), 200)
        schedule = keras.optimizers.schedules.CosineDecay(
            rate / 20, max(steps - warm, 1), warmup_target=rate, warmup_steps=warm
        )
        self._optimizer = keras.optimizers.AdamW(schedule, weight_decay=decay, global_clipnorm=5.0)
        self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self._optimizer.build(network.trainable_variables)
        # The answers of one network wander by points from epoch to epoch: its average does not.
        self._momentum = min(0.998, 1.0 - 10.0 / max(steps, 20))
        self._average = [tf.Variable(variable) for variable in network.weights]
        self._step = tf.function(self._learn)

    def learn(self, batch: TrainingBatch) -> float:
        """One step on one batch; returns the loss."""
        return float(self._step(*map(tf.constant, batch)))

    def averaged(self, network: keras.Model) -> list[NDArray[np.float32]]:
        """The moving average of the weights of a network that is a part of the taught one, in its order."""
        places = {variable.path: place for place, variable in enumerate(self.network.weights)}
        return [self._average[places[variable.path]].numpy() for variable in network.weights]

    def save(self, path: Path, epoch: int) -> None:
        """Write everything that the next epoch depends on; either the former file or the new one is whole."""
        unfinished = path.with_name(f"unfinished-{path.name}")
        np.savez(unfinished, epoch=np.int64(epoch), **{f"v{n}": v.numpy() for n, v in enumerate(self._state())})
        unfinished.replace(path)

    def restore(self, path: Path) -> int:
        """Read what `save` wrote.

        Returns:
            Finished epochs.

        Raises:
            RunError: The file is absent, damaged or of another network.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                for number, variable in enumerate(self._state()):
                    variable.assign(arrays[f"v{number}"])
                return int(arrays["epoch"])
        except OSError as error:
            message = f"{path}: {error.strerror} (without it a training cannot go on: run 'headnod-train fit' afresh)"
            raise RunError(message) from error
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            message = f"{path}: is damaged or of another network: {error} (run 'headnod-train fit' afresh)"
            raise RunError(message) from error

    def _state(self) -> list[tf.Variable]:
        return [*self.network.variables, *self._average, *self._optimizer.variables]

    def _learn(self, features: tf.Tensor, genres: tf.Tensor, tags: tf.Tensor, tagged: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            said = self.network(features, training=True)
            logits, guessed = said if isinstance(said, list | tuple) else (said, None)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(genres, logits))
            if guessed is not None:
                of_tags = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(tags, guessed), axis=1)
                loss += TAGS_SHARE * tf.reduce_mean(tagged * of_tags)
        gradients = tape.gradient(loss, self.network.trainable_variables)
        self._optimizer.apply(gradients, self.network.trainable_variables)
        # Young averages forget faster, or they would still remember the random start.
        done = tf.cast(self._optimizer.iterations, tf.float32)
        momentum = tf.minimum(self._momentum, done / (done + 10.0))
        for average, variable in zip(self._average, self.network.weights, strict=True):
            average.assign(momentum * average + (1.0 - momentum) * variable)
        return loss
