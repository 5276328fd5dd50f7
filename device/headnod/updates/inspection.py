"""What a bundle is worth here, line by line: `headnod models verify`. Nothing is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from headnod.errors import BundleError
from headnod.inference.bundle_files import parse_manifest
from headnod.inference.manifest import HASHED, MANIFEST, SIGNATURE
from headnod.updates.bundle import read
from headnod.updates.selftest import self_test
from headnod.updates.signature import verify


def inspect_bundle(path: Path, *, keys: Sequence[str], budget: float, shipped: Iterable[Path]) -> Iterator[str]:
    """Look at a bundle.

    Args:
        path: Its file or folder.
        keys: Public keys that are trusted.
        budget: Seconds that a window may take.
        shipped: Bundles that came with headnod, which are trusted as it is.

    Yields:
        A line for each step that went well.

    Raises:
        BundleError: One did not.
        ManifestError: Its manifest is malformed.
    """
    files = read(path)
    if any(_same(folder / MANIFEST, files[MANIFEST]) for folder in shipped):
        yield "trusted    shipped with headnod"
    else:
        verify(files[MANIFEST], files.get(SIGNATURE), keys)
        yield "trusted    signed with a key of model.keys"
    manifest = parse_manifest(files[MANIFEST], path / MANIFEST)
    for file in HASHED:
        if hashlib.sha256(files[file]).hexdigest() != manifest.sha256[file]:
            message = f"{path}: {file}: does not match the manifest (the bundle is damaged: copy it again)"
            raise BundleError(message)
    yield f"whole      {manifest.id}, serial {manifest.serial or 'none'}, {len(manifest.labels)} labels"
    with TemporaryDirectory() as beside:
        # A copy of what was verified: what stands at the path may have changed since.
        for file, content in files.items():
            Path(beside, file).write_bytes(content)
        outcome = self_test(Path(beside), budget=budget)
    yield f"works      golden numbers agree, {outcome.milliseconds:g} ms per window"


def _same(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
