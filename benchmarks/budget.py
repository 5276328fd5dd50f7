"""The budget: what CI holds every change to, in less than a minute."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import arm_root, rows_of_arm, rows_of_daemon, rows_of_size
from benchmarks.material import bundles, write_wav
from benchmarks.processes import python

FILE = Path(__file__).with_name("budget.toml")
_ESTIMATE = "import sys; from headnod.__main__ import main; main(sys.argv[1:]); print(len(sys.modules))"


def measured() -> dict[str, float]:
    """Every figure of the budget that can be had here, by name."""
    return {**_ratios(), **_start(), **_left_behind(), **_wakes(), **sizes(), **_counted()}


def _ratios() -> dict[str, float]:
    told = json.loads(python("-m", "benchmarks.ratios", "150").output)
    return {str(name): float(value) for name, value in told.items()}


def _start() -> dict[str, float]:
    numpy, ours, modules = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        wav = write_wav(Path(folder, "clip.wav"), 4.0)
        for _ in range(5):
            numpy.append(python("-c", "import numpy").cpu)
            ended = python("-c", _ESTIMATE, "listen", "--audio", wav, "--json", "--model", "genre")
            ours.append(ended.cpu)
            modules = int(ended.output.splitlines()[-1])
    return {
        "start by importing numpy": statistics.median(ours) / statistics.median(numpy),
        "modules loaded for a first estimate": modules,
    }


def _left_behind() -> dict[str, float]:
    told = json.loads(python("-m", "benchmarks.endurance", "1.0").output)
    return {
        "page faults a window": told["page_faults_per_window"],
        "allocated blocks a window": told["blocks_per_window"],
        "bytes of garbage a window": told["garbage_bytes_per_window"],
        "kilobytes held for a moment a window": told["passing_bytes"] / 1e3,
    }


def _wakes() -> dict[str, float]:
    return {"wake-ups a second of the daemon's own threads": rows_of_daemon.own_wakes(3)}


def sizes() -> dict[str, float]:
    """What each shipped model weighs and takes."""
    found = {}
    for name, folder in bundles().items():
        model = rows_of_size.model(folder)
        found[f"{name}: model file in kB"] = model["kB"]
        found[f"{name}: million multiply-adds"] = model["million_multiply_adds"]
        found[f"{name}: partitions of the delegate"] = model["delegate_partitions"]
    return found


def _counted() -> dict[str, float]:
    if not arm_root.there("bookworm"):
        return {}
    try:
        row = rows_of_arm.instructions(parts=False, only="genre")
    except arm_root.CannotEmulateError:
        return {}
    models: dict[str, Any] = row.more.get("models", {})
    name = "million AArch64 instructions of a window without its network"
    return {name: models["genre"]["front end and listener"]} if models else {}


def check(limits: Mapping[str, Mapping[str, Any]], found: Mapping[str, float], say: Callable[[str], object]) -> int:
    """Compare figures with their limits, and say a line of each.

    Args:
        limits: Name, `most` and `reason` of each, as in the budget's file.
        found: What was measured, by the same names.
        say: Is given text to print.

    Returns:
        0 if all keep their limits, 1 if one is over or has none.
    """
    status = 0
    for name, limit in limits.items():
        value = found.get(name)
        if value is None:
            say(f"  -     {name}: not measured here\n")
            continue
        kept = value <= limit["most"]
        status = status if kept else 1
        say(f"  {'ok' if kept else 'OVER':5} {name}: {value:.3g} of {limit['most']:g}\n")
        if not kept:
            say(f"        the limit is so because: {limit['reason']}\n")
    for name in found:
        if name not in limits:
            status = 1
            say(f"  ?     {name}: has no limit (write one into {FILE.name})\n")
    return status


def limits() -> dict[str, dict[str, Any]]:
    """What the budget's file says."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def main() -> int:
    """Measure, compare, and print."""
    return check(limits(), measured(), sys.stdout.write)
