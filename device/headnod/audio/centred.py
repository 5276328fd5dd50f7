"""Live sound about zero, without the constant that some microphones add to it.

Alone because files need none of it: what left a studio has no constant. MEMS
microphones on I2S may add a tenth of full scale, which no ear notices and
which drowns the quiet cells of every feature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from headnod.audio.blocks import Block, Hole

MEMORY = 10.0
"""Seconds whose mean is taken for the constant: long, so that it stands still while music plays."""


def centred(blocks: Iterable[Block], rate: int) -> Iterator[Block]:
    """The same sound about zero.

    Args:
        blocks: Mono samples, and holes.
        rate: Samples per second.

    Yields:
        Each block less the mean of the last seconds. A block whose samples are
        all the same stays so and has no say in the mean: a muted microphone
        must still be seen to be muted.
    """
    seen, mean = 0, 0.0
    for block in blocks:
        if isinstance(block, Hole):
            yield block
            continue
        if block.size and np.ptp(block) > 0:
            seen = min(seen + block.size, round(MEMORY * rate))
            mean += min(block.size / seen, 1.0) * (float(block.mean(dtype=np.float64)) - mean)
        yield block - np.float32(mean)
