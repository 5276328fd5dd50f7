"""A bundle whose window is half a second, for tests that wait for windows of real sound."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
from msgspec import structs

from headnod.inference.manifest import CARD, GOLDEN, MANIFEST, MODEL
from headnod.testing import SMALL_FRONT_END, fixed_manifest
from support import tflite_writer

WINDOW = SMALL_FRONT_END.window_samples / SMALL_FRONT_END.sample_rate
"""Seconds that it hears at once."""


def write(folder: Path) -> Path:
    """Write it into a folder that is not there yet; it has no golden numbers and no card."""
    folder.mkdir()
    weights = np.random.default_rng(0).standard_normal((2, SMALL_FRONT_END.frames * SMALL_FRONT_END.n_mfcc)) / 100.0
    network = tflite_writer.dense(weights, (1, SMALL_FRONT_END.frames, SMALL_FRONT_END.n_mfcc))
    content = {MODEL: network, GOLDEN: b"", CARD: b""}
    for name, said in content.items():
        (folder / name).write_bytes(said)
    hashes = {name: hashlib.sha256(said).hexdigest() for name, said in content.items()}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(structs.replace(fixed_manifest(kind="float32"), sha256=hashes)))
    return folder
