"""The last seconds of a stream, for a second model whose windows have another rate or length."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from headnod.features.frontend import Audio

MARGIN = 0.05
"""Seconds beside a stretch that a resampler's filter reaches into, with room to spare."""


class RecentAudio:
    """Blocks of a stream by their places; nothing is kept until somebody asks for seconds.

    >>> recent = RecentAudio()
    >>> recent.seconds = 1.0
    >>> recent.add(np.arange(4, dtype=np.float32), 100, 22_050)
    >>> recent.until(103, 2, 22_050).tolist()
    [1.0, 2.0]
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.seconds = 0.0
        self._blocks: deque[tuple[int, Audio]] = deque()
        self._rate = 0

    def add(self, block: Audio, place: int, rate: int) -> None:
        """Keep a block that begins at a place in the stream, in samples of this rate."""
        if not self.seconds:
            return
        self._rate = rate
        self._blocks.append((place, block))
        first = place + block.size - self.seconds * rate
        while self._blocks[0][0] + self._blocks[0][1].size <= first:
            self._blocks.popleft()

    def clear(self) -> None:
        """Sound is missing, or its rate changes: nothing before goes with what comes."""
        self._blocks.clear()

    def until(self, end: int, count: int, rate: int) -> Audio | None:
        """The last samples of a rate before a place, shape (count,); None where they are not all kept.

        Args:
            end: Place in the stream, in its own samples.
            count: Samples at the rate that is wanted.
            rate: The rate that is wanted. With another than the stream's, the
                stretch ends `MARGIN` earlier, because the filter needs what follows.
        """
        if not self._blocks:
            return None
        first, whole = self._blocks[0][0], np.concatenate([block for _, block in self._blocks])
        if rate == self._rate:
            start = end - count - first
            return whole[start : start + count] if 0 <= start <= whole.size - count else None
        margin, step = math.ceil(MARGIN * rate), self._rate // math.gcd(self._rate, rate)
        # Only a multiple of this many samples is a whole number at the wanted rate.
        start = (end - math.ceil((count + 2 * margin) * self._rate / rate)) // step * step
        if start < first:
            return None
        from headnod.audio.resampling import resampled  # noqa: PLC0415 - most listeners have one rate and need no soxr

        converted = resampled(whole[start - first : end - first], self._rate, rate)
        last = end * rate // self._rate - start * rate // self._rate - margin
        return converted[last - count : last]
