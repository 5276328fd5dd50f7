"""A model at work on an archive: what it says of every window, and of the stream.

Only the device's own classes speak here, so a figure of the workstation is a
figure of the Pi.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track as shown

from headnod.features.frontend import Features
from headnod.inference.model import GenreModel
from headnod.inference.prediction import softmax
from headnod.pipeline.listener import ListenerSettings
from headnod.pipeline.smoothing import Decision, GenreTracker
from headnod_train.acoustics.bands import Bands
from headnod_train.dataset.archive import WINDOW_STEP_SECONDS, Archive, window_starts
from headnod_train.evaluation.conditions import AcousticCondition


@dataclass(frozen=True)
class Predictions:
    """What a model said of the tracks of an archive."""

    logits: NDArray[np.float32]
    """Answer to each window, shape (windows, answers): see `GenreModel.answers`."""

    tracks: NDArray[np.intp]
    """The track of each window, in order, shape (windows,)."""

    targets: NDArray[np.intp]
    """What each window was, shape (windows,)."""

    labels: int
    """Genres; an answer behind them is that it is no music."""

    @property
    def guesses(self) -> NDArray[np.intp]:
        """The likeliest genre of each window, shape (windows,)."""
        return self.logits[:, : self.labels].argmax(axis=1)

    def scores(self, temperature: float) -> NDArray[np.float32]:
        """Probabilities of each window, shape (windows, labels)."""
        return self._answers(temperature)[:, : self.labels]

    def _answers(self, temperature: float) -> NDArray[np.float32]:
        return softmax(self.logits / np.float32(temperature))

    def stream(self, temperature: float) -> NDArray[np.float32]:
        """The listener's scores after each window, shape (windows, labels).

        Every track is listened to from its start, as after silence, with the
        listener's default smoothing.
        """
        return np.stack([said.scores for said in self._said(temperature)])[:, : self.labels]

    def shown(self, temperature: float, certainty: float) -> NDArray[np.intp]:
        """The genre that the listener would name after each window, -1 where none, shape (windows,)."""
        shown = [said.answer if said.above_threshold else -1 for said in self._said(temperature, certainty)]
        return np.array([answer if answer < self.labels else -1 for answer in shown], np.intp)

    def kept(self, temperature: float) -> NDArray[np.intp]:
        """The genre that stands after each window, however unsure, shape (windows,).

        That is the one the listener keeps, or the likeliest where it takes what it hears for no music.
        """
        stood = [(said.answer, int(said.scores[: self.labels].argmax())) for said in self._said(temperature)]
        return np.array([answer if answer < self.labels else best for answer, best in stood], np.intp)

    def _said(self, temperature: float, certainty: float = 0.0) -> Iterator[Decision]:
        naming, former = naming_of(certainty), None
        for window, track in zip(self._answers(temperature), self.tracks, strict=True):
            if track != former:
                naming.reset()
                former = track
            yield naming.update(window)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """How much of its track was heard by the end of each window."""
        first = np.flatnonzero(np.diff(self.tracks, prepend=-1))
        since = np.arange(len(self.tracks)) - np.repeat(first, np.diff(first, append=len(self.tracks)))
        return np.asarray((since + 1) * WINDOW_STEP_SECONDS, np.float64)


def naming_of(certainty: float) -> GenreTracker:
    """The listener's own way from scores to a name, as it comes, with a window every 3 s."""
    settings = ListenerSettings()
    return GenreTracker(seconds=settings.smoothing, every=WINDOW_STEP_SECONDS, lead=settings.lead, threshold=certainty)


def predict(
    model: GenreModel, archive: Archive, *, through: AcousticCondition | None = None, console: Console
) -> Predictions:
    """Let a model answer every window that a listener hears of every track.

    Args:
        model: What names genres.
        archive: What is played.
        through: What happens to each whole track before it is heard, if anything.
        console: Where progress is shown.

    Raises:
        ArchiveError: A genre of the archive is not a label of the model.
    """
    targets = archive.targets(model.labels)
    played = shown(
        range(len(archive)),
        f"{model.manifest.id} listens" + (f" ({through.name})" if through else ""),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    bands = Bands(model.front_end)
    logits: list[NDArray[np.float32]] = []
    tracks: list[int] = []
    for track in played:
        windows = _features(model, archive, track, through, bands)
        logits.extend(model.logits(window) for window in windows)
        tracks.extend([track] * len(windows))
    places = np.array(tracks, np.intp)
    return Predictions(np.stack(logits), places, targets[places], len(model.labels))


def _features(
    model: GenreModel, archive: Archive, track: int, through: AcousticCondition | None, bands: Bands
) -> Features:
    front_end = model.front_end
    if through is None:
        return front_end.cepstra(archive.windows(track, front_end))
    log_mel = through.apply(archive.log_mel(track), str(archive.tracks[track]), bands)
    starts = window_starts(len(log_mel), front_end)
    return front_end.cepstra(np.stack([log_mel[start : start + front_end.frames] for start in starts]))
