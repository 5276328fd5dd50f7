"""A model at work on an archive: what it says of every window, and of the stream.

Only the device's own classes speak here, so a figure of the workstation is a
figure of the Pi.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track as shown

from headnod.listener import ListenerSettings
from headnod.model import GenreModel, softmax
from headnod.smoothing import Smoother
from headnod_train.archive import SECONDS_APART, Archive, heard_windows


@dataclass(frozen=True)
class Heard:
    """What a model said of the tracks of an archive."""

    logits: NDArray[np.float32]
    """Answer to each window, shape (windows, labels)."""

    tracks: NDArray[np.intp]
    """The track of each window, in order, shape (windows,)."""

    targets: NDArray[np.intp]
    """What each window was, shape (windows,)."""

    def scores(self, temperature: float) -> NDArray[np.float32]:
        """Probabilities of each window, shape (windows, labels)."""
        return softmax(self.logits / np.float32(temperature))

    def stream(self, temperature: float) -> NDArray[np.float32]:
        """What the listener would show after each window, shape (windows, labels).

        Every track is listened to from its start, as after silence, with the
        listener's default smoothing.
        """
        smoother = Smoother(seconds=ListenerSettings().smoothing, every=SECONDS_APART)
        scores = self.scores(temperature)
        said, former = np.empty_like(scores), None
        for place, (window, track) in enumerate(zip(scores, self.tracks, strict=True)):
            if track != former:
                smoother.forget()
                former = track
            said[place] = smoother.update(window)
        return said

    @property
    def seconds(self) -> NDArray[np.float64]:
        """How much of its track was heard by the end of each window."""
        first = np.flatnonzero(np.diff(self.tracks, prepend=-1))
        since = np.arange(len(self.tracks)) - np.repeat(first, np.diff(first, append=len(self.tracks)))
        return np.asarray((since + 1) * SECONDS_APART, np.float64)


def hear(model: GenreModel, archive: Archive, *, console: Console) -> Heard:
    """Let a model answer every window that a listener hears of every track.

    Raises:
        ArchiveError: A genre of the archive is not a label of the model.
    """
    targets = archive.targets(model.labels)
    features, tracks = heard_windows(archive, model.front_end)
    listened = shown(
        features,
        f"{model.manifest.id} listens",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    logits = np.stack([model.logits(window) for window in listened])
    return Heard(logits, tracks, targets[tracks])
