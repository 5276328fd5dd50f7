"""P5: what a window leaves to the cycle collector, and what it holds for a moment."""

from __future__ import annotations

import gc
import itertools
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from benchmarks.material import bundles, endless, music, music_window
from headnod import GenreModel, ListenerSettings, listen
from headnod.features.windows import FrameCache, Window
from headnod.pipeline.estimate import utc_now
from headnod.pipeline.level import LoudnessMeter, SteadyNoiseDetector
from headnod.pipeline.smoothing import Smoother

_SETTLED, _TURNS = 100, 5


def left_behind(hours: float) -> dict[str, Any]:
    """Garbage of so many hours of listening, and the most that each step of a window holds for a moment."""
    model = GenreModel.load(bundles()["genre"])
    rate = model.front_end.sample_rate
    said = listen(endless(music(rate), rate), model, ListenerSettings(), now=utc_now)
    windows = max(round(1200 * hours), 1)
    hear(said, _SETTLED)
    objects, size = garbage(lambda: hear(said, windows))
    return {
        "garbage_windows": windows,
        "garbage_objects_per_window": round(objects / windows, 4),
        "garbage_bytes_per_window": round(size / windows, 4),
        "passing_bytes": passing(said.__next__),
        "passing_bytes_by_step": {name: passing(act) for name, act in steps(model).items()},
    }


def hear(said: Iterator[object], count: int) -> None:
    """So many windows, and nothing kept of them."""
    for _ in islice(said, count):
        pass


def garbage(act: Callable[[], object]) -> tuple[int, int]:
    """Objects, and bytes of them, that only the cycle collector can free after something was done.

    It rests meanwhile; what reference counts free at once is no garbage.
    """
    gc.collect()
    gc.disable()
    try:
        act()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return len(gc.garbage), sum(map(sys.getsizeof, gc.garbage))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def passing(act: Callable[[], object]) -> int:
    """Most bytes held for a moment while something is done, as tracemalloc sees them: a median of some turns."""
    found = []
    tracemalloc.start()
    try:
        kept = act()
        for _ in range(_TURNS):
            base, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            kept = act()
            found.append(tracemalloc.get_traced_memory()[1] - base)
        del kept
    finally:
        tracemalloc.stop()
    return sorted(found)[_TURNS // 2]


def steps(model: GenreModel) -> dict[str, Callable[[], object]]:
    """What the listener does with a window, step by step, each on what the one before it gave."""
    front_end = model.front_end
    window = music_window(front_end)
    cache, places = FrameCache(front_end), itertools.count(1, front_end.hop + 1)
    meter, steady = LoudnessMeter(window.size), SteadyNoiseDetector(front_end)
    smoother = Smoother(seconds=12.0, every=3.0)
    mel = cache.mel(Window(window, 0)).copy()
    features = front_end.features(mel)
    scores = model.scores(features)
    return {
        "level": lambda: meter.measure(window),
        "mel": lambda: cache.mel(Window(window, next(places))),
        "steady noise": lambda: steady.detect(mel),
        "features": lambda: front_end.features(mel),
        "scores": lambda: model.scores(features),
        "smoothing": lambda: smoother.update(scores),
    }
