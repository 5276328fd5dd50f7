"""YAMNet in TensorFlow Lite, the third baseline: what other programs ship to classify sound.

Its file is not part of headnod and not downloaded: this baseline is measured where `../shared/data/teachers` has it,
and its accuracy where `../shared/data/gtzan` has the clips too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console

from benchmarks.material import bundles, music
from benchmarks.processes import ROOT
from headnod import GenreModel

_DATA = ROOT.parent / "shared" / "data"
NETWORK, CLASSES = (_DATA / "teachers" / name for name in ("yamnet.tflite", "yamnet.csv"))
_ARCHIVE, _CLIPS = _DATA / "gtzan" / "logmel.npz", _DATA / "gtzan" / "audio"
NAME = "YAMNet"
FRAMES = 5
"""Frames of 0.975 s, half a frame apart, in 3 s."""


def present() -> bool:
    """Whether the network is here."""
    return NETWORK.is_file() and CLASSES.is_file()


def answer() -> Callable[[], object]:
    """Scores for 3 s of the demo clip: its network computes the features, in `FRAMES` frames of 0.975 s."""
    from headnod_train.distillation.window_sets import RATE, Yamnet  # noqa: PLC0415 - needs the training package

    network, size = Yamnet(NETWORK), 3 * RATE
    window = music(RATE)[10 * RATE : 10 * RATE + size].copy()
    return lambda: network.scores(window)


def accuracy() -> dict[str, Any]:
    """Accuracy of YAMNet and of each bundle on clips of GTZAN's valid split, from which none of them has learned.

    Returns:
        By name: shares of windows and of clips, and the number of clips; empty where the clips are absent.
    """
    if not (present() and _ARCHIVE.is_file() and _CLIPS.is_dir()):
        return {}
    from headnod_train.dataset.archive import read_archive  # noqa: PLC0415
    from headnod_train.evaluation.evaluate import trained_on  # noqa: PLC0415
    from headnod_train.explore import baselines as clips  # noqa: PLC0415
    from headnod_train.explore.classical import FRONT_END  # noqa: PLC0415

    archive = read_archive(_ARCHIVE, FRONT_END)
    valid = archive.subset("valid")
    methods = {NAME: clips.yamnet_method(NETWORK, CLASSES, valid.labels)}
    for name, folder in bundles().items():
        model = GenreModel.load(folder)
        if not trained_on(model.manifest, archive, data=_ARCHIVE.name, split="valid"):
            methods[name] = clips.bundle_method(model, learned=False)
    rows = clips.compare_on_clips(
        valid, clips.find_track_clips(_CLIPS, valid), list(methods.values()),
        labels=valid.labels, console=Console(quiet=True),
    )  # fmt: skip
    return {
        name: {"windows": row.windows.accuracy, "clips": row.tracks.accuracy, "count": row.tracks.count}
        for name, row in zip(methods, rows, strict=True)
    }
