"""A signed bundle with a taught head: the body of a shipped network, and a last layer for other labels."""

import numpy as np
from msgspec import structs

from headnod.inference.manifest import GOLDEN, MODEL, read_manifest
from headnod.inference.model import GenreModel, golden_windows, write_golden
from headnod.resources import find_model
from headnod.teaching.last_layer import LastLayer, Layer
from headnod.updates.bundle import join
from support import signed_bundles

LABELS = ("R&B", "cumbia", "日本")


def sent(*, version: str = "2.0.0", serial: int = 2) -> bytes:
    """The packed bundle, signed with `signed_bundles.KEY`."""
    folder = find_model("genre-small")
    shipped = read_manifest(folder)
    last = LastLayer((folder / MODEL).read_bytes(), shipped)
    no_music = last.shipped.rows([len(shipped.labels)])
    kernel = np.random.default_rng(serial).normal(0.0, 0.1, (len(LABELS), no_music.kernel.shape[1]))
    layer = Layer(np.concatenate([kernel, no_music.kernel]), np.append(np.zeros(len(LABELS)), no_music.bias))
    network = last.replaced(layer, [(len(LABELS), len(shipped.labels))], np.zeros((1, len(LABELS) + 1)))
    shape = (1, len(LABELS) + 1)
    outputs = [structs.replace(each, shape=shape) if each.role == "answers" else each for each in shipped.outputs]
    manifest = structs.replace(
        shipped, name="taught", version=version, serial=serial, labels=LABELS, health=None,
        output=structs.replace(shipped.output, shape=shape), outputs=tuple(outputs),
    )  # fmt: skip
    golden = write_golden(GenreModel(manifest, network), golden_windows((folder / GOLDEN).read_bytes()))
    return join(signed_bundles.files_of(manifest, network, golden))
