"""P5 and P7: what hours of listening leave behind, and whether every sample was heard.

    python -m benchmarks.endurance HOURS

listens as fast as it can and prints the figures as JSON.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # Only as a program: an import must not restrict the processors of the importing process.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np

from benchmarks.material import bundles, endless, music
from benchmarks.memory import left_behind
from benchmarks.processes import written
from headnod import Estimate, GenreModel, ListenerSettings, listen
from headnod.features.frontend import Audio
from headnod.pipeline.estimate import utc_now

_SETTLED = 300


class Counted:
    """Blocks for a time, with the number of samples that were given."""

    def __init__(self, audio: Audio, seconds: float, rate: int) -> None:
        """Repeat this audio for a number of seconds."""
        self.samples, self._audio, self._rate, self._most = 0, audio, rate, round(seconds * rate)

    def __iter__(self) -> Iterator[Audio]:
        """Each block once."""
        for block in endless(self._audio, self._rate):
            if self.samples >= self._most:
                return
            self.samples += block.size
            yield block


def hours(count: float) -> dict[str, Any]:
    """Listen to so many hours."""
    model = GenreModel.load(bundles()["genre"])
    rate = model.front_end.sample_rate
    blocks = Counted(music(rate), 3600.0 * count, rate)
    said = listen(blocks, model, ListenerSettings(), now=utc_now)
    last, taken, windows = None, np.zeros(round(1200 * count) + 10), 0
    began, before = time.monotonic(), {}
    for windows, heard in enumerate(timed(said, taken), 1):
        last = heard
        if windows == _SETTLED:
            gc.collect()
            before = state()
    wall = time.monotonic() - began
    assert isinstance(last, Estimate)  # noqa: S101 - a stream without holes
    gc.collect()
    after, steady = state(), max(windows - _SETTLED, 1)
    grown = {f"{name}_per_window": (after[name] - before[name]) / steady for name in before}
    left = blocks.samples - last.seconds * rate
    return {
        "windows": windows,
        "hours": count,
        "times_real_time": round(3600.0 * count / wall, 1),
        "samples": blocks.samples,
        "windows_expected": expected(blocks.samples, model),
        "samples_after_last_window": round(left),
        "sequence_without_gap": last.sequence == windows - 1,
        "dropped_s": last.dropped,
        "cpu_ms_median": round(1e3 * float(np.median(taken[1:windows])), 4),
        "cpu_ms_p999": round(1e3 * float(np.percentile(taken[1:windows], 99.9)), 4),
        **{name: round(value, 4) for name, value in grown.items()},
    }


def timed(said: Iterator[Any], taken: Any) -> Iterator[Any]:  # noqa: ANN401 - an array and estimates
    """What is said, with the CPU seconds of each written down."""
    for place in range(len(taken)):
        began = time.thread_time()
        heard = next(said, None)
        if heard is None:
            return
        taken[place] = time.thread_time() - began
        yield heard


def expected(samples: int, model: GenreModel) -> int:
    """Windows that a stream of so many samples holds, by arithmetic alone."""
    front_end, every = model.front_end, round(3.0 * model.front_end.sample_rate)
    count = 0
    while (count * every) // front_end.hop * front_end.hop + front_end.window_samples <= samples:
        count += 1
    return count


def state() -> dict[str, float]:
    """What must not grow."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    resident = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return {
        "blocks": float(sys.getallocatedblocks()),
        "page_faults": float(usage.ru_minflt + usage.ru_majflt),
        "voluntary_switches": float(usage.ru_nvcsw),
        "involuntary_switches": float(usage.ru_nivcsw),
        "resident_bytes": float(resident * resource.getpagesize()),
        "disk_bytes": float(written(os.getpid())),
    }


if __name__ == "__main__":
    duration = float(sys.argv[1])
    sys.stdout.write(json.dumps({**hours(duration), **left_behind(duration)}))
