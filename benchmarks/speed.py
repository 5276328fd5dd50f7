"""CPU time of a window: the listener and the baselines by turns, on one core.

    python -m benchmarks.speed WINDOWS

prints the figures as JSON. It is a process of its own, because a core is given
to it before TensorFlow and numpy count the cores.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

if __name__ == "__main__":
    # Only as a program: an import must not restrict the processors of the importing process.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

from benchmarks import alone, script_path, yamnet
from benchmarks.material import RATE, WINDOW, bundles, endless, music, music_window
from benchmarks.turns import by_turns
from headnod import GenreModel, ListenerSettings, listen
from headnod.features.windows import FrameCache, Window
from headnod.pipeline.estimate import utc_now
from headnod.pipeline.smoothing import Smoother


def paths() -> dict[str, Callable[[], object]]:
    """The script path, the fair path and YAMNet; and each bundle, by what the paths do and as the whole listener."""
    window = music()[10 * RATE : 10 * RATE + WINDOW].copy()
    made = script_path.network()
    fair = script_path.FairPath(script_path.tflite(made))
    turns: dict[str, Callable[[], object]] = {
        "script": lambda: made.predict(script_path.spectrogram(window), verbose=0),
        "fair": lambda: fair.answer(window),
    }
    if yamnet.present():
        turns["yamnet"] = yamnet.answer()
    for name, folder in bundles().items():
        model = GenreModel.load(folder)
        rate = model.front_end.sample_rate
        blocks = endless(music(rate), rate)
        turns[name] = answers(model, Window(music_window(model.front_end), start=0))
        turns[f"{name}, whole listener"] = listen(blocks, model, ListenerSettings(), now=utc_now).__next__
    return turns


def answers(model: GenreModel, window: Window) -> Callable[[], object]:
    """Features, network and smoothing of one window, with no frame taken over from the one before."""
    cache, smoother = FrameCache(model.front_end), Smoother(seconds=12.0, every=3.0)
    away = Window(window.samples, window.start + 1)
    in_turn = itertools.cycle((window, away))
    return lambda: smoother.update(model.scores(cache.features(next(in_turn))))


def main(count: int) -> None:
    """Measure so many windows of each and print them."""
    told: dict[str, Any] = {"windows": count, "paths": by_turns(paths(), count)}
    told["front_ends"] = by_turns(alone.front_ends(music()), count)
    told["networks"] = by_turns(alone.networks(), count)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
