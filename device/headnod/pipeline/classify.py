"""Classification of a whole audio file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.errors import AudioError
from headnod.features.windows import FrameCache, Window, repeated, windows
from headnod.pipeline.estimate import SILENCE
from headnod.pipeline.level import dbfs
from headnod.pipeline.listener import ListenerSettings
from headnod.pipeline.noise import SteadyNoiseDetector
from headnod.pipeline.smoothing import log_mean

if TYPE_CHECKING:
    from headnod.features.frontend import Audio, FrontEnd, Mel
    from headnod.inference.prediction import Model


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

    Args:
        file: Name of the file, for messages.
        blocks: Mono audio at the model's sample rate, in pieces of any length.
        model: Classifies the windows.

    Raises:
        AudioError: The file is empty, or decoding failed.
    """
    front_end, settings = model.manifest.front_end, ListenerSettings()
    cache, tail = FrameCache(front_end), _Tail(blocks, front_end.window_samples)
    every = round(settings.every * front_end.sample_rate)
    steady, scores, covered = SteadyNoiseDetector(front_end), [], 0
    for window in windows(tail, front_end.window_samples, every, grid=front_end.hop):
        assert isinstance(window, Window)  # noqa: S101 - a file has no gaps
        covered = window.end
        mel = cache.mel(window)
        if dbfs(window.samples) >= settings.silence and not steady.detect(mel):
            features = front_end.features(mel)
            scores.append(model.predict(features).scores)
    if not tail.count:
        message = f"{file}: holds no sound (its length is 0)"
        raise AudioError(message)
    rest = tail.last()
    uncovered = not covered or tail.count - covered > front_end.sample_rate // 2
    if uncovered and dbfs(rest) >= settings.silence:
        mel = _fill(rest, front_end)
        if not steady.detect(mel):
            features = front_end.features(mel)
            scores.append(model.predict(features).scores)
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
