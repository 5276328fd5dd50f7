"""Test doubles for programs that use headnod: no model file, no microphone, no lamp, no broker, no waiting.

>>> model = FixedModel([0.9, 0.1], [0.2, 0.8])
>>> model.best(np.zeros(model.front_end.window_samples, np.float32))
'jazz'
>>> clock = ManualClock()
>>> clock.sleep(90.0)
>>> f"{clock.now():%H:%M:%S}"
'12:01:30'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Literal, NamedTuple

import numpy as np

from headnod.escaping import UNKNOWN
from headnod.features.frontend import Audio, Features, FrontEnd
from headnod.inference.manifest import (
    FORMAT,
    HASHED,
    Manifest,
    Prediction,
    Rejection,
    Standardisation,
    Tensor,
    Training,
)
from headnod.outputs.leds import Layout, LedFrame, bars

__all__ = [
    "SMALL_FRONT_END",
    "FixedModel",
    "ManualClock",
    "MemoryBroker",
    "MemoryMessage",
    "MockLamp",
    "fixed_manifest",
]

SMALL_FRONT_END = FrontEnd(n_fft=1024, hop=1024, frames=10, n_mels=16, n_mfcc=8)
"""A front end that is quick to compute: 22,050 Hz, a window of 10,240 samples, 10 frames of 8 MFCCs."""


def fixed_manifest(
    front_end: FrontEnd = SMALL_FRONT_END,
    labels: Sequence[str] = ("jazz", "metal"),
    *,
    kind: Literal["int8", "float32"] = "int8",
    threshold: float = 0.0,
    temperature: float = 1.0,
) -> Manifest:
    """The manifest of a model `fixed-1.0.0` that has one output and no file.

    Args:
        front_end: How audio becomes features.
        labels: Names of the genres, in the order of the scores.
        kind: Type of the input and output tensors, `int8` or `float32`.
        threshold: Least probability for a genre to be named (0-1).
        temperature: Divides the logits before softmax.
    """
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
        rejection=Rejection(threshold),
        training=Training("made by a formula", "public domain", {}),
        measured={},
        toolchain={},
    )


class FixedModel:
    """A model whose scores are given, window by window; takes the place of a `GenreModel`.

    >>> model = FixedModel([0.75, 0.25], [0.5, 0.5], labels=("jazz", "metal"))
    >>> features = np.zeros((10, 8), np.float32)
    >>> [model.scores(features).tolist() for _ in range(3)]
    [[0.75, 0.25], [0.5, 0.5], [0.5, 0.5]]
    """

    def __init__(
        self,
        *scores: Sequence[float],
        labels: Sequence[str] = ("jazz", "metal"),
        front_end: FrontEnd = SMALL_FRONT_END,
        threshold: float = 0.0,
        not_music: bool = False,
    ) -> None:
        """Give these scores, one sequence for each window; the last is repeated.

        Args:
            scores: Probability of each label, and of `unknown` behind them with `not_music`.
            labels: Names of the genres.
            front_end: How audio becomes features.
            threshold: Least probability for a genre to be named (0-1).
            not_music: The last score is that of sound that is not music.
        """
        self._more = (UNKNOWN,) if not_music else ()
        self.manifest = fixed_manifest(front_end, labels, threshold=threshold)
        self.received: list[Features] = []
        """The features of every window so far, each of shape (frames, n_features)."""
        self._scores = chain(scores, repeat(scores[-1]))

    @property
    def front_end(self) -> FrontEnd:
        """How audio becomes features."""
        return self.manifest.front_end

    @property
    def labels(self) -> tuple[str, ...]:
        """Genres, in the order of the scores."""
        return self.manifest.labels

    @property
    def answers(self) -> tuple[str, ...]:
        """Name of each score."""
        return (*self.labels, *self._more)

    def predict(self, features: Features, *, single: bool = False) -> Prediction:  # noqa: ARG002 - as the protocol
        """The next scores, without tags, energy and embedding; `single` changes nothing."""
        return Prediction(self.scores(features))

    def scores(self, features: Features) -> np.ndarray:
        """The next scores, shape (answers,)."""
        self.received.append(features.copy())
        return np.array(next(self._scores), np.float32)

    def best(self, audio: Audio) -> str:
        """The likeliest answer to one window of audio, shape (window_samples,)."""
        return self.answers[int(self.scores(self.front_end.mfcc(audio)).argmax())]


class ManualClock:
    """Wall time and monotonic time that pass only when `sleep` is called or `seconds` is set."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 12, tzinfo=UTC)) -> None:
        """Begin at `start`; the monotonic clock begins at 0."""
        self._start, self.seconds = start, 0.0
        self.slept: list[float] = []
        """The argument of every call of `sleep`, in seconds."""

    def now(self) -> datetime:
        """Wall time, UTC."""
        return self._start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.slept.append(seconds)
        self.seconds += seconds


class MockLamp:
    """A lamp of any size that keeps what it is asked to paint; goes into `headnod.outputs.leds.LedSink`."""

    def __init__(self, size: int = 10, layout: Layout = bars) -> None:
        """A lamp with `size` lights, all dark."""
        self.size, self.layout = size, layout
        self.painted: list[LedFrame] = []
        self.closed = False

    def paint(self, light: LedFrame, seconds: float) -> None:  # noqa: ARG002 - a real lamp fades by it
        """Keep a frame."""
        self.painted.append(light)

    @property
    def lit(self) -> int:
        """Number of lights that the last frame lights."""
        return int((self.painted[-1].levels > 0.0).sum()) if self.painted else 0

    def close(self) -> None:
        """Note that the lamp was closed."""
        self.closed = True


class MemoryMessage(NamedTuple):
    """One message of a `MemoryBroker`."""

    topic: str
    payload: bytes
    retain: bool = False
    """As a broker delivers it: true only for messages that were retained before the subscription."""


class MemoryBroker:
    """An MQTT broker in memory: topics with wildcards and retained messages, delivered before `publish` returns.

    >>> broker, received = MemoryBroker(), []
    >>> broker.publish("headnod/kitchen/state", b'{"genre":"jazz"}', retain=True)
    >>> broker.subscribe("headnod/+/state", received.append)
    >>> received
    [MemoryMessage(topic='headnod/kitchen/state', payload=b'{"genre":"jazz"}', retain=True)]
    """

    def __init__(self) -> None:
        """A broker without messages and subscribers."""
        self.published: list[MemoryMessage] = []
        """All messages so far, `retain` as the publisher set it."""
        self.retained: dict[str, bytes] = {}
        """The retained message of every topic."""
        self._subscribers: list[tuple[str, Callable[[MemoryMessage], object]]] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Deliver a message; an empty retained payload deletes the retained message, as MQTT says."""
        self.published.append(MemoryMessage(topic, payload, retain))
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for pattern, receive in list(self._subscribers):
            if _matches(pattern, topic):
                receive(MemoryMessage(topic, payload))

    def subscribe(self, pattern: str, receive: Callable[[MemoryMessage], object]) -> None:
        """Call `receive` for every message whose topic matches, first for those that are retained."""
        self._subscribers.append((pattern, receive))
        for topic, payload in list(self.retained.items()):
            if _matches(pattern, topic):
                receive(MemoryMessage(topic, payload, retain=True))


def _matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT topic filter takes a topic; `$`-topics need a filter that names them."""
    wanted, levels = pattern.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in {"+", "#"}:
        return False
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(one in {"+", other} for one, other in zip(wanted, levels, strict=True))
