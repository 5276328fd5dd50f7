"""Mixtures of two prepared windows, with the predictions of a packed network for the mixture as targets.

A few thousand pieces of music are too few for a small network to imitate a large one on music that neither was trained
on. Two windows at random levels and with a random equalisation are a new sound, whose target is the prediction of the
large network. Mel powers add up, as those of independent sounds do, so no waveform is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from headnod.features.frontend import Features, FrontEnd, mel_corners, to_decibels
from headnod.inference.model import GenreModel
from headnod_train.acoustics import Bands, Noise, to_power
from headnod_train.console import progress_bar
from headnod_train.distillation.recordings import Kind, RecordingError
from headnod_train.distillation.window_sets import GENRE, WindowSet
from headnod_train.storage import open_npz, write_npz
from headnod_train.training.archive_batches import prefetched
from headnod_train.training.augment import cosine_deviations

_AT_ONCE = 64
_WAVES = np.arange(1, 7)
_NOISE = Noise("pink", (3.0, 25.0))
_HERTZ = mel_corners(128, 0.0, 11_025.0)


@dataclass(frozen=True)
class MixtureSettings:
    """How windows are chosen and mixed."""

    first: dict[Kind, float]
    """Share of each kind among the louder sounds."""

    second: dict[Kind, float]
    """Share of each kind among the softer ones."""

    music_level: tuple[float, float] = (-15.0, 0.0)
    """Level of softer music against the louder sound, in decibels, uniform."""

    other_level: tuple[float, float] = (-28.0, -4.0)
    """Level of softer speech and noise, in decibels, uniform."""

    equalise: float = 4.0
    """Standard deviation of the equalisation of each of the two, in decibels."""

    noisy: float = 0.35
    """Share of degraded mixtures that are clean mixtures with steady noise; the others are of degraded windows."""


SETTINGS = MixtureSettings(
    first={"music": 0.45, "gtzan": 0.55}, second={"music": 0.4, "gtzan": 0.35, "speech": 0.08, "noise": 0.17}
)


class TeacherPredictions(NamedTuple):
    """Outputs of the large network."""

    answers: NDArray[np.float32]
    """Probabilities of genres and of "not music", (n, labels + 1)."""

    tags: NDArray[np.float32]
    """Probabilities of tags, (n, 50)."""

    embedding: NDArray[np.float32]
    """(n, numbers)."""


class Mixtures(NamedTuple):
    """Features of mixtures for the small network, and their targets."""

    clean: NDArray[np.float16]
    """(n, frames, n_mfcc)."""

    degraded: NDArray[np.float16]
    """The same mixtures of degraded windows, shape as `clean`."""

    predictions: TeacherPredictions


def predict_power(teacher: GenreModel, power: NDArray[np.float32]) -> TeacherPredictions:
    """Predictions of a packed network for mel power, (n, frames, bands)."""
    found = [teacher.predict(features, single=True) for features in teacher.front_end.features(power)]
    return TeacherPredictions(
        np.array([each.scores for each in found], np.float32),
        np.array([each.tags for each in found], np.float32),
        np.array([each.embedding for each in found], np.float32),
    )


def predict_windows(run: Path, teacher: GenreModel, windows: WindowSet, console: Console) -> TeacherPredictions:
    """Predictions for clean windows, stored in a run folder."""
    path = run / "teacher.npz"
    if path.is_file():
        with open_npz(path, "predictions of a teacher (delete it)", RecordingError) as stored:
            return TeacherPredictions(**stored)
    starts = range(0, len(windows), _AT_ONCE)
    with progress_bar(console, transient=True) as progress:
        parts = [
            predict_power(teacher, to_power(windows.clean16[start : start + _AT_ONCE]))
            for start in progress.track(starts, len(starts), description="the teacher's answers")
        ]
    predictions = TeacherPredictions(*map(np.concatenate, zip(*parts, strict=True)))
    write_npz(path, predictions._asdict())
    return predictions


def make_mixtures(
    run: Path,
    teacher: GenreModel,
    windows: WindowSet,
    useful: NDArray[np.bool_],
    count: int,
    *,
    front_end: FrontEnd,
    settings: MixtureSettings,
    seed: int,
    console: Console,
) -> Mixtures:
    """Mix windows and predict their targets, or read the mixtures that a run folder has.

    Args:
        run: Folder of the run.
        teacher: The large network, whose input has the bands of `clean16`.
        windows: Prepared windows.
        useful: Windows to choose from, (n,).
        count: Number of mixtures.
        front_end: Front end of the small network.
        settings: How to mix.
        seed: Seed of every random choice.
        console: Shows progress.
    """
    run.mkdir(parents=True, exist_ok=True)
    path = run / "mixtures.npz"
    if path.is_file():
        with open_npz(path, "mixtures (delete it)", RecordingError) as stored:
            return Mixtures(
                stored["clean"],
                stored["degraded"],
                TeacherPredictions(*(stored[each] for each in TeacherPredictions._fields)),
            )
    rows = {kind: np.flatnonzero((windows.kind == kind) & useful) for kind in np.unique(windows.kind[useful])}
    starts = range(0, count, _AT_ONCE)
    shape = (count, front_end.frames, front_end.n_mfcc)
    clean, degraded = np.empty(shape, np.float16), np.empty(shape, np.float16)
    parts = []

    def mix(start: int) -> tuple[NDArray[np.float32], tuple[Features, Features]]:
        rng = np.random.default_rng((seed, start))
        drawn = _draw(windows.kind, rows, settings, min(_AT_ONCE, count - start), rng)
        return _mixed(windows.clean16, drawn, GENRE), _small_features(windows, drawn, front_end, settings, rng)

    with progress_bar(console, transient=True) as progress:
        mixed = progress.track(prefetched(mix, starts), len(starts), description="mixtures")
        for start, (power, small) in zip(starts, mixed, strict=True):
            parts.append(predict_power(teacher, power))
            clean[start : start + _AT_ONCE], degraded[start : start + _AT_ONCE] = small
    predictions = TeacherPredictions(*map(np.concatenate, zip(*parts, strict=True)))
    write_npz(path, {"clean": clean, "degraded": degraded, **predictions._asdict()})
    return Mixtures(clean, degraded, predictions)


class _Drawn(NamedTuple):
    """What a few mixtures are made of."""

    pair: tuple[NDArray[np.intp], NDArray[np.intp]]
    """Windows, each (n,)."""

    level: NDArray[np.float64]
    """Level of the second one in decibels, (n,)."""

    curves: NDArray[np.float64]
    """Heights of the cosines of both equalisations, in decibels, (2, n, waves)."""


def _draw(
    kinds: NDArray[np.str_],
    rows: dict[str, NDArray[np.intp]],
    settings: MixtureSettings,
    size: int,
    rng: np.random.Generator,
) -> _Drawn:
    pair = _rows(rows, settings.first, size, rng), _rows(rows, settings.second, size, rng)
    music = np.isin(kinds[pair[1]], ("music", "gtzan"))
    level = np.where(music, rng.uniform(*settings.music_level, size), rng.uniform(*settings.other_level, size))
    curves = rng.standard_normal((2, size, _WAVES.size)) * cosine_deviations(_WAVES, settings.equalise)
    return _Drawn(pair, level, curves)


def _rows(
    rows: dict[str, NDArray[np.intp]], shares: dict[Kind, float], size: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    there = {kind: share for kind, share in shares.items() if kind in rows}
    whole = sum(there.values())
    counts = rng.multinomial(size, [share / whole for share in there.values()])
    chosen = np.concatenate([rng.choice(rows[kind], number) for kind, number in zip(there, counts, strict=True)])
    return np.asarray(rng.permutation(chosen))


def _small_features(
    windows: WindowSet, drawn: _Drawn, front_end: FrontEnd, settings: MixtureSettings, rng: np.random.Generator
) -> tuple[Features, Features]:
    """Features of clean and of degraded mixtures, each (n, frames, n_mfcc)."""
    clean = to_decibels(_mixed(windows.clean22, drawn, front_end))
    degraded = to_decibels(_mixed(windows.degraded22, drawn, front_end))
    noisy = np.flatnonzero(rng.random(len(clean)) < settings.noisy)
    if noisy.size:
        degraded[noisy] = _NOISE.apply(clean[noisy], Bands(front_end), rng)
    return front_end.cepstra(clean), front_end.cepstra(degraded)


def _mixed(log_mel: NDArray[np.float16], drawn: _Drawn, front_end: FrontEnd) -> NDArray[np.float32]:
    """Mel power of mixtures, (n, frames, bands)."""
    # The same frequencies for every front end.
    place = np.interp(front_end.corners[1:-1], _HERTZ, np.linspace(0.0, 1.0, _HERTZ.size))
    waves = np.cos(np.pi * _WAVES[:, None] * place)
    total = np.zeros((), np.float32)
    levels = np.zeros_like(drawn.level), drawn.level
    for rows, curves, level in zip(drawn.pair, drawn.curves, levels, strict=True):
        power = to_power(log_mel[rows])
        power /= np.maximum(power.mean(axis=(1, 2), keepdims=True), np.float32(1e-12))
        total = total + power * to_power(curves @ waves + level[:, None])[:, None]
    return total
