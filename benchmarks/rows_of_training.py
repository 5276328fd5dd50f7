"""P10: how fast a collection becomes features, and how long a fit takes."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.material import RATE, bundles, music
from benchmarks.processes import ROOT, python
from benchmarks.rows import Row
from headnod.frontend import FrontEnd

_SECONDS, _TRACKS = 30.0, 12
_WHAT = "features from audio: seconds of music a second and core (headnod-train import)"


def training(*, fit: bool) -> Row:
    """P10. Alone among the rows it uses all cores, which is what it measures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tracks = collection(folder / "all", 8 * _TRACKS)
        growth = {}
        for times in (1, 2, 4, 8):
            some = linked(folder / f"x{times}", tracks[: times * _TRACKS])
            growth[str(times * _TRACKS)] = round(imported(some, folder / f"{times}.npz", jobs=1), 2)
        two = imported(folder / "x8", folder / "two.npz", jobs=2)
        more: dict[str, Any] = {
            "seconds_of_music_a_track": _SECONDS,
            "seconds_by_tracks_one_process": growth,
            "seconds_two_processes": round(two, 2),
            "two_processes_times_one": round(growth[str(8 * _TRACKS)] / two, 2),
            "in_front_end_alone_times_real_time": round(front_end_alone(), 0),
        }
        if fit:
            more["fit"] = fitted(folder)
    least, most = (float(count) for count in (min(growth, key=int), max(growth, key=int)))
    steady = (growth[str(int(most))] - growth[str(int(least))]) / (most - least)
    return Row(_WHAT, "times real time", round(_SECONDS / steady, 1), None, "", less_is_better=False, more=more)


def collection(folder: Path, count: int) -> list[Path]:
    """So many tracks of four genres: the demo clip at other places and levels, as Ogg Vorbis."""
    audio, rng, made = music(), np.random.default_rng(0), []
    for number in range(count):
        place = folder / f"genre{number % 4}" / f"track{number:03}.ogg"
        place.parent.mkdir(parents=True, exist_ok=True)
        cut = np.resize(np.roll(audio, -int(rng.integers(audio.size))), int(_SECONDS * RATE))
        soundfile.write(place, cut * np.float32(rng.uniform(0.3, 0.9)), RATE)
        made.append(place)
    return made


def linked(folder: Path, tracks: list[Path]) -> Path:
    """The same tracks in a folder of their own."""
    for track in tracks:
        place = folder / track.parent.name / track.name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(track, place)
    return folder


def imported(source: Path, archive: Path, *, jobs: int) -> float:
    """Seconds that an import took."""
    began = time.monotonic()
    words = ("-m", "headnod_train", "import", "--layout", "folders", "--jobs", str(jobs))
    python(*words, "--out", str(archive), str(source), OMP_NUM_THREADS="1")
    return time.monotonic() - began


def front_end_alone() -> float:
    """Seconds of music that the front end draws in a second of one core."""
    front_end, audio, taken = FrontEnd(), music()[: 25 * RATE], []
    for _ in range(11):
        began = time.thread_time()
        front_end.log_mel(audio)
        taken.append(time.thread_time() - began)
    return audio.size / RATE / statistics.median(taken)


def fitted(folder: Path) -> dict[str, float] | str:
    """What the shipped recipe would take on this machine, from its first epochs."""
    archive = ROOT.parent / "shared" / "data" / "gtzan" / "logmel.npz"
    if not archive.exists():
        return "needs the collection that stands beside the project"
    taken = {}
    for epochs in (1, 3):
        run_folder = folder / f"run{epochs}"
        began = time.monotonic()
        python("-m", "headnod_train", "fit", "--data", archive, "--run", run_folder, "--epochs", str(epochs))
        taken[epochs] = time.monotonic() - began
        shutil.rmtree(run_folder)
    epoch = (taken[3] - taken[1]) / 2
    wanted = _epochs()
    return {
        "seconds_an_epoch": round(epoch, 1),
        "epochs": wanted,
        "minutes_to_finish": round((taken[1] + (wanted - 1) * epoch) / 60, 1),
    }


def _epochs() -> int:
    from headnod.manifest import read_manifest  # noqa: PLC0415 - only with a fit

    return int(read_manifest(bundles()["genre"]).training.recipe.get("epochs", 50))
