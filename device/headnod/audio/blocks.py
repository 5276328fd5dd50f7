"""Blocks of audio, the output of every source, with gaps and changes of the sample rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from headnod.features.frontend import Audio
from headnod.pipeline.estimate import State


@dataclass(frozen=True)
class Gap:
    """Sound is missing here: what came before never mixes with what comes after.

    A source that waits gives one at least every second, so that whoever pulls
    it stays awake.
    """

    state: State
    """How the listener fares because of it."""

    message: str
    """One line for a person: what is wrong and what helps."""

    lost: float = 0.0
    """Seconds of sound that went missing, as far as anybody knows."""


@dataclass(frozen=True)
class RateChange:
    """The blocks from here on have another sample rate, and begin with the last seconds once more."""

    former: int
    """Samples per second before."""

    rate: int
    """Samples per second from here on."""

    repeated: int
    """How many samples, at the new rate, lie before the end of the blocks at the former rate."""

    def place(self, place: int) -> int:
        """A place in the stream, from samples at the former rate to samples at the new one."""
        return round(place * self.rate / self.former)


Block = Audio | Gap | RateChange
"""Mono samples in [-1, 1], shape (n,) for any n, or a hole, or a change of the rate."""


def paced(
    blocks: Iterable[Block],
    rate: int,
    *,
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
    lead: float = 0.0,
) -> Iterator[Block]:
    """Hold each block back until it would have been heard to its end, or until so many seconds before that."""
    began, heard = monotonic(), 0
    for block in blocks:
        if isinstance(block, RateChange):
            heard, rate = block.place(heard) - block.repeated, block.rate
        elif not isinstance(block, Gap):
            heard += block.size
            sleep(max(began + heard / rate - lead - monotonic(), 0.0))
        yield block
