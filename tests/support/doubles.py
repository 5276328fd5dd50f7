"""Stand-ins that model what matters: a model that answers as it was told to, and a clock that obeys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat

import numpy as np

from headnod.features.frontend import Features, FrontEnd
from headnod.inference.manifest import FORMAT, HASHED, Manifest, Rejection, Standardisation, Tensor, Training
from headnod.inference.model import Prediction

SMALL = FrontEnd(n_fft=1024, hop=1024, frames=10, n_mels=16, n_mfcc=8)
"""A window of 10,240 samples, and little to compute."""


def manifest_of(
    front_end: FrontEnd = SMALL,
    labels: Sequence[str] = ("jazz", "metal"),
    *,
    kind: str = "int8",
    certainty: float = 0.0,
    temperature: float = 1.0,
) -> Manifest:
    """What a bundle of this front end and these labels would promise."""
    return Manifest(
        format=FORMAT,
        name="fixed",
        version="1.0.0",
        sha256=dict.fromkeys(HASHED, "0" * 64),
        labels=tuple(labels),
        front_end=front_end,
        standardisation=Standardisation((0.0,) * front_end.n_features, (1.0,) * front_end.n_features),
        input=Tensor((1, front_end.frames, front_end.n_features), kind),
        output=Tensor((1, len(labels)), kind),
        temperature=temperature,
        rejection=Rejection(certainty),
        training=Training("made by a formula", "nobody's", {}),
        measured={},
        toolchain={},
    )


class FixedModel:
    """A GenreModel whose scores are given, window by window; the last are repeated."""

    def __init__(
        self,
        *answers: Sequence[float],
        labels: Sequence[str] = ("jazz", "metal"),
        certainty: float = 0.0,
        not_music: bool = False,
    ):
        self._more = ("unknown",) if not_music else ()
        self.manifest = manifest_of(labels=labels, certainty=certainty)
        self.heard: list[Features] = []
        self._answers = chain(answers, repeat(answers[-1]))

    @property
    def front_end(self) -> FrontEnd:
        return self.manifest.front_end

    @property
    def labels(self) -> tuple[str, ...]:
        return self.manifest.labels

    @property
    def answers(self) -> tuple[str, ...]:
        return (*self.labels, *self._more)

    def predict(self, features: Features, *, single: bool = False) -> Prediction:
        return Prediction(self.alone(features) if single else self.scores(features))

    def alone(self, features: Features) -> np.ndarray:
        return self.scores(features)

    def scores(self, features: Features) -> np.ndarray:
        self.heard.append(features.copy())
        return np.array(next(self._answers), np.float32)


class Clock:
    """Wall and monotonic time that pass only while somebody sleeps or says so."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)):
        self._start, self.seconds = start, 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
