"""P10: how fast a collection becomes features, how long a fit takes, and how both grow."""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.collection import SECONDS, collection, hisses, linked
from benchmarks.dask_cluster import cluster
from benchmarks.fits import trained
from benchmarks.growth import Line
from benchmarks.material import RATE, music
from benchmarks.processes import python
from benchmarks.rows import Row
from headnod.features.frontend import FrontEnd

TIMES = (1, 2, 4, 8)
_NOISES = 4
_WHAT = "features from audio: seconds of music a second and core (headnod-train import)"


def training(tracks: int, *, epochs: int, turns: int = 1) -> Row:
    """P10. Alone among the rows it uses all cores, which is what it measures.

    Args:
        tracks: Of the smallest collection; the largest has eight times as many.
        epochs: That are trained of each.
        turns: How often each import is made; the quickest counts, for only other work makes one slower.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = collection(folder / "all", TIMES[-1] * tracks)
        sizes = {times * tracks: linked(folder / f"x{times}", made[: times * tracks]) for times in TIMES}
        lines, archives = imports(sizes, folder, turns=turns)
        noise = folder / "noise.npz"
        imported(hisses(folder / "hisses", _NOISES), noise, "--jobs", "1")
        more = {
            "music": f"tracks of {SECONDS:g} s, Ogg Vorbis, 44.1 kHz, stereo",
            "import": told(lines),
            "training": trained(archives, noise, epochs=epochs),
            "in_front_end_alone_times_real_time": round(front_end_alone(), 0),
        }
    return Row(
        _WHAT,
        "times real time",
        round(SECONDS / lines["one process"].a_track, 1),
        150.0,
        "what is asked at least",
        less_is_better=False,
        more=more,
    )


def imports(sizes: dict[int, Path], folder: Path, *, turns: int) -> tuple[dict[str, Line], dict[int, Path]]:
    """Seconds of each way to import each size, the ways by turns; and the archives."""
    ways: dict[str, Callable[[Path, Path], float]] = {
        "one process": lambda source, archive: imported(source, archive, "--jobs", "1"),
        "two processes": lambda source, archive: imported(source, archive, "--jobs", "2"),
        "one Dask worker": lambda source, archive: clustered(source, archive, 1),
        "two Dask workers": lambda source, archive: clustered(source, archive, 2),
    }
    taken: dict[str, dict[int, float]] = {way: {} for way in ways}
    archives = {}
    for count, source in sizes.items():
        for turn, (way, act) in itertools.product(range(turns), ways.items()):
            archives[count] = folder / f"{count} {way} {turn}.npz"
            taken[way][count] = min(act(source, archives[count]), taken[way].get(count, math.inf))
    return {way: Line(seconds) for way, seconds in taken.items()}, archives


def imported(source: Path, archive: Path, *crew: str) -> float:
    """Seconds that an import took."""
    every = ("--layout", "folders", "--valid", "0", "--test", "0")
    words = ("-m", "headnod_train", "import", *every, *crew)
    return python(*words, "--out", archive, source, OMP_NUM_THREADS="1").wall


def clustered(source: Path, archive: Path, workers: int) -> float:
    """Seconds that an import took with so many Dask workers, which were there already."""
    with cluster(workers) as address:
        return imported(source, archive, "--dask", address)


def told(lines: dict[str, Line]) -> dict[str, Any]:
    """The lines, and how much quicker two are than one: by the track, and with the start."""
    pairs = {"processes": ("one process", "two processes"), "workers": ("one Dask worker", "two Dask workers")}
    ratios = {}
    for name, (one, two) in pairs.items():
        ratios[f"two_{name}_times_one"] = round(lines[one].a_track / lines[two].a_track, 2)
        ratios[f"two_{name}_times_one_with_start"] = round(lines[one].most / lines[two].most, 2)
    return {**{way: line.as_json() for way, line in lines.items()}, **ratios}


def front_end_alone() -> float:
    """Seconds of music that the front end draws in a second of one core."""
    front_end, audio, taken = FrontEnd(), music()[: 25 * RATE], []
    for _ in range(11):
        began = time.thread_time()
        front_end.log_mel(audio)
        taken.append(time.thread_time() - began)
    return audio.size / RATE / statistics.median(taken)
