"""Tagging: every so many seconds of every track, what a large tagger hears.

The student of these answers hears degraded audio; its teacher hears the clean
one, here, once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from headnod.audio.audio_file import audio_file
from headnod.errors import AudioError
from headnod.features.frontend import LogMel
from headnod.features.windows import Window, windows
from headnod_train.tagger.tag_file import TagFile
from headnod_train.tagger.tag_scores import FRONT_END, TaggerOutput
from headnod_train.tagger.tagger_error import TaggerError

SAVED_EVERY = 60.0
"""Seconds from one writing of the file to the next: so much is lost at most."""
_BATCH = 8


class TagModel(Protocol):
    """Anything that answers as the tagger does."""

    def predict(self, log_mel: LogMel) -> TaggerOutput:
        """What it says of windows, shape (windows, 187, 96) in decibels."""


@dataclass
class TaggingResult:
    """How a tagging went."""

    tagged: int = 0
    """Tracks that were heard now."""

    kept: int = 0
    """Tracks that an earlier run had heard."""

    refused: dict[str, str] = field(default_factory=dict)
    """Tracks that could not be heard, and why."""


def tag(
    tracks: Mapping[str, Path],
    teacher: TagModel,
    file: TagFile,
    *,
    every: float,
    layer: str,
    stretches: Mapping[str, tuple[float, float]] | None = None,
    console: Console,
    clock: Callable[[], float] = time.monotonic,
) -> TaggingResult:
    """Tag tracks; what is done is kept, however it ends.

    Args:
        tracks: Audio files by the names of their tracks.
        teacher: The tagger.
        file: Where answers go; tracks that it has are left out.
        every: Seconds from the start of one window of 3 s to the next.
        layer: Which inner layer the file keeps.
        stretches: From which second to which second of its file each track
            reaches, and its times count from there; all of it unless said.
        console: Where progress is shown and unreadable files are named.
        clock: Seconds that never jump back.

    Raises:
        TaggerError: Nothing could be tagged, or the file not be written.
    """
    told = TaggingResult(kept=len(tracks.keys() & file.tracks))
    fresh = {name: path for name, path in tracks.items() if name not in file.tracks}
    saved = clock()
    with _progress(console) as progress:
        task = progress.add_task("tagging", total=len(fresh))
        try:
            for name, path in fresh.items():
                progress.update(task, description=name)
                stretch = (stretches or {}).get(name, (0.0, math.inf))
                try:
                    times, answers = _heard(path, teacher, every, stretch)
                except AudioError as error:
                    told.refused[name] = str(error)
                    console.print(str(error), markup=False, highlight=False, soft_wrap=True)
                else:
                    file.add(name, times, answers.tags, answers.mean if layer == "mean" else answers.dense)
                    told.tagged += 1
                progress.advance(task)
                if clock() - saved >= SAVED_EVERY:
                    file.save()
                    saved = clock()
                    if not console.is_terminal:
                        console.print(f"{told.tagged} of {len(fresh)} tracks tagged", highlight=False)
        finally:
            file.save()
    if not told.tagged and not told.kept:
        message = f"none of {len(tracks)} files could be tagged"
        raise TaggerError(message)
    return told


def _heard(
    path: Path, teacher: TagModel, every: float, stretch: tuple[float, float]
) -> tuple[NDArray[np.float32], TaggerOutput]:
    times: list[float] = []
    heard: list[TaggerOutput] = []
    with audio_file(path, FRONT_END.sample_rate) as blocks:
        stream = _windows(_between(blocks, *stretch), every)
        while some := list(islice(stream, _BATCH)):
            times += [start for start, _ in some]
            heard.append(teacher.predict(np.stack([log_mel for _, log_mel in some])))
    if not heard:
        message = f"{path}: is shorter than 3 s, which the tagger hears at once"
        raise AudioError(message)
    layers = zip(*((each.tags, each.dense, each.mean) for each in heard), strict=True)
    return np.array(times, np.float32), TaggerOutput(*(np.concatenate(parts) for parts in layers))


def _between(blocks: Iterable[NDArray[np.float32]], since: float, until: float) -> Iterator[NDArray[np.float32]]:
    """What lies between two seconds of a stream."""
    first, last = since * FRONT_END.sample_rate, until * FRONT_END.sample_rate
    place = 0
    for block in blocks:
        yield block[int(max(first - place, 0)) : int(min(max(last - place, 0), block.size))]
        place += block.size
        if place >= last:
            return


def _windows(blocks: Iterator[NDArray[np.float32]], every: float) -> Iterator[tuple[float, LogMel]]:
    # The tagger learned from frames centred on their time: half a frame of silence on each side.
    edge = [np.zeros(FRONT_END.n_fft // 2, np.float32)]
    apart = round(every * FRONT_END.sample_rate)
    for window in windows(chain(edge, blocks, edge), FRONT_END.window_samples, apart):
        if isinstance(window, Window):
            yield window.start / FRONT_END.sample_rate, FRONT_END.log_mel(window.samples)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
