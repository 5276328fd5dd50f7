"""A bundle whose network gives answers, tags and an embedding, by hand-written weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from msgspec import structs

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import (
    CARD,
    GOLDEN,
    MANIFEST,
    MODEL,
    Energy,
    Manifest,
    Output,
    Tags,
    Tensor,
    manifest_bytes,
)
from headnod.inference.model import GenreModel, write_golden
from headnod.testing import fixed_manifest
from support import tflite_writer
from support.bundles import SMALL_POWER

LABELS = ("jazz", "metal")
TAGS = ("mellow", "loud", "guitar", "Hip-Hop", "80s", "female vocalists", "sad")
EMBEDDING = 5
ENERGY = Energy((1.0, -2.0, 0.0, 0.0, 0.5, 0.0, 0.0), 0.25)
SIZES = {"embedding": EMBEDDING, "answers": len(LABELS), "tags": len(TAGS)}
"""Numbers of each output, in the order of the file."""


def manifest_of_several(front_end: FrontEnd = SMALL_POWER, *, kind: str = "int8", labels: tuple = LABELS) -> Manifest:
    """What a bundle with all three outputs promises."""
    sizes = SIZES | {"answers": len(labels)}
    return structs.replace(
        fixed_manifest(front_end, labels, kind=kind),
        format=2,
        output=Tensor((1, len(labels)), kind),
        outputs=tuple(Output((1, size), kind, role) for role, size in sizes.items()),
        tags=Tags(TAGS, tuple(0.5 + 0.1 * place for place in range(len(TAGS))), (0.1,) * len(TAGS)),
        energy=ENERGY,
        notice="The network began as another's.\nCopyright 2019 Somebody Else\n",
    )


def network(front_end: FrontEnd = SMALL_POWER, *, kind: str = "int8", labels: tuple = LABELS, seed: int = 3) -> bytes:
    """Random weights, with outputs in the order of `SIZES`."""
    rng, inputs = np.random.default_rng(seed), front_end.frames * front_end.n_features
    sizes = SIZES | {"answers": len(labels)}
    shape = (1, front_end.frames, front_end.n_features)
    matrices = [rng.integers(-9, 10, (size, inputs)) for size in sizes.values()]
    if kind == "float32":
        return tflite_writer.heads([0.02 * matrix for matrix in matrices], shape)
    given = [(0.05, 3), (0.1, -4), (0.08, 0)]
    return tflite_writer.heads(matrices, shape, taken=(0.02, -10), given=given, weight_scale=0.02)


def write(folder: Path, front_end: FrontEnd = SMALL_POWER, *, kind: str = "int8", labels: tuple = LABELS) -> Path:
    """The bundle, with golden numbers."""
    folder.mkdir(parents=True)
    manifest, content = (
        manifest_of_several(front_end, kind=kind, labels=labels),
        network(front_end, kind=kind, labels=labels),
    )
    features = np.random.default_rng(1).random((4, front_end.frames, front_end.n_features), np.float32)
    golden = write_golden(GenreModel(manifest, content), features)
    files = {MODEL: content, GOLDEN: golden, CARD: b"# made for a test\n"}
    for name, held in files.items():
        (folder / name).write_bytes(held)
    hashes = {name: hashlib.sha256(held).hexdigest() for name, held in files.items()}
    (folder / MANIFEST).write_bytes(manifest_bytes(structs.replace(manifest, sha256=hashes)))
    return folder
