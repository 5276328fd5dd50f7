"""Programs that are started to be measured: the one place that starts any."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

_PATIENCE = 1800.0


@dataclass(frozen=True)
class Ended:
    """What a program took."""

    output: str
    """Its standard output."""

    wall: float
    """Seconds from its start to its end."""

    cpu: float
    """Seconds of all cores together, its children's included."""


def environment(**more: str) -> dict[str, str]:
    """The environment with headnod in it, as if it were installed."""
    path = os.pathsep.join([str(ROOT / "device"), str(ROOT / "train"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", **more}


def run(words: Sequence[str | Path], *, more: Mapping[str, str] | None = None) -> Ended:
    """Run a program to its end.

    Raises:
        RuntimeError: It failed; the message has the end of what it said.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ended = subprocess.run(  # noqa: S603 - words of this package
        [str(word) for word in words],
        env=environment(**(more or {})),
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
        timeout=_PATIENCE,
    )
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        message = f"{words[0]} failed ({ended.returncode}): {(ended.stderr or ended.stdout)[-2000:]}"
        raise RuntimeError(message)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ended(ended.stdout, wall, cpu)


def python(*words: str | Path, **more: str) -> Ended:
    """Run this Python to its end."""
    return run([sys.executable, *words], more=more)


def start(
    words: Sequence[str | Path], *, more: Mapping[str, str] | None = None, heard: bool = False
) -> subprocess.Popen[str]:
    """Start a program that will be watched while it runs.

    Args:
        words: The program and its arguments.
        more: Further variables of its environment.
        heard: What it prints is wanted.
    """
    return subprocess.Popen(  # noqa: S603 - words of this package
        [str(word) for word in words],
        env=environment(**(more or {})),
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE if heard else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found += family(int(child))
    return found


def proportional_memory(pid: int) -> float:
    """Proportional set size of one process, in MiB: shared pages count in parts."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None  # noqa: S101 - Linux writes it
    return int(found[1]) / 1024.0


def voluntary_switches(pid: int) -> int:
    """How often the threads of a process went to sleep of themselves so far."""
    text = "".join(status.read_text(encoding="utf-8") for status in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(count) for count in re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE))


def written(pid: int) -> int:
    """Bytes that a process caused to be written to disk so far."""
    text = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    return int(text.partition("\nwrite_bytes: ")[2].split()[0])
