"""A quantised run of a one-layer network that knows the tones, without any training."""

from pathlib import Path

import numpy as np

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import Calibration
from headnod_train.dataset.archive import read_archive, window_features
from headnod_train.training import run_folder
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.run_folder import Quantised, Recipe, TrainingSettings
from support.tflite_writer import dense

FRONT_END = FrontEnd(n_mfcc=20)
SINGLE = Calibration(1.5, 0.3)


def write_run(run: Path, archive: Path, *, sides: tuple[str, ...] = ("train",), seed: int = 1) -> Path:
    """Each genre's score is its likeness to the mean of its training windows."""
    played = read_archive(archive, FRONT_END)
    learning = played.chosen(np.isin(played.splits, sides))
    features, tracks = window_features(learning, FRONT_END)
    mean, deviation = features.mean(axis=(0, 1)), np.maximum(features.std(axis=(0, 1)), 1e-3)
    standard = ((features - mean) / deviation).reshape(len(features), -1)
    labels = learning.labels
    targets = learning.targets(labels)[tracks]
    centres = np.stack([standard[targets == genre].mean(axis=0) for genre in range(len(labels))])
    weights = np.rint(centres * (100.0 / np.abs(centres).max()))
    recipe = Recipe(
        archive.name, len(learning), labels, FRONT_END, tuple(map(float, mean)), tuple(map(float, deviation)),
        MelAugmentation(), TrainingSettings(epochs=1, seed=seed, sides=sides),
    )  # fmt: skip
    run_folder.start(run, recipe, [str(track) for track in learning.tracks])
    shape, scale = (1, FRONT_END.frames, FRONT_END.n_mfcc), 1e-4
    (run / run_folder.FLOAT).write_bytes(dense(weights * scale, shape))
    (run / run_folder.MODEL).write_bytes(dense(weights, shape, taken=(0.04, 0), given=(0.25, 0), weight_scale=scale))
    run_folder.save(run, run_folder.QUANTISED, Quantised(2.0, 0.4, 10, weights.size, {"by": "hand"}, SINGLE))
    return run
