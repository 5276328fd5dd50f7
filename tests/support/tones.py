"""A log-mel archive of tones in three genres, models that name them, and a training run without any training."""

from pathlib import Path

import numpy as np

from headnod.features.frontend import Audio, FrontEnd
from headnod.inference.manifest import (
    FORMAT,
    Calibration,
    Manifest,
    Rejection,
    Standardisation,
    Tensor,
    Training,
    softmax,
)
from headnod_train.dataset.archive import read_archive, window_features
from headnod_train.storage import write_json
from headnod_train.training import run_folder
from headnod_train.training.augment import MelAugmentation
from headnod_train.training.run_folder import Quantised, Recipe, TrainingSettings
from support.tflite_writer import dense

GENRES = ("high", "low", "noisy")
SECONDS = 13


def tone(genre: str, number: int, front_end: FrontEnd) -> Audio:
    rng = np.random.default_rng((GENRES.index(genre), number))
    seconds = np.arange(SECONDS * front_end.sample_rate) / front_end.sample_rate
    hiss = rng.standard_normal(seconds.size)
    if genre == "noisy":
        return (0.1 * hiss).astype(np.float32)
    pitch = rng.uniform(2000, 3000) if genre == "high" else rng.uniform(100, 300)
    return (0.3 * np.sin(2 * np.pi * pitch * seconds) + 0.003 * hiss).astype(np.float32)


def tone_arrays(front_end: FrontEnd, *, train: int = 4, valid: int = 2) -> dict[str, np.ndarray]:
    tracks = [
        (f"{genre}.{number}", genre, "train" if number < train else "valid", tone(genre, number, front_end))
        for genre in GENRES
        for number in range(train + valid)
    ]
    log_mel = np.stack([front_end.log_mel(audio) for *_, audio in tracks])
    top = log_mel.max(axis=(1, 2))
    levels = np.clip((log_mel - (top - 80)[:, None, None]) * (256 / 80), 0, 255).astype(np.uint8)
    return {
        "levels": levels,
        "floor_db": (top - 80).astype(np.float32),
        "range_db": np.full(len(tracks), 80, np.float32),
        "track": np.array([name for name, *_ in tracks]),
        "genre": np.array([genre for _, genre, *_ in tracks]),
        "split": np.array([split for _, _, split, _ in tracks]),
        "artist": np.arange(len(tracks), dtype=np.int32),
        "first_sample": np.tile(np.arange(levels.shape[1], dtype=np.int32) * front_end.hop, (len(tracks), 1)),
    }


def write_tones(path: Path, front_end: FrontEnd, **changed: np.ndarray | None) -> Path:
    arrays = {**tone_arrays(front_end), **changed}
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


FRONT_END = FrontEnd(n_mfcc=20)


def manifest_of(name="nearest", labels=GENRES, front_end=FRONT_END, threshold=0.0):
    size = front_end.n_mfcc
    return Manifest(
        FORMAT, name, "1.0.0", {}, labels, front_end, Standardisation((0.0,) * size, (1.0,) * size),
        Tensor((1, front_end.frames, size), "int8"), Tensor((1, len(labels)), "int8"), 1.0, Rejection(threshold),
        Training("", "", {}), {}, {},
    )  # fmt: skip


class Nearest:
    """A model that knows the tones: the likelier a genre, the nearer its mean features."""

    def __init__(self, archive, *, threshold=0.0, front_end=FRONT_END):
        self.manifest = manifest_of(threshold=threshold, front_end=front_end)
        self.labels, self.front_end = GENRES, front_end
        features, tracks = window_features(archive.subset("train"), front_end)
        genres = archive.subset("train").targets(GENRES)[tracks]
        self._centres = np.stack([features[genres == genre].mean(axis=(0, 1)) for genre in range(len(GENRES))])

    @property
    def answers(self):
        return self.labels

    def logits(self, features):
        apart = np.linalg.norm(self._centres - features.mean(axis=0), axis=1)
        return (-apart / 5).astype(np.float32)

    def scores(self, features):
        return softmax(self.logits(features))


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
    write_json(run / run_folder.QUANTISED, Quantised(2.0, 0.4, 10, weights.size, {"by": "hand"}, SINGLE))
    return run
