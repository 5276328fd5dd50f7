"""Blocks of any length in, windows of one length out.

Alone because it is the one place that knows where in the stream a sample was:
everything after it may forget how the audio arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.audio.recent_audio import RecentAudio
from headnod.features.frontend import Audio, Features, FrontEnd, Mel, MelSpectrogram


@dataclass(frozen=True)
class Window:
    """A stretch of audio that a model hears at once."""

    samples: Audio
    """Mono samples, shape (size,): a view that the next window overwrites."""

    start: int
    """Place of the first sample in the stream, in samples."""

    rate: int = 0
    """Samples per second, where the stream has one."""

    @property
    def end(self) -> int:
        """Place just past the last sample, in samples."""
        return self.start + self.samples.size


def windows(
    blocks: Iterable[Block],
    size: int,
    every: int,
    *,
    grid: int = 1,
    rate: int = 0,
    recut: Callable[[], tuple[int, int]] | None = None,
    recent: RecentAudio | None = None,
) -> Iterator[Window | Gap | RateChange]:
    """Cut a stream into windows that start every so often.

    Args:
        blocks: Mono audio in pieces of any length, with holes: what came before a
            hole and what comes after it never share a window.
        size: Samples in a window.
        every: Samples from one window's start to the next, on average.
        grid: Starts are rounded down to a multiple of this, so windows that
            overlap can share their frames.
        rate: Samples per second, for windows and `recent` to know.
        recut: Gives `size` and `grid` anew after each window, hole and change of
            the rate. Another size ends the next window where it would have ended
            anyway, or as soon as there is sound enough for it.
        recent: Keeps the last seconds of the stream.

    Yields:
        Each window as soon as its last sample is there, and each hole and change
        of the rate where it came.
    """
    kept = np.empty(size, np.float32)
    filled, place, count, first = 0, 0, 0, 0
    start, recent = 0, recent or RecentAudio()
    for block in blocks:
        if isinstance(block, Gap):
            filled, count, first = 0, 0, place
            start = first
            recent.clear()
            yield block
            if recut is not None and recut() != (size, grid):
                size, grid = recut()
                kept = np.empty(size, np.float32)
            continue
        if isinstance(block, RateChange):
            end, place = block.place(start + size), block.place(place) - block.repeated
            every, rate = block.place(every), block.rate
            recent.clear()
            yield block
            if recut is not None:
                size, grid = recut()
            kept, filled, count = np.empty(size, np.float32), 0, 0
            start = first = max(end - size, place)
            continue
        recent.add(block, place, rate)
        used = 0
        while used < block.size:
            skipped = min(max(start - place, 0), block.size - used)
            taken = min(block.size - used - skipped, size - filled)
            kept[filled : filled + taken] = block[used + skipped : used + skipped + taken]
            filled += taken
            used += skipped + taken
            place += skipped + taken
            if filled < size:
                continue
            yield Window(kept, start, rate)
            count += 1
            following = first + (count * every) // grid * grid
            if recut is not None and recut() != (size, grid):
                former, (size, grid) = kept, recut()
                start = first = max(following + former.size - size, place - former.size)
                kept, filled, count = np.empty(size, np.float32), max(place - start, 0), 0
                kept[:filled] = former[former.size - filled :]
                continue
            filled = max(size - (following - start), 0)
            kept[:filled] = kept[size - filled :]
            start = following


def repeated(mel: Mel, frames: int) -> Mel:
    """So many frames, of fewer again and again: shape (frames, n_mels).

    Sound that is shorter than a window is repeated: beside silence a network takes it for a bang or a word.
    """
    return mel[np.arange(frames) % len(mel)]


class FrameCache:
    """Features of successive windows, each mel frame computed once.

    >>> front_end = FrontEnd()
    >>> cache = FrameCache(front_end)
    >>> hush = np.zeros(front_end.window_samples, np.float32)
    >>> cache.features(Window(hush, start=0)).shape
    (38, 40)
    """

    def __init__(self, front_end: FrontEnd) -> None:
        """Start with nothing known."""
        self._front_end = front_end
        self._spectrogram = MelSpectrogram(front_end)
        self._mel = np.empty((front_end.frames, front_end.n_mels), np.float32)
        self._start: int | None = None

    def features(self, window: Window) -> Features:
        """Features of a window, shape (frames, n_features)."""
        return self._front_end.features(self.mel(window))

    def mel(self, window: Window) -> Mel:
        """Mel power of a window before its level is set, shape (frames, n_mels), valid until the next one.

        Frames that the window shares with the one before it are copied;
        the result is the same, to the bit, as without them.
        """
        front_end = self._front_end
        kept = 0
        if self._start is not None:
            moved, off_grid = divmod(window.start - self._start, front_end.hop)
            if not off_grid and 0 <= moved < front_end.frames:
                kept = front_end.frames - moved
                self._mel[:kept] = self._mel[moved:]
        if kept < front_end.frames:
            fresh = window.samples[kept * front_end.hop : front_end.window_samples]
            self._spectrogram.compute(fresh, self._mel[kept:])
        self._start = window.start
        return self._mel
