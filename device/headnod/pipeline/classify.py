"""A whole file judged at once: which genre it is, and how sure that is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from headnod.errors import AudioError
from headnod.features.frontend import Audio, FrontEnd, Mel
from headnod.features.windows import FrameCache, Window, repeated, windows
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import SILENCE
from headnod.pipeline.level import dbfs
from headnod.pipeline.listener import ListenerSettings
from headnod.pipeline.noise import SteadyNoiseDetector
from headnod.pipeline.smoothing import log_mean


class FileResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a file is."""

    file: str
    """The file, as it was named."""

    genre: str
    """The likeliest label, `silence`, or `unknown` for what is no music."""

    confidence: float
    """Probability of that over the whole file (0-1); 0 for silence."""

    scores: dict[str, float]
    """Probability of every label. What is missing to 1 is the chance that it is no music; all are 0 for silence."""

    seconds: float
    """How long the file is."""

    short: bool
    """It is shorter than a window, and was heard as its own repetition."""


class FileScores(NamedTuple):
    """Scores of a file, window by window."""

    scores: list[NDArray[np.float32]]
    """Probabilities of the answers in each window that sounds, each of shape (answers,)."""

    whole: NDArray[np.float32]
    """Probabilities of the answers over the whole file, shape (answers,); zeros for silence."""

    samples: int
    """Length of the file at the model's sample rate."""


def score_file(file: str, blocks: Iterable[Audio], model: GenreModel) -> FileScores:
    """Ask the model about each window of a file, and take the mean of their log scores.

    Args:
        file: Name of the file for messages.
        blocks: Its sound, mono, at the model's sample rate.
        model: The model.

    Raises:
        AudioError: The file holds no sound, or ends badly.
    """
    front_end, settings = model.front_end, ListenerSettings()
    cache, heard = FrameCache(front_end), _Tail(blocks, front_end.window_samples)
    every = round(settings.every * front_end.sample_rate)
    steady, scores, covered = SteadyNoiseDetector(front_end), [], 0
    for window in windows(heard, front_end.window_samples, every, grid=front_end.hop):
        assert isinstance(window, Window)  # noqa: S101 - a file has no holes
        covered = window.end
        mel = cache.mel(window)
        if dbfs(window.samples) >= settings.silence and not steady.detect(mel):
            features = front_end.features(mel)
            scores.append(model.scores(features))
    if not heard.count:
        message = f"{file}: holds no sound (its length is 0)"
        raise AudioError(message)
    rest = heard.last()
    uncovered = not covered or heard.count - covered > front_end.sample_rate // 2
    if uncovered and dbfs(rest) >= settings.silence:
        mel = _filled(rest, front_end)
        if not steady.detect(mel):
            features = front_end.features(mel)
            scores.append(model.scores(features))
    whole = log_mean(scores) if scores else np.zeros(len(model.answers), np.float32)
    if len(scores) == 1 and model.manifest.single is not None:
        whole = model.predict(features, single=True).scores
    return FileScores(scores, whole, heard.count)


def classify(file: str, blocks: Iterable[Audio], model: GenreModel) -> FileResult:
    """Judge a file by the mean of its windows' log scores.

    Args:
        file: What to call it.
        blocks: Its sound, mono, at the model's sample rate.
        model: What names genres.

    Raises:
        AudioError: It holds no sound at all, or ends badly.
    """
    scores, whole, samples = score_file(file, blocks, model)
    return FileResult(
        file=file,
        genre=model.answers[int(whole.argmax())] if scores else SILENCE,
        confidence=round(float(whole.max()), 4),
        scores={label: round(float(score), 4) for label, score in zip(model.labels, whole, strict=False)},
        seconds=round(samples / model.front_end.sample_rate, 2),
        short=samples < model.front_end.window_samples,
    )


class _Tail:
    """Blocks that pass by, with the last window's worth of them kept."""

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
        """The last samples: a window's worth, or all there are."""
        return np.concatenate(self._kept)[-self._size :]


def _filled(audio: Audio, front_end: FrontEnd) -> Mel:
    """Mel power of a window, or of what there is of it with its frames repeated."""
    if audio.size < front_end.n_fft:
        audio = np.resize(audio, front_end.n_fft)
    return repeated(front_end.mel(audio), front_end.frames)
