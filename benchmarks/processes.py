"""Programs that are started to be measured: the one place that starts any."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

_PATIENCE, _ENDING = 1800.0, 15.0


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


def run(
    words: Sequence[str | Path],
    *,
    more: Mapping[str, str] | None = None,
    where: Path = ROOT,
    patience: float = _PATIENCE,
) -> Ended:
    """Run a program to its end; whatever interrupts this ends it too, with all that it started.

    Args:
        words: The program and its arguments.
        more: Further variables of its environment.
        where: The folder that it runs in.
        patience: Seconds after which it is given up.

    Raises:
        RuntimeError: It failed; the message has the end of what it said.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with _started(words, more or {}, where, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        try:
            said, complaint = program.communicate(timeout=patience)
        except subprocess.TimeoutExpired as error:
            message = f"{_named(words)} was not done after {patience:.0f} s"
            raise RuntimeError(message) from error
        finally:
            end(program)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if program.returncode:
        message = f"{_named(words)} failed ({program.returncode}): {(complaint or said)[-2000:].strip()}"
        raise RuntimeError(message)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ended(said, wall, cpu)


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
    said = subprocess.PIPE if heard else subprocess.DEVNULL
    return _started(words, more or {}, ROOT, stdout=said, stderr=subprocess.DEVNULL)


def _started(
    words: Sequence[str | Path], more: Mapping[str, str], where: Path, *, stdout: int, stderr: int
) -> subprocess.Popen[str]:
    # In a session of its own: Ctrl-C reaches the benchmark alone, which ends what it started in order.
    return subprocess.Popen(  # noqa: S603 - words of this package
        [str(word) for word in words],
        env=environment(**more),
        cwd=where,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


def end(program: subprocess.Popen[str], *, patience: float = _ENDING) -> None:
    """End a program and whatever it started: politely, and after some seconds by force."""
    if program.poll() is None:
        program.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(patience)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    for stream in (program.stdout, program.stderr):
        if stream is not None:
            stream.close()


@contextlib.contextmanager
def ending(program: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A program that ends when it is no longer needed."""
    try:
        yield program
    finally:
        end(program)


def _named(words: Sequence[str | Path]) -> str:
    return " ".join(str(word) for word in words[:4])


def family(pid: int) -> dict[str, int]:
    """A process and all that it started, by what each runs."""
    found: dict[str, int] = {}
    for each in _descent(pid):
        found[_free(_called(each), found)] = each
    return found


def _descent(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            yield from _descent(int(child))


def _called(pid: int) -> str:
    """The module, the script or the program, in a word."""
    words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").split("\0")[:-1]
    if words[1:2] == ["-m"]:
        return words[2]
    scripts = [word for word in words if word.endswith(".py")]
    return Path((scripts or words or [f"process {pid}"])[0]).stem


def _free(name: str, taken: Container[str]) -> str:
    """The name, or with the next number that is not taken."""
    return next(each for each in (name, *(f"{name} {count}" for count in range(2, 1000))) if each not in taken)


def proportional_memory(pid: int) -> float:
    """Proportional set size of one process, in MiB: shared pages count in parts."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None  # noqa: S101 - Linux writes it
    return int(found[1]) / 1024.0


def voluntary_switches(pid: int) -> dict[str, int]:
    """How often each thread of a process went to sleep of itself so far, by the name that the thread has."""
    found: dict[str, int] = {}
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name)):
        name = (task / "comm").read_text(encoding="utf-8").strip()
        status = (task / "status").read_text(encoding="utf-8")
        count = int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
        found[_free(f"{name} (main)" if task.name == str(pid) else name, found)] = count
    return found


def written(pid: int) -> int:
    """Bytes that a process caused to be written to disk so far."""
    text = Path(f"/proc/{pid}/io").read_text(encoding="ascii")
    return int(text.partition("\nwrite_bytes: ")[2].split()[0])
