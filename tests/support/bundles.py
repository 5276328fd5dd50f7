"""Front ends of two kinds, a bundle with a window of half a second, and copies of bundles with a change."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import structs

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import CARD, GOLDEN, MANIFEST, MODEL
from headnod.testing import SMALL_FRONT_END, fixed_manifest


def copied(bundle: Path, folder: Path) -> Path:
    return Path(shutil.copytree(bundle, folder / bundle.name))


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Let `change` work on what the manifest says."""
    content = json.loads((folder / MANIFEST).read_bytes())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))
    return folder


def put(value: object, *path: Any) -> Callable[[Any], None]:
    """A change that sets the value at a path of keys."""

    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def replaced(folder: Path, name: str, content: bytes) -> Path:
    """Another file in the place of one, with its right hash in the manifest."""
    (folder / name).write_bytes(content)
    return edited(folder, lambda said: said["sha256"].update({name: hashlib.sha256(content).hexdigest()}))


def flipped(path: Path, place: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0x01
    path.write_bytes(content)


TAGGER = FrontEnd(
    sample_rate=16_000, n_fft=512, hop=256, frames=187, n_mels=96, f_max=8_000.0, n_mfcc=0, floor_db=-100.0,
    compression="log10", level="power",
)  # fmt: skip
"""The input of the MusiCNN tagger, with its level set."""

SMALL_POWER = FrontEnd(
    sample_rate=16_000, n_fft=512, hop=256, frames=30, n_mels=16, f_max=8_000.0, n_mfcc=0, floor_db=-100.0,
    compression="log10", level="power",
)  # fmt: skip
"""A window of 7,936 samples of the same kind, and little to compute."""


WINDOW = SMALL_FRONT_END.window_samples / SMALL_FRONT_END.sample_rate
"""Seconds that it hears at once."""


def write_short(folder: Path) -> Path:
    """Write it into a folder that is not there yet; it has no golden numbers and no card."""
    from support import tflite_writer

    folder.mkdir()
    weights = np.random.default_rng(0).standard_normal((2, SMALL_FRONT_END.frames * SMALL_FRONT_END.n_mfcc)) / 100.0
    network = tflite_writer.dense(weights, (1, SMALL_FRONT_END.frames, SMALL_FRONT_END.n_mfcc))
    content = {MODEL: network, GOLDEN: b"", CARD: b""}
    for name, said in content.items():
        (folder / name).write_bytes(said)
    hashes = {name: hashlib.sha256(said).hexdigest() for name, said in content.items()}
    (folder / MANIFEST).write_bytes(msgspec.json.encode(structs.replace(fixed_manifest(kind="float32"), sha256=hashes)))
    return folder
