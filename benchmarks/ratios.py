"""The listener against numpy's FFT of the same frames, by turns on one core.

    python -m benchmarks.ratios WINDOWS

prints the ratios of the budget as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402 - all of these after the core was chosen

from benchmarks.material import RATE, bundles, endless, music  # noqa: E402
from headnod import GenreModel, ListenerSettings, listen  # noqa: E402
from headnod.estimate import utc_now  # noqa: E402
from headnod.windows import FrameCache, Window  # noqa: E402

_WARM = 10


def main(count: int) -> None:
    """Measure so many windows and print the ratios."""
    audio, model = music(), GenreModel.load(bundles()["genre"])
    front_end = model.front_end
    window = audio[10 * RATE : 10 * RATE + front_end.window_samples].copy()
    frames = np.lib.stride_tricks.sliding_window_view(window, front_end.n_fft)[:: front_end.hop].copy()
    spectrum = np.empty((len(frames), front_end.n_fft // 2 + 1), np.complex64)
    cache, places = FrameCache(front_end), iter(range(1, 1 << 30))
    features = front_end.mfcc(window)
    turns: dict[str, Callable[[], object]] = {
        "fft": lambda: np.fft.rfft(frames, axis=1, norm="forward", out=spectrum),  # type: ignore[arg-type]  # stubs know double only
        "front end": lambda: cache.log_mel(Window(window, next(places) * (front_end.hop - 1))),
        "listener": listen(endless(audio), model, ListenerSettings(), now=utc_now).__next__,
        "network": lambda: model.scores(features),
    }
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(_WARM + count):
        for name, act in turns.items():
            began = time.thread_time()
            act()
            if turn >= _WARM:
                taken[name].append(time.thread_time() - began)
    cost = {name: float(np.median(seconds)) for name, seconds in taken.items()}
    ratios = {
        "front end by numpy's FFT": cost["front end"] / cost["fft"],
        "listener without its network by numpy's FFT": (cost["listener"] - cost["network"]) / cost["fft"],
    }
    sys.stdout.write(json.dumps(ratios))


if __name__ == "__main__":
    main(int(sys.argv[1]))
