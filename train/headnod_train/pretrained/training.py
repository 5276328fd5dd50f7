"""Distillation for robustness: for degraded sound, the targets are the predictions of the teachers for clean sound.

Training starts from the pruned teacher, so low rates suffice. Only the layers after the first are trained, on stored
outputs of the first. An interrupted training continues from its saved state.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod_train.backend import keras, tf
from headnod_train.pretrained.batches import Batches, Distillation
from headnod_train.pretrained.equalisation import LIMIT
from headnod_train.pretrained.network import upper_layers
from headnod_train.pretrained.pruning import Parameters
from headnod_train.storage import open_npz, write_npz
from headnod_train.training.progress_bar import TrainingProgress
from headnod_train.training.run_folder import RunError

_FIXED = ("offset", "front", "max.", "mean.")
"""Fixed parameters: the scales of pooled channels are redundant with the next kernel."""
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

    Args:
        start: Equalised and standardised, with a head.
        batches: Outputs of the first layer, and targets.
        spread: Divides differences of the embedding, (200,).
        folder: Folder of the saved state, from which an interrupted training continues.
        settings: Settings of the training.
        console: Shows progress.
        clock: Monotonic clock in seconds.

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
            0.0,
            max(settings.steps - _WARMUP, 1),
            alpha=_LEAST_RATE,
            warmup_target=settings.rate,
            warmup_steps=_WARMUP,
        )
        self._adam = keras.optimizers.Adam(rate, global_clipnorm=_CLIP)
        self._adam.build(list(self._variables.values()))
        self.step = 0

    def learner(self) -> Callable[..., tuple[tf.Tensor, ...]]:
        """A step of training."""
        fixed = {name: tf.constant(value, tf.float32) for name, value in self._fixed.items()}
        spread = tf.constant(self._spread, tf.float32)
        variables, settings = list(self._variables.values()), self._settings

        def learn(
            x: tf.Tensor,
            answers: tf.Tensor,
            tags: tf.Tensor,
            embedding: tf.Tensor,
            music: tf.Tensor,
            weights: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape() as tape:
                found = upper_layers({**fixed, **self._now()}, x)
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
