"""The listener: blocks of audio in, an estimate every few seconds out, and the classification of whole files.

`listen` is a generator without threads or timers. Intervals are counted in samples;
the clocks are arguments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.clock import boottime, span_fault
from headnod.errors import AudioError
from headnod.escaping import SILENCE, UNKNOWN
from headnod.features.windows import FrameCache, RecentAudio, Window, repeated, windows
from headnod.pipeline.estimate import TAGS, Estimate, HeldBy, Now, Share, State, StatusEvent
from headnod.pipeline.level import Loudness, LoudnessMeter, NoiseFloor, SteadyNoiseDetector, dbfs
from headnod.pipeline.smoothing import GenreTracker, RunningMean, log_mean

if TYPE_CHECKING:
    from headnod.features.frontend import Audio, FrontEnd, Mel
    from headnod.inference.manifest import Model, Prediction

_CLIPPING = 0.005
"""Share of clipped samples above which a window counts as clipped. Mastered music
reaches full scale occasionally, an overdriven microphone stays there."""

_ENOUGH = 0.3
"""Minimum share of a window with sound for it to be classified after silence."""


class ListenerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often the listener estimates, and when it names a genre."""

    every: Annotated[float, Meta(ge=0.1, le=10.0)] = 3.0
    """Seconds between estimates."""

    smoothing: Annotated[float, Meta(ge=0.0, le=600.0)] = 12.0
    """Seconds over which scores are averaged; ten times as long within one song, with a model that has an embedding."""

    lead: Share = 0.35
    """Difference in smoothed probability by which another genre must exceed the current one to replace it (0-1)."""

    silence: Annotated[float, Meta(ge=-120.0, le=0.0)] = -60.0
    """Level in dBFS below which a window is silence."""

    above_noise: Annotated[float, Meta(ge=0.0, le=60.0)] = 6.0
    """Decibels above the noise floor of the room below which a window is silence."""

    threshold: Share = msgspec.field(default=0.0, name="certainty")
    """Minimum smoothed probability of a named genre (0-1); 0 uses the threshold of the model."""

    tags: bool = True
    """Report the tags with the highest scores, such as mood and instruments, if the model has tags."""

    quiet_hours: Annotated[tuple[str, ...], Meta(max_length=8)] = ()
    """Spans of local time without estimates, such as "22:00-07:00"."""

    def __post_init__(self) -> None:
        """Refuse spans that cannot be used.

        Raises:
            ValueError: One cannot; the message begins with the key.
        """
        for span in self.quiet_hours:
            if fault := span_fault(span):
                raise ValueError(f"quiet_hours: {fault}")


def listen(
    blocks: Iterable[Block],
    model: Model,
    settings: ListenerSettings,
    *,
    now: Now,
    monotonic: Callable[[], float] = boottime,
    synchronised: Callable[[], bool] = lambda: True,
    first: int = 0,
    dropped: float = 0.0,
    rate: int | None = None,
    current_model: Callable[[], Model] | None = None,
    after_estimate: Callable[[Window, Estimate], None] | None = None,
    after_prediction: Callable[[Estimate, Prediction | None, Model], None] | None = None,
    recent: RecentAudio | None = None,
) -> Iterator[Estimate | StatusEvent]:
    """Estimate the genre of a stream of audio.

    Args:
        blocks: Mono audio at the model's sample rate in pieces of any length, and
            gaps where audio is missing.
        model: Classifies the windows.
        settings: How often to estimate, and when to name a genre.
        now: The wall clock, UTC.
        monotonic: A monotonic clock in seconds.
        synchronised: Whether the wall clock is synchronised.
        first: Sequence number of the first estimate.
        dropped: Seconds of audio lost before the first block.
        rate: Sample rate of the first blocks, if it is not the rate of `model`; then
            a `RateChange` must come before any audio.
        current_model: Called after every window; returns the model for the next one. A
            model with another sample rate takes over at the `RateChange` to its rate.
            Every window is classified exactly once.
        after_estimate: Called with each window that is not silence and its estimate,
            after the consumer has processed the estimate.
        after_prediction: Called in the same way after every estimate, with the model's output for the window, which is
            None in silence, and the model.
        recent: Receives every block, to keep the last seconds of the stream.

    Yields:
        An estimate for every window, and a status event for every gap.

    >>> from headnod.testing import FixedModel, ManualClock
    >>> audio = np.random.default_rng(0).normal(0.0, 0.1, 44_100).astype(np.float32)
    >>> audio *= np.repeat(np.linspace(1.0, 0.1, 20, dtype=np.float32), 2_205)
    >>> model, clock = FixedModel([0.9, 0.1]), ManualClock()
    >>> [estimate.genre for estimate in listen([audio], model, ListenerSettings(every=1.0), now=clock.now)]
    ['jazz', 'jazz']
    """
    front_end, classifier = model.manifest.front_end, WindowClassifier(model, settings)
    rate = rate or front_end.sample_rate
    size, every = round(front_end.window_samples * rate / front_end.sample_rate), round(settings.every * rate)
    sequence = first

    def recut() -> tuple[int, int]:
        nonlocal classifier
        other = classifier.model if current_model is None else current_model()
        if other is not classifier.model and other.manifest.front_end.sample_rate == rate:
            classifier = classifier.with_model(other)
        return classifier.window_size

    for window in windows(blocks, size, every, grid=front_end.hop, rate=rate, recut=recut, recent=recent):
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
        ended = monotonic()
        loudness = result.loudness
        estimate = Estimate(
            sequence=sequence,
            time=now(),
            monotonic=round(ended, 3),
            seconds=round((window.start + window.samples.size) / rate, 3),
            genre=result.genre,
            confidence=round(result.confidence, 4),
            raw_genre=result.raw_genre,
            raw_confidence=round(result.raw_confidence, 4),
            scores=result.scores,
            level=round(loudness.level, 1),
            peak=round(loudness.peak, 1),
            dropped=round(dropped, 2),
            latency=round(1e3 * (ended - began), 2),
            clock_synchronised=synchronised(),
            state=State.DEAF if loudness.dead else State.CLIPPING if loudness.clipped > _CLIPPING else State.LISTENING,
            held_by=result.held_by,
            tags=result.tags,
            energy=result.energy,
            model=classifier.model_id,
        )
        yield estimate
        if after_estimate is not None and result.genre != SILENCE:
            after_estimate(window, estimate)
        if after_prediction is not None:
            after_prediction(estimate, result.prediction, classifier.model)
        sequence += 1


class WindowResult(NamedTuple):
    """Result of one window; the fields are those of `Estimate`, not rounded."""

    loudness: Loudness
    held_by: HeldBy
    scores: dict[str, float]
    tags: dict[str, float]
    genre: str = SILENCE
    confidence: float = 0.0
    raw_genre: str = SILENCE
    raw_confidence: float = 0.0
    energy: float | None = None
    prediction: Prediction | None = None


class WindowClassifier:
    """Classifies the windows of a stream one after another."""

    def __init__(self, model: Model, settings: ListenerSettings) -> None:
        """Start without previous windows."""
        manifest = model.manifest
        front_end = manifest.front_end
        self.model, self._settings = model, settings
        self.model_id = manifest.id
        self.window_size = front_end.window_samples, front_end.hop
        """Samples per window, and the grid of their starts in samples."""
        self._answers, self._labels = model.answers, manifest.labels
        self._silent_scores = dict.fromkeys(self._labels, 0.0)
        self._tag_names = manifest.tags.names if manifest.tags and settings.tags else ()
        single = None if settings.smoothing else manifest.single
        self._single = single is not None
        self._tracker = GenreTracker(
            seconds=settings.smoothing,
            every=settings.every,
            lead=settings.lead,
            threshold=settings.threshold or (single or manifest.rejection).threshold,
        )
        self._tags = RunningMean(seconds=settings.smoothing, every=settings.every)
        self._noise, self._frames = NoiseFloor(every=settings.every), FrameCache(front_end)
        self._meter = LoudnessMeter(front_end.window_samples, front_end.sample_rate)
        self._steady_noise = SteadyNoiseDetector(front_end)
        self._front_end = front_end

    def classify(self, window: Window) -> WindowResult:
        """Classify the next window."""
        loudness = self._meter.measure(window.samples)
        if loudness.level < self._settings.silence:
            self._noise.update(loudness.quietest)
            return self._silence(loudness, HeldBy.SILENCE)
        mel = self._frames.mel(window)
        if self._steady_noise.detect(mel):
            self._noise.update(loudness.quietest)
            return self._silence(loudness, HeldBy.STEADY_NOISE)
        # Only silence and steady noise update the noise floor: steady music would raise it to its own level.
        if loudness.level < self._noise.floor + self._settings.above_noise:
            return self._silence(loudness, HeldBy.SILENCE)
        if first := loudness.onset // self._front_end.hop:
            sound = self._from_onset(mel, first)
            if isinstance(sound, HeldBy):
                return self._silence(loudness, sound)
            mel = sound
        prediction = self.model.predict(self._front_end.features(mel), single=self._single)
        scores, kept, above_threshold = self._tracker.update(prediction.scores, prediction.embedding)
        raw = int(prediction.scores.argmax())
        genres = scores[: len(self._labels)]
        held_by = HeldBy.NONE
        if not above_threshold:
            held_by = HeldBy.THRESHOLD
        elif kept != int(scores.argmax()):
            held_by = HeldBy.LEAD
        elif kept >= len(self._labels):
            held_by = HeldBy.NOT_MUSIC
        genre = self._answers[kept] if above_threshold else UNKNOWN
        return WindowResult(
            loudness=loudness,
            held_by=held_by,
            scores={label: round(score, 4) for label, score in zip(self._labels, genres.tolist(), strict=True)},
            genre=genre,
            confidence=float(genres.max() if genre == UNKNOWN else scores[kept]),
            raw_genre=self._answers[raw],
            raw_confidence=float(prediction.scores[raw]),
            tags=self._top_tags(prediction.tags) if prediction.tags is not None and self._tag_names else {},
            energy=None if prediction.energy is None else round(prediction.energy, 3),
            prediction=prediction,
        )

    def reset(self) -> None:
        """Discard the smoothed scores and tags, at a gap or at silence."""
        self._tracker.reset()
        self._tags.reset()

    def with_model(self, model: Model) -> WindowClassifier:
        """A classifier with another model and this one's noise floor, without its smoothed scores."""
        successor = WindowClassifier(model, self._settings)
        successor._noise = self._noise
        return successor

    def _top_tags(self, tags: NDArray[np.float32]) -> dict[str, float]:
        averaged = self._tags.update(tags)
        best = np.argsort(-averaged, kind="stable")[:TAGS]
        return {self._tag_names[place]: round(float(averaged[place]), 3) for place in best}

    def _from_onset(self, mel: Mel, first: int) -> Mel | HeldBy:
        """The frames to classify if sound starts at frame `first`, shape (frames, n_mels), or the reason for silence.

        The sound is repeated to the length of a window, like a short file.
        """
        frames, held_by = len(mel), HeldBy.STARTING
        if frames - first >= _ENOUGH * frames:
            sound = repeated(mel[first:], frames)
            if not self._steady_noise.detect(sound):
                return sound
            held_by = HeldBy.STEADY_NOISE
        # After music, the part before a sudden bang may be softer music.
        return held_by if self._tracker.empty else mel

    def _silence(self, loudness: Loudness, held_by: HeldBy) -> WindowResult:
        self.reset()
        return WindowResult(loudness, held_by, self._silent_scores.copy(), {})


class FileResult(msgspec.Struct, frozen=True, kw_only=True):
    """Genre of a file."""

    file: str
    """Name of the file, as given."""

    genre: str
    """The most probable label, `silence`, or `unknown` for sound that is not music."""

    confidence: float
    """Probability of `genre` over the whole file (0-1); 0 for silence."""

    scores: dict[str, float]
    """Probability of every label; 0 for silence. The rest to 1 is the probability of `unknown`."""

    seconds: float
    """Duration of the file."""

    short: bool
    """The file is shorter than a window and was repeated to its length."""


class FileScores(NamedTuple):
    """Scores of the windows of a file."""

    scores: list[NDArray[np.float32]]
    """Probabilities of the answers for each window that is not silent, each of shape (answers,)."""

    whole: NDArray[np.float32]
    """Probabilities of the answers for the whole file, shape (answers,); zeros for silence."""

    samples: int
    """Length of the file at the model's sample rate."""


def score_file(file: str, blocks: Iterable[Audio], model: Model) -> FileScores:
    """Classify every window of a file, and average the scores in the log domain.

    The name of the file is for messages. Blocks have the sample rate of the model.

    Raises:
        AudioError: The file is empty, or decoding failed.
    """
    front_end, settings = model.manifest.front_end, ListenerSettings()
    cache, tail = FrameCache(front_end), _Tail(blocks, front_end.window_samples)
    every = round(settings.every * front_end.sample_rate)
    steady, scores, covered = SteadyNoiseDetector(front_end), [], 0
    features = np.empty(0, np.float32)

    def add(audio: Audio, mel: Mel) -> None:
        nonlocal features
        if dbfs(audio) >= settings.silence and not steady.detect(mel):
            features = front_end.features(mel)
            scores.append(model.predict(features).scores)

    for window in windows(tail, front_end.window_samples, every, grid=front_end.hop):
        assert isinstance(window, Window)  # noqa: S101 - a file has no gaps
        covered = window.end
        add(window.samples, cache.mel(window))
    if not tail.count:
        raise AudioError(f"{file}: holds no sound (its length is 0)")
    rest = tail.last()
    if not covered or tail.count - covered > front_end.sample_rate // 2:
        add(rest, _fill(rest, front_end))
    whole = log_mean(scores) if scores else np.zeros(len(model.answers), np.float32)
    if len(scores) == 1 and model.manifest.single is not None:
        whole = model.predict(features, single=True).scores
    return FileScores(scores, whole, tail.count)


def classify(file: str, blocks: Iterable[Audio], model: Model) -> FileResult:
    """Genre of a whole file; see `score_file`."""
    scores, whole, samples = score_file(file, blocks, model)
    front_end = model.manifest.front_end
    return FileResult(
        file=file,
        genre=model.answers[int(whole.argmax())] if scores else SILENCE,
        confidence=round(float(whole.max()), 4),
        scores={label: round(float(score), 4) for label, score in zip(model.manifest.labels, whole, strict=False)},
        seconds=round(samples / front_end.sample_rate, 2),
        short=samples < front_end.window_samples,
    )


class _Tail:
    """Iterates over blocks and keeps the last `size` samples."""

    def __init__(self, blocks: Iterable[Audio], size: int) -> None:
        self._blocks, self._size = blocks, size
        self._kept: deque[Audio] = deque()
        self.count = 0

    def __iter__(self) -> Iterator[Audio]:
        held = 0
        for block in self._blocks:
            self.count += block.size
            held += block.size
            self._kept.append(block)
            while held - self._kept[0].size >= self._size:
                held -= self._kept.popleft().size
            yield block

    def last(self) -> Audio:
        """The last samples, shape (size,), or all of them if there are fewer."""
        return np.concatenate(self._kept)[-self._size :]


def _fill(audio: Audio, front_end: FrontEnd) -> Mel:
    """Mel power of a window; shorter audio is repeated."""
    if audio.size < front_end.n_fft:
        audio = np.resize(audio, front_end.n_fft)
    return repeated(front_end.mel(audio), front_end.frames)
