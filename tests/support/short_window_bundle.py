"""A bundle whose window is half a second, for tests that wait for windows of real sound."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
from msgspec import structs

from headnod.inference.manifest import CARD, GOLDEN, MANIFEST, MODEL
from support import tflite_writer
from support.doubles import SMALL, manifest_of

WINDOW = SMALL.window_samples / SMALL.sample_rate
"""Seconds that it hears at once."""


def write(folder: Path) -> Path:
    """Write it into a folder that is not there yet; it has no golden numbers and no card."""
    folder.mkdir()
    weights = np.random.default_rng(0).standard_normal((2, SMALL.frames * SMALL.n_mfcc)) / 100.0
    network = tflite_writer.dense(weights, (1, SMALL.frames, SMALL.n_mfcc))
    content = {MODEL: network, GOLDEN: b"", CARD: b""}
    for name, said in content.items():
        (folder / name).write_bytes(said)
    hashes = {name: hashlib.sha256(said).hexdigest() for name, said in content.items()}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(structs.replace(manifest_of(kind="float32"), sha256=hashes)))
    return folder
