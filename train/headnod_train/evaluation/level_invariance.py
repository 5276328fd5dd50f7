"""Whether loudness matters: the same clips played softer and louder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import SILENCE, Estimate
from headnod_train.evaluation.result_parts import Gain, Level
from headnod_train.evaluation.sound_sets import as_16_bit, estimates

GAINS = (-40.0, -30.0, -20.0, -12.0, -6.0, 6.0)
"""Decibels against the recording."""


def level_flips(model: GenreModel, clips: Sequence[Audio]) -> Level:
    """Count windows whose own genre, unsmoothed, changes with the level.

    A window counts where neither level clips it nor makes it silent.
    """
    exact = estimates(model, clips)
    stepped = estimates(model, map(as_16_bit, clips))
    return Level(clips=len(clips), gains=tuple(_gain(model, clips, exact, stepped, decibels) for decibels in GAINS))


def _gain(
    model: GenreModel, clips: Sequence[Audio], exact: list[Estimate], stepped: list[Estimate], decibels: float
) -> Gain:
    factor = np.float32(10.0 ** (decibels / 20.0))
    pairs = list(zip(exact, estimates(model, (clip * factor for clip in clips)), strict=True))
    counted = [pair for pair in pairs if _comparable(*pair)]
    rough = zip(stepped, estimates(model, (as_16_bit(clip * factor) for clip in clips)), strict=True)
    return Gain(
        decibels=decibels,
        windows=len(counted),
        flips=sum(one.raw_genre != other.raw_genre for one, other in counted),
        flips_16_bit=sum(one.raw_genre != other.raw_genre for one, other in rough if _comparable(one, other)),
        silent=sum(one.raw_genre != SILENCE and other.raw_genre == SILENCE for one, other in pairs),
    )


def _comparable(one: Estimate, other: Estimate) -> bool:
    return SILENCE not in {one.raw_genre, other.raw_genre} and max(one.peak, other.peak) < 0.0
