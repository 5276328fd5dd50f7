"""DC removal: sound about zero, without the constant that some microphones add to it.

MEMS microphones on I2S may add a tenth of full scale, which is inaudible and
drowns the quiet cells of every feature. Recordings made with them have it too,
so files and microphones are treated alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import overload

import numpy as np

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.features.frontend import Audio

MEMORY = 10.0
"""Seconds whose mean is taken for the constant: long, so that it stands still while music plays."""


CONSTANT = 0.1
"""Share of the sound's own root mean square from which the mean of a file counts as a constant. The bass of music
leaves up to 0.06 in the mean of 0.4 s; what is under this share stays, so that most files pass to the bit."""


@overload
def centred(blocks: Iterable[Audio], rate: int, *, least: float = 0.0) -> Iterator[Audio]: ...
@overload
def centred(blocks: Iterable[Block], rate: int, *, least: float = 0.0) -> Iterator[Block]: ...
def centred(blocks: Iterable[Block], rate: int, *, least: float = 0.0) -> Iterator[Block]:
    """The same sound about zero.

    Args:
        blocks: Mono samples, and holes.
        rate: Samples per second.
        least: Share of the root mean square that the mean must reach once before it is taken away.

    Yields:
        Each block less the mean of the last seconds. A block whose samples are
        all the same stays so and has no say in the mean: a muted microphone
        must still be seen to be muted.
    """
    seen, mean, power, shifted = 0, 0.0, 0.0, least <= 0.0
    for block in blocks:
        if isinstance(block, Gap):
            yield block
            continue
        if isinstance(block, RateChange):
            seen, rate = block.place(seen), block.rate
            yield block
            continue
        if block.size and np.ptp(block) > 0:
            seen = min(seen + block.size, round(MEMORY * rate))
            weight = min(block.size / seen, 1.0)
            mean += weight * (float(block.mean(dtype=np.float64)) - mean)
            power += weight * (float(block.var(dtype=np.float64)) - power)
            shifted = shifted or abs(mean) > least * np.sqrt(power)
        yield block - np.float32(mean) if shifted else block
