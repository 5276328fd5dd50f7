"""A listener in a process of its own, whose JSON lines a test waits for, and what that process holds."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple, Self

from support.command_line import HEADNOD, PATIENCE

STARTING = PATIENCE


class Listening:
    """`headnod listen --json`, from its start to its end."""

    def __init__(self, *words: str, environment: Mapping[str, str], log: Path, stdin: IO[bytes] | None = None):
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*HEADNOD, "listen", "--json", *words],
                env=environment,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.pid, self._log = self.process.pid, log
        self._said: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._said.put({"at": time.monotonic(), **json.loads(line)})
        self._said.put(None)

    def until(self, wanted: Callable[[dict], bool], within: float = PATIENCE) -> dict:
        """The first thing it says that is wanted; `at` is the monotonic time when it was said."""
        return self.everything_until(wanted, within)[-1]

    def everything_until(self, wanted: Callable[[dict], bool], within: float = PATIENCE) -> list[dict]:
        deadline, said = time.monotonic() + within, []
        while not said or not wanted(said[-1]):
            left = deadline - time.monotonic()
            assert left > 0, f"not within {within:.1f} s; it said {said[-5:]}; its log: {self.log()}"
            with suppress(queue.Empty):
                each = self._said.get(timeout=left)
                assert each is not None, f"it ended; its log: {self.log()}"
                said.append(each)
        return said

    def clear(self) -> None:
        """Drop what was said and not yet looked at."""
        with suppress(queue.Empty):
            while True:
                self._said.get_nowait()

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def logged(self, text: str, within: float = PATIENCE) -> str:
        """Its log, as soon as it holds a text."""
        deadline = time.monotonic() + within
        while text not in self.log():
            assert time.monotonic() < deadline, f"'{text}' is not in its log: {self.log()}"
            assert self.process.poll() is None, f"it ended; its log: {self.log()}"
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        return self.log()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, within: float = PATIENCE) -> tuple[int, float]:
        """Its exit status, and how many seconds it took from now."""
        began = time.monotonic()
        return self.process.wait(within), time.monotonic() - began

    @property
    def capture(self) -> int:
        """The process that holds the microphone."""
        (child,) = children(self.pid)
        return child

    def settled(self) -> Held:
        """The least that it holds at five estimates to come: outputs open files for a moment."""
        self.clear()
        found = []
        for _ in range(5):
            self.until(is_estimate)
            found.append(held(self.pid))
        return Held(*map(min, zip(*found, strict=True)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for pid in [*children(self.pid), self.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self._reader.join(5.0)
        self.process.stdout.close()


class Held(NamedTuple):
    """What a process holds of the machine."""

    files: int
    threads: int
    mebibytes: float


def held(pid: int) -> Held:
    process = Path("/proc", str(pid))
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Held(len(list((process / "fd").iterdir())), int(status["Threads"]), int(status["VmRSS"].split()[0]) / 1024)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def waits_until(fact: Callable[[], bool], within: float = PATIENCE) -> bool:
    """Whether a fact comes true in time."""
    deadline, pause = time.monotonic() + within, threading.Event()
    while not (true := fact()) and time.monotonic() < deadline:
        pause.wait(0.02)
    return true


def is_estimate(said: dict) -> bool:
    return "genre" in said


def is_waiting(said: dict) -> bool:
    return said["state"] == "waiting_for_microphone"
