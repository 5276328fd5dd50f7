"""The files of a bundle: what they are called, and how much of each is read."""

from __future__ import annotations

from pathlib import Path

from headnod.errors import ManifestError

MODEL, GOLDEN, CARD, MANIFEST = "model.tflite", "golden.npz", "CARD.md", "manifest.json"
SIGNATURE = "manifest.sig"
"""Of the manifest's bytes, beside it in a bundle that was signed."""

HASHED = (MODEL, GOLDEN, CARD)
"""Every file of a bundle beside the manifest itself."""

_LIMITS = {MODEL: 16 << 20, GOLDEN: 1 << 20, CARD: 1 << 20, MANIFEST: 1 << 20}
"""Bytes that each file may have: more is not read."""


def read_part(folder: Path, name: str) -> bytes:
    """The bytes of one file of a bundle, at most as many as it may have.

    Raises:
        ManifestError: The file is absent, no plain file, or too large.
    """
    path = folder / name
    try:
        if not path.is_file():
            message = f"{path}: there is no such file (a bundle is a folder with {', '.join(_LIMITS)})"
            raise ManifestError(message)
        with path.open("rb") as file:
            content = file.read(_LIMITS[name] + 1)
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ManifestError(message) from error
    if len(content) > _LIMITS[name]:
        message = f"{path}: is larger than {_LIMITS[name]} bytes (this is no headnod bundle)"
        raise ManifestError(message)
    return content
