"""The listener against numpy's FFT of the same frames, by turns on one core.

    python -m benchmarks.ratios WINDOWS

prints the ratios of the budget as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

if __name__ == "__main__":
    # Only as a program: an import must not restrict the processors of the importing process.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

from benchmarks.alone import FLOOR, ours
from benchmarks.material import bundles, endless, music, music_window
from benchmarks.turns import by_turns
from headnod import GenreModel, ListenerSettings, listen
from headnod.pipeline.estimate import utc_now


def main(count: int) -> None:
    """Measure so many windows and print the ratios."""
    model = GenreModel.load(bundles()["genre"])
    front_end = model.front_end
    window, rate = music_window(front_end), front_end.sample_rate
    features = front_end.mfcc(window)
    turns: dict[str, Callable[[], object]] = {
        **ours(window, front_end),
        "listener": listen(endless(music(rate), rate), model, ListenerSettings(), now=utc_now).__next__,
        "network": lambda: model.scores(features),
    }
    cost = {name: spread["median"] for name, spread in by_turns(turns, count, warm=10).items()}
    ratios = {
        "front end by numpy's FFT": cost["headnod"] / cost[FLOOR],
        "listener without its network by numpy's FFT": (cost["listener"] - cost["network"]) / cost[FLOOR],
    }
    sys.stdout.write(json.dumps(ratios))


if __name__ == "__main__":
    main(int(sys.argv[1]))
