"""How a training is watched: a bar for a person, a line an epoch for a log, figures for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from rich import progress
from rich.console import Console

from headnod_train.backend import tf

_Batch = TypeVar("_Batch")


class TrainingProgress:
    """A bar that moves with every step, and says after every epoch what was reached."""

    def __init__(
        self, console: Console, epochs: int, done: int = 0, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Show so many epochs, some of which may be done."""
        self._console, self._epochs, self._done, self._now = console, epochs, done, now
        self._began = now()
        self._bar = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]} of {task.fields[epochs]}"),
            progress.BarColumn(),
            progress.TextColumn("{task.description}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=epochs, completed=done, epoch=done + 1, epochs=epochs)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def steps(self, batches: Iterable[_Batch], count: int) -> Iterator[_Batch]:
        """The batches of an epoch, the bar a little further after each."""
        for batch in batches:
            yield batch
            self._bar.advance(self._task, 1.0 / count)

    def epoch(self, figures: Mapping[str, float]) -> None:
        """An epoch is done."""
        self._done += 1
        text = f"loss {figures['loss']:.3f}"
        if "windows" in figures:
            text += f", watched: {figures['windows']:.1%} of windows, {figures['tracks']:.1%} of tracks"
        following = min(self._done + 1, self._epochs)
        self._bar.update(self._task, completed=self._done, description=text, epoch=following)
        if not self._console.is_terminal:
            minutes = (self._now() - self._began) / 60
            self._console.print(f"epoch {self._done} of {self._epochs}: {text} ({minutes:.1f} min)", highlight=False)


class TensorBoard:
    """Figures of each epoch in TensorBoard's files, or nothing at all."""

    def __init__(self, run: Path | None) -> None:
        """Write into a run folder's `tensorboard`, unless it is None."""
        self._writer = tf.summary.create_file_writer(str(run / "tensorboard")) if run else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def epoch(self, number: int, figures: Mapping[str, float]) -> None:
        """Write what an epoch reached."""
        if self._writer is None:
            return
        with self._writer.as_default():
            for name, value in figures.items():
                tf.summary.scalar(name, value, step=number)
        self._writer.flush()
