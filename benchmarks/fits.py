"""What trainings take: the shipped recipe's epochs on archives of several sizes.

    python -m benchmarks.fits FOLDER

prints when the epochs of a run ended, as JSON, from its TensorBoard folder.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.growth import Line
from benchmarks.material import bundles
from benchmarks.processes import python
from headnod.inference.manifest import read_manifest

_BENT = "augmentation."


def recipe() -> dict[str, Any]:
    """The recipe of the shipped `genre-small`, from its manifest; `genre` was not trained by `fit`."""
    manifest = read_manifest(bundles()["genre-small"])
    return {**manifest.training.recipe, "n_mfcc": manifest.front_end.n_mfcc}


def trained(archives: dict[int, Path], noise: Path, *, epochs: int) -> dict[str, Any]:
    """Seconds an epoch by tracks, and what the whole recipe would take.

    Args:
        archives: Log-mel archives by their number of tracks, all on the side that is learned from.
        noise: An archive of what is no music.
        epochs: That are trained of each; the first is not counted, for it builds the network's graph.
    """
    asked, by_tracks, starts = recipe(), {}, {}
    for tracks, archive in archives.items():
        by_tracks[tracks], starts[tracks] = epoch_and_start(archive, noise, asked, epochs=epochs)
    line = Line(by_tracks)
    epoch = line.start + line.a_track * asked["tracks"]
    start = max(starts.values())
    return {
        **line.as_json(),
        "epochs_measured": epochs,
        "seconds_before_the_first_epoch_ends": round(start, 1),
        "recipe": {"tracks": asked["tracks"], "epochs": asked["epochs"]},
        "minutes_to_finish": round((start + (asked["epochs"] - 1) * epoch) / 60.0, 1),
        "minutes_are": "extrapolated: the epoch of the line at the recipe's tracks, times the recipe's epochs; "
        "learned from labels and noise, without tags and teachers",
    }


def epoch_and_start(archive: Path, noise: Path, asked: dict[str, Any], *, epochs: int) -> tuple[float, float]:
    """Seconds of an epoch, a median of those after the first; and seconds until the first had ended."""
    folder = archive.with_suffix(".run")
    bent = [f"{key.removeprefix(_BENT)}={value}".replace(" ", "") for key, value in asked.items() if _BENT in key]
    strengths = (word for each in bent for word in ("--augment", each))
    network = ("--width", str(asked["width"]), "--n-mfcc", str(asked["n_mfcc"]))
    given = ("--data", archive, "--run", folder, "--not-music", noise, "--sides", "train")
    began = time.time()
    words: tuple[str | Path, ...] = (*given, *network, *strengths, "--epochs", str(epochs), "--tensorboard")
    python("-m", "headnod_train", "fit", *words)
    # In a process of its own: what reads these files loads TensorFlow.
    ends = json.loads(python("-m", "benchmarks.fits", folder / "tensorboard").output)
    between = [after - before for before, after in itertools.pairwise(ends)]
    return statistics.median(between), ends[0] - began


def epoch_ends(folder: Path) -> list[float]:
    """When each epoch of a run ended, in seconds since 1970, as TensorBoard's files say."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - heavy

    read = EventAccumulator(str(folder))
    read.Reload()
    return [event.wall_time for event in read.Tensors("loss")]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(epoch_ends(Path(sys.argv[1]))))
