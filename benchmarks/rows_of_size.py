"""P6 and P9: what a model and the device's environment weigh."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import script_path
from benchmarks.material import bundles
from benchmarks.processes import ROOT, run
from benchmarks.rows import Row
from headnod.manifest import MODEL, read_manifest
from headnod.runtime import interpreter

_SCRIPT_ENVIRONMENT_MB = 1800.0
"""Of the script's requirements, as they were measured with the targets."""


def models() -> Row:
    """P6: the model's file and its multiply-adds."""
    found = {name: model(folder) for name, folder in bundles().items()}
    return Row(
        "model file",
        "kB",
        found["genre"]["kB"],
        script_path.FILE_BYTES / 1e3,
        "the script's network as an int8 file; 13.1 M multiply-adds",
        more={"models": found},
    )


def model(folder: Path) -> dict[str, Any]:
    """File, multiply-adds, accuracy and delegate partitions of one bundle."""
    manifest, file = read_manifest(folder), folder / MODEL
    steps = interpreter(file.read_bytes())._get_ops_details()  # noqa: SLF001 - the runtime tells it nowhere else
    return {
        "bundle": manifest.id,
        "kB": round(file.stat().st_size / 1e3, 1),
        "million_multiply_adds": round(manifest.measured["multiply_adds"] / 1e6, 2),
        "accuracy_of_windows": manifest.measured.get("windows", {}).get("accuracy"),
        "accuracy_of_tracks": manifest.measured.get("tracks", {}).get("accuracy"),
        "delegate_partitions": sum(step["op_name"] == "DELEGATE" for step in steps),
    }


def installed() -> Row:
    """P9: a fresh environment with the device extra, installed as scripts/setup does."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name, "venv")
        run([sys.executable, "-m", "venv", place])
        run([place / "bin/python", "-m", "pip", "install", "--no-compile", "--editable", f"{ROOT}[device]"])
        parts = {path.name: bytes_of(path) for path in next(place.glob("lib/python*/site-packages")).iterdir()}
        total = bytes_of(place)
    heaviest = sorted(parts, key=lambda part: -parts[part])[:8]
    return Row(
        "installed size of the device's environment",
        "MB",
        round(total / 1e6, 1),
        _SCRIPT_ENVIRONMENT_MB,
        "the script's requirements, measured with the targets",
        more={"heaviest_MB": {part: round(parts[part] / 1e6, 1) for part in heaviest}},
    )


def bytes_of(path: Path) -> int:
    """Bytes that a file or a folder takes on the disk."""
    paths = [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]
    return sum(each.lstat().st_blocks * 512 for each in paths)
