"""P6 and P9: what a model and the device's environment weigh."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import script_path, yamnet
from benchmarks.material import bundles
from benchmarks.processes import ROOT, run
from benchmarks.rows import Row, unmeasured
from headnod.inference.manifest import MODEL, read_manifest
from headnod.inference.model import interpreter

_ENVIRONMENT = "installed size of the device's environment, made by scripts/setup"
_SCRIPT_ENVIRONMENT_MB = 1800.0
"""Of the script's requirements, as they were measured with the targets."""


def models() -> Row:
    """P6: the model's file and its multiply-adds."""
    found = {name: model(folder) for name, folder in bundles().items()}
    right = yamnet.accuracy()
    for name, told in found.items():
        if {name, "genre"} <= right.keys():
            told["points_under_genre"] = {
                of: round(100.0 * (right["genre"][of] - right[name][of]), 1) for of in ("windows", "clips")
            }
    return Row(
        "model file",
        "kB",
        found["genre"]["kB"],
        script_path.FILE_BYTES / 1e3,
        "the script's network as an int8 file; 13.1 M multiply-adds",
        more={"models": found, "right on clips": right},
    )


def model(folder: Path) -> dict[str, Any]:
    """File, multiply-adds and delegate partitions of one bundle."""
    manifest, file = read_manifest(folder), folder / MODEL
    steps = interpreter(file.read_bytes())._get_ops_details()  # noqa: SLF001 - the runtime tells it nowhere else
    return {
        "bundle": manifest.id,
        "kB": round(file.stat().st_size / 1e3, 1),
        "million_multiply_adds": round(manifest.measured["multiply_adds"] / 1e6, 2),
        "delegate_partitions": sum(step["op_name"] == "DELEGATE" for step in steps),
    }


def installed() -> Row:
    """P9: what `scripts/setup device` makes of a fresh copy of the tracked files."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name, "headnod")
        try:
            copy(tracked(ROOT), ROOT, place)
        except RuntimeError as error:
            return unmeasured(_ENVIRONMENT, "MB", f"this is no git checkout ({error})")
        run([place / "scripts/setup", "device"], more={"HEADNOD_PYTHON": sys.executable, "PYTHONPATH": ""}, where=place)
        environment = place / ".venv"
        parts = {path.name: bytes_of(path) for path in next(environment.glob("lib/python*/site-packages")).iterdir()}
        total = bytes_of(environment)
    heaviest = sorted(parts, key=lambda part: -parts[part])[:8]
    return Row(
        _ENVIRONMENT,
        "MB",
        round(total / 1e6, 1),
        _SCRIPT_ENVIRONMENT_MB,
        "the script's requirements, measured with the targets",
        more={"heaviest_MB": {part: round(parts[part] / 1e6, 1) for part in heaviest}},
    )


def tracked(folder: Path) -> list[Path]:
    """Files that git tracks and that are there, as paths below the folder.

    Raises:
        RuntimeError: It is no checkout, or there is no git.
    """
    try:
        listed = run(["git", "-C", folder, "ls-files", "-z"], where=folder).output
    except OSError as error:
        message = f"git: {error.strerror}"
        raise RuntimeError(message) from error
    names = [Path(name) for name in listed.split("\0") if name]
    return [name for name in names if (folder / name).is_file()]


def copy(names: list[Path], source: Path, target: Path) -> None:
    """The same files in another folder."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name)


def bytes_of(path: Path) -> int:
    """Bytes that a file or a folder takes on the disk."""
    paths = [path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())]
    return sum(each.lstat().st_blocks * 512 for each in paths)
