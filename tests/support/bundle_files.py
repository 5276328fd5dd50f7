"""Copies of a bundle with something changed, their hashes made to fit again where asked."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headnod.inference.manifest import MANIFEST


def copied(bundle: Path, folder: Path) -> Path:
    return Path(shutil.copytree(bundle, folder / bundle.name))


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Let `change` work on what the manifest says."""
    content = json.loads((folder / MANIFEST).read_bytes())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))
    return folder


def replaced(folder: Path, name: str, content: bytes) -> Path:
    """Another file in the place of one, with its right hash in the manifest."""
    (folder / name).write_bytes(content)
    return edited(folder, lambda said: said["sha256"].update({name: hashlib.sha256(content).hexdigest()}))


def flipped(path: Path, place: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0x01
    path.write_bytes(content)
