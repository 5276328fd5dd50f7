"""Splits a stream of blocks into overlapping windows, and shares mel frames between them.

Positions in the stream are counted in samples here; later stages only get windows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.features.frontend import Audio, Features, FrontEnd, Mel, MelSpectrogram

MARGIN = 0.05
"""Seconds at each end of an excerpt that a resampling filter needs, with a reserve."""


@dataclass(frozen=True)
class Window:
    """The audio of one inference."""

    samples: Audio
    """Mono samples, shape (size,): a view that the next window overwrites."""

    start: int
    """Position of the first sample in the stream, in samples."""

    rate: int = 0
    """Samples per second; 0 if unknown."""

    @property
    def end(self) -> int:
        """Position after the last sample, in samples."""
        return self.start + self.samples.size


class RecentAudio:
    """The last seconds of a stream, for a second model with another rate or window length.

    Nothing is kept until `seconds` is set.

    >>> recent = RecentAudio()
    >>> recent.seconds = 1.0
    >>> recent.add(np.arange(4, dtype=np.float32), 100, 22_050)
    >>> recent.until(103, 2, 22_050).tolist()
    [1.0, 2.0]
    """

    def __init__(self) -> None:
        """Start empty."""
        self.seconds = 0.0
        """Seconds of audio to keep."""
        self._blocks: deque[tuple[int, Audio]] = deque()
        self._rate = 0

    def add(self, block: Audio, position: int, rate: int) -> None:
        """Keep a block that starts at a position in the stream, in samples at `rate`."""
        if not self.seconds:
            return
        self._rate = rate
        self._blocks.append((position, block))
        first = position + block.size - self.seconds * rate
        while self._blocks[0][0] + self._blocks[0][1].size <= first:
            self._blocks.popleft()

    def clear(self) -> None:
        """Discard all audio, at a gap or a change of the sample rate."""
        self._blocks.clear()

    def until(self, end: int, count: int, rate: int) -> Audio | None:
        """The last samples before a position, shape (count,); None if some are not kept.

        Args:
            end: Position in the stream, in samples at the rate of the stream.
            count: Number of samples at `rate`.
            rate: Sample rate of the result. If it is not the rate of the stream, the
                excerpt ends `MARGIN` seconds earlier, because the filter needs the rest.
        """
        if not self._blocks:
            return None
        first, whole = self._blocks[0][0], np.concatenate([block for _, block in self._blocks])
        if rate == self._rate:
            start = end - count - first
            return whole[start : start + count] if 0 <= start <= whole.size - count else None
        margin, step = math.ceil(MARGIN * rate), self._rate // math.gcd(self._rate, rate)
        # Only multiples of `step` are at a whole position at the other rate.
        start = (end - math.ceil((count + 2 * margin) * self._rate / rate)) // step * step
        if start < first:
            return None
        from headnod.audio.processing import resampled  # noqa: PLC0415 - most listeners have one rate and need no soxr

        converted = resampled(whole[start - first : end - first], self._rate, rate)
        last = end * rate // self._rate - start * rate // self._rate - margin
        return converted[last - count : last]


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
    """Split a stream into windows at regular intervals.

    Args:
        blocks: Mono audio in pieces of any length, and gaps. No window contains
            audio from both sides of a gap.
        size: Samples per window.
        every: Mean interval between the starts of successive windows, in samples.
        grid: Starts are rounded down to a multiple of this number of samples, so
            that overlapping windows can share their frames.
        rate: Samples per second, passed on to the windows and to `recent`.
        recut: Called after each window, gap and rate change; returns the current
            `size` and `grid`. If they changed, the next window still ends where it
            would have ended, or as soon as there is enough audio.
        recent: Receives every block.

    Yields:
        Each window as soon as its last sample is available, and each gap and rate
        change in its place.
    """
    kept = np.empty(size, np.float32)
    filled, position, count, start, first = 0, 0, 0, 0, 0
    recent = recent or RecentAudio()
    for block in blocks:
        if isinstance(block, Gap):
            filled, count = 0, 0
            start = first = position
            recent.clear()
            yield block
            if recut is not None and (cut := recut()) != (size, grid):
                size, grid = cut
                kept = np.empty(size, np.float32)
            continue
        if isinstance(block, RateChange):
            end, position = block.place(start + size), block.place(position) - block.repeated
            every, rate = block.place(every), block.rate
            recent.clear()
            yield block
            if recut is not None:
                size, grid = recut()
            kept, filled, count = np.empty(size, np.float32), 0, 0
            start = first = max(end - size, position)
            continue
        recent.add(block, position, rate)
        used = 0
        while used < block.size:
            skipped = min(max(start - position, 0), block.size - used)
            taken = min(block.size - used - skipped, size - filled)
            kept[filled : filled + taken] = block[used + skipped : used + skipped + taken]
            filled += taken
            used += skipped + taken
            position += skipped + taken
            if filled < size:
                continue
            yield Window(kept, start, rate)
            count += 1
            following = first + (count * every) // grid * grid
            if recut is not None and (cut := recut()) != (size, grid):
                former, (size, grid) = kept, cut
                start = first = max(following + former.size - size, position - former.size)
                kept, filled, count = np.empty(size, np.float32), max(position - start, 0), 0
                kept[:filled] = former[former.size - filled :]
                continue
            filled = max(size - (following - start), 0)
            kept[:filled] = kept[size - filled :]
            start = following


def repeated(mel: Mel, frames: int) -> Mel:
    """The frames of `mel`, repeated to shape (frames, n_mels).

    Used for sound that is shorter than a window: with silence around it, a network
    classifies it as a bang or a word.
    """
    return mel[np.arange(frames) % len(mel)]


class FrameCache:
    """Mel frames of successive windows, each computed once.

    >>> front_end = FrontEnd()
    >>> cache = FrameCache(front_end)
    >>> silence = np.zeros(front_end.window_samples, np.float32)
    >>> cache.features(Window(silence, start=0)).shape
    (38, 40)
    """

    def __init__(self, front_end: FrontEnd) -> None:
        """Allocate the buffers."""
        self._front_end = front_end
        self._spectrogram = MelSpectrogram(front_end)
        self._mel = np.empty((front_end.frames, front_end.n_mels), np.float32)
        self._start: int | None = None

    def features(self, window: Window) -> Features:
        """Features of a window, shape (frames, n_features)."""
        return self._front_end.features(self.mel(window))

    def mel(self, window: Window) -> Mel:
        """Mel power of a window, shape (frames, n_mels), valid until the next call.

        Frames shared with the previous window are copied; the result is the same
        to the bit as `FrontEnd.mel`.
        """
        hop, frames = self._front_end.hop, self._front_end.frames
        kept = 0
        if self._start is not None:
            moved, off_grid = divmod(window.start - self._start, hop)
            if not off_grid and 0 <= moved < frames:
                kept = frames - moved
                self._mel[:kept] = self._mel[moved:]
        if kept < frames:
            fresh = window.samples[kept * hop : self._front_end.window_samples]
            self._spectrogram.compute(fresh, self._mel[kept:])
        self._start = window.start
        return self._mel
