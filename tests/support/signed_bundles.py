"""Small bundles that a test signs: good ones, and ones that are validly signed and no good."""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import CARD, GOLDEN, MANIFEST, MODEL, SIGNATURE, Health, Manifest, manifest_bytes
from headnod.inference.model import GenreModel, chirp, write_golden
from headnod.testing import SMALL_FRONT_END as SMALL
from headnod.testing import fixed_manifest
from headnod.updates.bundle import encoded_key, join
from support import tflite_writer

KEY, NEXT, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2, 3))
INPUT = (1, SMALL.frames, SMALL.n_mfcc)
LABELS = ("jazz", "metal")


def public(key: Ed25519PrivateKey = KEY) -> str:
    return encoded_key(key.public_key().public_bytes_raw())


def weights(seed: int = 0, labels: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((labels, SMALL.frames * SMALL.n_mfcc)) / 100.0


def promise(
    version: str = "1.0.0",
    *,
    serial: int = 1,
    labels: tuple[str, ...] = LABELS,
    health: Health | None = None,
    front_end: FrontEnd = SMALL,
    supersedes: int = 0,
) -> Manifest:
    """A manifest without the hashes of its files."""
    plain = fixed_manifest(front_end, labels, kind="float32")
    return structs.replace(plain, name="fixed", version=version, serial=serial, health=health, supersedes=supersedes)


def golden_of(network: bytes, manifest: Manifest) -> bytes:
    """What that network must give for six windows of noise."""
    shape = (6, manifest.front_end.frames, manifest.front_end.n_features)
    features = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return write_golden(GenreModel(manifest, network), features)


def forged_golden(manifest: Manifest) -> bytes:
    """Golden numbers that no network was asked for."""
    front_end, file = manifest.front_end, io.BytesIO()
    np.savez_compressed(
        file,
        chirp_features=front_end.mfcc(chirp(front_end)),
        features=np.zeros((2, front_end.frames, front_end.n_mfcc), np.float32),
        scores=np.full((2, len(manifest.labels)), 1 / len(manifest.labels), np.float32),
    )
    return file.getvalue()


def files_of(
    manifest: Manifest, network: bytes, golden: bytes, *, key: Ed25519PrivateKey | None = KEY
) -> dict[str, bytes]:
    """A bundle, signed unless there is no key."""
    files = {MODEL: network, GOLDEN: golden, CARD: b"# made for a test\n"}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    files[MANIFEST] = manifest_bytes(structs.replace(manifest, sha256=hashes))
    if key is not None:
        files[SIGNATURE] = key.sign(files[MANIFEST])
    return files


def good(
    version: str = "1.0.0",
    *,
    serial: int = 1,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
    key: Ed25519PrivateKey | None = KEY,
    front_end: FrontEnd = SMALL,
    health: Health | None = None,
    supersedes: int = 0,
) -> dict[str, bytes]:
    """A bundle that works; its window is half a second."""
    manifest = promise(version, serial=serial, labels=labels, front_end=front_end, health=health, supersedes=supersedes)
    spread = np.random.default_rng(seed).standard_normal((len(labels), front_end.frames * front_end.n_features)) / 100.0
    network = tflite_writer.dense(spread, (1, front_end.frames, front_end.n_features))
    return files_of(manifest, network, golden_of(network, manifest), key=key)


def sent(**how) -> bytes:
    """The same in one piece."""
    return join(good(**how))


def bad(fault: str, *, serial: int = 1) -> dict[str, bytes]:
    """A bundle that is validly signed and does not work."""
    plain = promise(serial=serial)
    network = tflite_writer.dense(weights(), INPUT)
    golden, forged = golden_of(network, plain), forged_golden(plain)
    infinite = np.array([[1e38], [-1e38]]) * np.ones(80)
    slow = tflite_writer.deep(750, layers=10, shape=INPUT)
    faults = {
        "labels": (promise(serial=serial, labels=("jazz", "metal", "pop")), network, golden),
        "shape": (
            plain,
            tflite_writer.dense(np.zeros((2, 90)), (1, SMALL.frames, SMALL.n_mfcc + 1)),
            golden,
        ),
        "type": (plain, tflite_writer.dense(np.ones((2, 80)), INPUT, taken=(0.1, 0), given=(0.1, 0)), golden),
        "nan": (plain, tflite_writer.dense(np.full((2, 80), np.nan), INPUT), forged),
        "huge numbers": (plain, tflite_writer.dense(infinite, INPUT), forged),
        "slow": (plain, slow, golden_of(slow, plain)),
        "hungry": (plain, tflite_writer.deep(1000, layers=1500, shape=INPUT), forged),
        "other answers": (plain, tflite_writer.dense(weights(seed=9), INPUT), golden),
        "no network": (plain, b"TFL3" * 100, golden),
        "no golden numbers": (plain, network, b""),
    }
    return files_of(*faults[fault])


def collapsed(*, serial: int = 1, version: str = "6.6.6") -> dict[str, bytes]:
    """A bundle that works as it was measured, and knows nothing."""
    manifest = promise(version, serial=serial, health=Health(0.05, 0.95))
    network = tflite_writer.dense(np.zeros((2, 80)), INPUT)
    return files_of(manifest, network, golden_of(network, manifest))


def mutations(content, count, *, seed):
    """So many damaged copies: flipped, cut, grown, filled, swapped."""
    rng = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(content)
        # The small parts are where a clever change would be, so every second one hits the beginning.
        place = rng.randrange(min(4096, len(damaged)) if rng.random() < 0.5 else len(damaged))
        match rng.randrange(6):
            case 0:
                damaged[place] ^= 1 << rng.randrange(8)
            case 1:
                damaged[place] = rng.randrange(256)
            case 2:
                del damaged[place:]
            case 3:
                damaged[place:place] = rng.randbytes(rng.randrange(1, 64))
            case 4:
                del damaged[place : place + rng.randrange(1, 64)]
            case _:
                other = rng.randrange(len(damaged))
                damaged[place : place + 32], damaged[other : other + 32] = (
                    damaged[other : other + 32],
                    damaged[place : place + 32],
                )
        if bytes(damaged) != content:
            yield bytes(damaged)


def write(files: dict[str, bytes], folder: Path) -> Path:
    """The same as a folder."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
