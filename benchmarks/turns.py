"""Things measured by turns, A B A B, because what a machine does beside changes while it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

Turns = Mapping[str, Callable[[], object]]
"""What is done in turn, by name."""


def by_turns(turns: Turns, count: int, *, warm: int = 5) -> dict[str, dict[str, float]]:
    """CPU time of each so many times, in milliseconds, once all have been warm; of all threads for the script path."""
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(warm + count):
        for name, act in turns.items():
            # Keras works in threads of its own; what is left of them must not be charged to the next in turn.
            clock = time.process_time if name == "script" else time.thread_time
            began = clock()
            act()
            if turn >= warm:
                taken[name].append(clock() - began)
    return {name: _spread(seconds) for name, seconds in taken.items()}


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(1e3 * float(np.median(seconds)), 4),
        "p99": round(1e3 * float(np.percentile(seconds, 99)), 4),
    }
