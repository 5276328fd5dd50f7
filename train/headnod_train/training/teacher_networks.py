"""What networks that were trained before think of a collection, to be learned from.

A teacher hears every track as it is while its pupil hears it bent. For tracks
that it learned from itself its opinion is half memory: where another teacher
did not, only that one is asked, so teachers of different folds answer for what
they never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.inference.prediction import softmax
from headnod_train.dataset.archive import Archive
from headnod_train.training import run_folder
from headnod_train.training.genre_network import load
from headnod_train.training.run_folder import Recipe, RunError


def teacher_scores(
    teachers: Sequence[Path], archive: Archive, labels: tuple[str, ...], seconds: int
) -> NDArray[np.float32]:
    """Mean scores of teachers for the window that starts in each second of each track.

    Args:
        teachers: Run folders.
        archive: The tracks.
        labels: Genres in the order of the pupil's outputs.
        seconds: How many of each track.

    Returns:
        Probabilities, shape (tracks, seconds, labels).

    Raises:
        RunError: A teacher is unfinished, or knows other genres.
    """
    said = np.zeros((len(teachers), len(archive), seconds, len(labels)), np.float32)
    strange = np.zeros((len(teachers), len(archive)), bool)
    for place, run in enumerate(teachers):
        recipe = run_folder.load(run, run_folder.RECIPE, Recipe)
        if recipe.labels != labels:
            message = f"{run}: its genres are {', '.join(recipe.labels)}, the pupil's {', '.join(labels)}"
            raise RunError(message)
        said[place] = _said(run, recipe, archive, seconds, len(labels))
        strange[place] = ~np.isin(archive.tracks, run_folder.training_tracks(run))
    strange |= ~strange.any(axis=0)
    weight = strange[..., None, None].astype(np.float32)
    return (said * weight).sum(axis=0) / weight.sum(axis=0)


def _said(run: Path, recipe: Recipe, archive: Archive, seconds: int, labels: int) -> NDArray[np.float32]:
    network, front_end = load(run / run_folder.WEIGHTS), recipe.front_end
    mean, deviation = np.array(recipe.mean, np.float32), np.array(recipe.deviation, np.float32)
    scores = []
    for track in range(len(archive)):
        log_mel = archive.log_mel(track)
        last = len(log_mel) - front_end.frames
        starts = [min(round(second * front_end.sample_rate / front_end.hop), last) for second in range(seconds)]
        windows = np.stack([log_mel[start : start + front_end.frames] for start in starts])
        features = (front_end.cepstra(windows) - mean) / deviation
        scores.append(softmax(np.asarray(network(features, training=False))[:, :labels]))
    return np.stack(scores)
