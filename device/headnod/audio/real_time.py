"""Files at the pace of music, so a person can watch what a room would show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from headnod.audio.blocks import Block, Gap, RateChange


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
