"""Blocks of audio, the output of every source, with gaps and changes of the sample rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from headnod.features.frontend import Audio
from headnod.pipeline.estimate import State


@dataclass(frozen=True)
class Gap:
    """Audio is missing here. The audio before and after a gap is processed separately.

    A source that waits for audio yields a gap at least once per second, so that the
    consumer gets control regularly.
    """

    state: State
    """State of the listener during the gap."""

    message: str
    """One line for display: the problem and its solution."""

    lost: float = 0.0
    """Duration of the lost audio in seconds, 0 if unknown."""


@dataclass(frozen=True)
class RateChange:
    """The following blocks have another sample rate, and start with a repetition of the last seconds."""

    former: int
    """Previous sample rate."""

    rate: int
    """New sample rate."""

    repeated: int
    """Number of repeated samples, at the new rate."""

    def place(self, place: int) -> int:
        """Convert a position in the stream from samples at the former rate to samples at the new rate."""
        return round(place * self.rate / self.former)


Block = Audio | Gap | RateChange
"""Mono samples in [-1, 1], shape (n,) for any n, or a gap, or a rate change."""


def real_time(
    blocks: Iterable[Block],
    rate: int,
    *,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
    lead: float = 0.0,
) -> Iterator[Block]:
    """Delay each block until the time at which it would end when played.

    Args:
        blocks: Audio, gaps and rate changes.
        rate: Sample rate of the first blocks.
        monotonic: A monotonic clock in seconds.
        sleep: Waits for a number of seconds.
        lead: Seconds by which blocks may be early.
    """
    began, played = monotonic(), 0
    for block in blocks:
        if isinstance(block, RateChange):
            played, rate = block.place(played) - block.repeated, block.rate
        elif not isinstance(block, Gap):
            played += block.size
            sleep(max(began + played / rate - lead - monotonic(), 0.0))
        yield block
