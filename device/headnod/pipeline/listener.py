"""The listener: blocks of audio in, an estimate every few seconds out.

A plain generator that is pulled from its end. Time inside is counted in
samples; the wall clock comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.clock import boottime
from headnod.features.frontend import Mel
from headnod.features.windows import FrameCache, RecentAudio, Window, repeated, windows
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import SILENCE, UNKNOWN, Estimate, HeldBy, Now, State, StatusEvent
from headnod.pipeline.level import Loudness, LoudnessMeter, NoiseFloor
from headnod.pipeline.noise import SteadyNoiseDetector
from headnod.pipeline.smoothing import GenreTracker, RunningMean

_CLIPPING = 0.005
"""Share of samples at full scale that makes a window clipped: mastered music
touches full scale now and then, an overdriven microphone stays there."""

_ENOUGH = 0.3
"""Share of a window that must sound before a genre is asked for, where silence was before."""


_TAGS = 5
"""Tags in an estimate."""


class ListenerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When to speak and how sure to be."""

    every: Annotated[float, Meta(ge=0.1, le=10.0)] = 3.0
    """Seconds between estimates."""

    smoothing: Annotated[float, Meta(ge=0.0, le=600.0)] = 12.0
    """Seconds over which scores are averaged; ten times as long within one song, with a model that has an embedding."""

    lead: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.35
    """How far another genre must be ahead, in smoothed probability, before it is named instead (0-1)."""

    silence: Annotated[float, Meta(ge=-120.0, le=0.0)] = -60.0
    """Windows quieter than this, in dBFS, say nothing."""

    above_noise: Annotated[float, Meta(ge=0.0, le=60.0)] = 6.0
    """Decibels over the room's noise floor at which sound begins."""

    certainty: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Least smoothed probability for a genre to be named (0-1); 0 takes the model's own."""

    tags: bool = True
    """Say which tags, such as mood and instruments, fit best, where the model has tags."""


def listen(
    blocks: Iterable[Block],
    model: GenreModel,
    settings: ListenerSettings,
    *,
    now: Now,
    monotonic: Callable[[], float] = boottime,
    synchronised: Callable[[], bool] = lambda: True,
    first: int = 0,
    lost: float = 0.0,
    rate: int | None = None,
    newer: Callable[[], GenreModel] | None = None,
    beside: Callable[[Window, Estimate], None] | None = None,
    recent: RecentAudio | None = None,
) -> Iterator[Estimate | StatusEvent]:
    """Name the genre of a stream of audio.

    Args:
        blocks: Mono audio at the model's sample rate in pieces of any length,
            and holes where sound was missing.
        model: What names genres.
        settings: When to speak and how sure to be.
        now: The wall clock.
        monotonic: A clock in seconds that is never set.
        synchronised: Whether the wall clock's date can be believed.
        first: Sequence number of the first estimate.
        lost: Seconds of sound that were lost before.
        rate: Sample rate of the first blocks, where that is not the model's yet: then
            a `RateChange` comes before any sound.
        newer: Says which model hears the next window. One of another sample rate
            begins with the `RateChange` to it. No window is lost over it and none
            is heard by both.
        beside: Is given each window with music, and its estimate once that was shown.
        recent: Keeps the last seconds of the stream.

    Yields:
        An estimate for every window, and a condition for every hole.
    """
    front_end, classifier = model.front_end, WindowClassifier(model, settings)
    rate = rate or front_end.sample_rate
    size, every = round(front_end.window_samples * rate / front_end.sample_rate), round(settings.every * rate)
    sequence, dropped = first, lost

    def recut() -> tuple[int, int]:
        nonlocal classifier
        other = classifier.model if newer is None else newer()
        if other is not classifier.model and other.front_end.sample_rate == rate:
            classifier = classifier.succeeded_by(other)
        return classifier.model.front_end.window_samples, classifier.model.front_end.hop

    cut = windows(blocks, size, every, grid=front_end.hop, rate=rate, recut=recut, recent=recent)
    for window in cut:
        if isinstance(window, RateChange):
            rate = window.rate
            continue
        if isinstance(window, Gap):
            classifier.reset()
            dropped += window.lost
            yield StatusEvent(time=now(), state=window.state, message=window.message)
            continue
        began = monotonic()
        result = classifier.classify(window)
        made = monotonic()
        estimate = Estimate(
            sequence=sequence,
            time=now(),
            monotonic=round(made, 3),
            seconds=round(window.end / rate, 3),
            genre=result.genre,
            confidence=_rounded(result.confidence),
            raw_genre=result.raw_genre,
            raw_confidence=_rounded(result.raw_confidence),
            scores={
                label: _rounded(score) for label, score in zip(classifier.model.labels, result.scores, strict=True)
            },
            level=round(result.loudness.level, 1),
            peak=round(result.loudness.peak, 1),
            dropped=round(dropped, 2),
            latency=round(1e3 * (made - began), 2),
            clock_synchronised=synchronised(),
            state=_state(result.loudness),
            held_by=result.held_by,
            tags=result.tags,
            energy=result.energy,
            model=classifier.model.manifest.id,
        )
        yield estimate
        if beside is not None and result.genre != SILENCE:
            beside(window, estimate)
        sequence += 1


class WindowResult(NamedTuple):
    """Classification of one window, before it becomes an `Estimate`."""

    genre: str
    confidence: np.float32
    scores: NDArray[np.float32]
    raw_genre: str
    raw_confidence: np.float32
    loudness: Loudness
    held_by: HeldBy
    tags: dict[str, float]
    energy: float | None


class WindowClassifier:
    """What a window is, given those before it."""

    def __init__(self, model: GenreModel, settings: ListenerSettings) -> None:
        self.model, self._settings = model, settings
        single = None if settings.smoothing else model.manifest.single
        self._single = single is not None
        certainty = settings.certainty or (single or model.manifest.rejection).certainty
        self._tracker = GenreTracker(
            seconds=settings.smoothing, every=settings.every, lead=settings.lead, certainty=certainty
        )
        self._tags = RunningMean(seconds=settings.smoothing, every=settings.every)
        self._noise, self._cache = NoiseFloor(every=settings.every), FrameCache(model.front_end)
        self._meter = LoudnessMeter(model.front_end.window_samples, model.front_end.sample_rate)
        self._steady = SteadyNoiseDetector(model.front_end)

    def classify(self, window: Window) -> WindowResult:
        """Classify the next window."""
        loudness = self._meter.read(window.samples)
        if loudness.level < self._settings.silence:
            self._noise.update(loudness.quietest)
            return self._silence(loudness, HeldBy.SILENCE)
        mel = self._cache.mel(window)
        if self._steady.detect(mel):
            self._noise.update(loudness.quietest)
            return self._silence(loudness, HeldBy.STEADY_NOISE)
        # Only silence and steady noise are the room: steady music would be taken for its own noise floor.
        if loudness.level < self._noise.floor + self._settings.above_noise:
            return self._silence(loudness, HeldBy.SILENCE)
        sound = self._sound(mel, loudness.onset)
        if isinstance(sound, HeldBy):
            return self._silence(loudness, sound)
        said = self.model.predict(self.model.front_end.features(sound), single=self._single)
        scores, chosen, sure = self._tracker.update(said.scores, said.embedding)
        genre = self.model.answers[chosen] if sure else UNKNOWN
        genres = scores[: len(self.model.labels)]
        return WindowResult(
            genre=genre,
            confidence=genres.max() if genre == UNKNOWN else scores[chosen],
            scores=genres,
            raw_genre=self.model.answers[int(said.scores.argmax())],
            raw_confidence=said.scores.max(),
            loudness=loudness,
            held_by=self._held_by(scores, chosen, sure=sure),
            tags=self._surest(said.tags),
            energy=None if said.energy is None else round(said.energy, 3),
        )

    def reset(self) -> None:
        """Discard the smoothed scores."""
        self._tracker.reset()
        self._tags.reset()

    def succeeded_by(self, model: GenreModel) -> WindowClassifier:
        """Another model's classifier, who knows the room and nothing of what this one's model said."""
        successor = WindowClassifier(model, self._settings)
        successor._noise = self._noise
        return successor

    def _held_by(self, scores: NDArray[np.float32], chosen: int, *, sure: bool) -> HeldBy:
        if not sure:
            return HeldBy.THRESHOLD
        if chosen != int(scores.argmax()):
            return HeldBy.LEAD
        return HeldBy.NOT_MUSIC if chosen >= len(self.model.labels) else HeldBy.NONE

    def _surest(self, tags: NDArray[np.float32] | None) -> dict[str, float]:
        if tags is None or not self._settings.tags:
            return {}
        averaged = self._tags.update(tags)
        best = np.argsort(-averaged, kind="stable")[:_TAGS]
        return {self.model.tags[place]: round(float(averaged[place]), 3) for place in best}

    def _sound(self, mel: Mel, onset: int) -> Mel | HeldBy:
        """The sound to name, shape (frames, n_mels); what holds a genre back where it is too short by now.

        Sound that begins within a window is heard as its own repetition, as a short file is.
        """
        frames, first, held = len(mel), onset // self.model.front_end.hop, HeldBy.STARTING
        if not first:
            return mel
        if frames - first >= _ENOUGH * frames:
            begun = repeated(mel[first:], frames)
            if not self._steady.detect(begun):
                return begun
            held = HeldBy.STEADY_NOISE
        # What is far softer than a sudden bang may be music too, where music was heard before.
        return held if self._tracker.empty else mel

    def _silence(self, loudness: Loudness, held_by: HeldBy) -> WindowResult:
        self.reset()
        zero, nothing = np.float32(0.0), np.zeros(len(self.model.labels), np.float32)
        return WindowResult(SILENCE, zero, nothing, SILENCE, zero, loudness, held_by, {}, None)


def _state(loudness: Loudness) -> State:
    if loudness.dead:
        return State.DEAF
    if loudness.clipped > _CLIPPING:
        return State.CLIPPING
    return State.LISTENING


def _rounded(score: np.float32) -> float:
    return round(float(score), 4)
