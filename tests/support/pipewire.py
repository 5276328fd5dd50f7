"""A PipeWire with one output and nobody behind it, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

NEEDED = ("pipewire", "wireplumber", "pw-cli", "pw-play", "pw-record", "dbus-run-session")
_SINK = (
    "{ factory.name=support.null-audio-sink node.name=speaker media.class=Audio/Sink object.linger=true "
    "audio.position=[FL FR] }"
)
_SERVERS = "pipewire & sleep 0.5; exec wireplumber"
_START = 20.0


def missing() -> str:
    """What is not installed, or nothing."""
    return ", ".join(program for program in NEEDED if shutil.which(program) is None)


class PipeWire:
    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        kept = {"PATH": os.environ["PATH"]}
        self.environment = kept | {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._start("dbus-run-session", "--", "sh", "-c", _SERVERS)
        deadline = time.monotonic() + _START
        while "speaker" not in self._ask("ls", "Node"):
            self._ask("create-node", "adapter", _SINK)
            assert time.monotonic() < deadline, "PipeWire did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            # A group of its own: the servers too.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def play(self, wav: Path) -> None:
        """Play a file."""
        self._start("pw-play", str(wav))

    def _start(self, *words: str) -> None:
        silent = subprocess.DEVNULL
        started = subprocess.Popen(
            words, env=self.environment, stdin=silent, stdout=silent, stderr=silent, start_new_session=True
        )
        self._processes.append(started)

    def _ask(self, *words: str) -> str:
        ended = subprocess.run(
            ["pw-cli", *words], env=self.environment, capture_output=True, text=True, timeout=_START, check=False
        )
        return ended.stdout
