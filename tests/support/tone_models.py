"""Models for evaluations: nearest to the mean of what they were shown, and of one mind."""

import numpy as np

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import FORMAT, Manifest, Rejection, Standardisation, Tensor, Training
from headnod.inference.prediction import softmax
from headnod_train.dataset.archive import window_features
from support.tone_archive import GENRES

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
