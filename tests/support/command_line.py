"""The program as a person runs it: a process of its own, in surroundings of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import soundfile

from headnod.features.frontend import Audio
from support.signals import RATE

HEADNOD = (sys.executable, "-m", "headnod")
PATIENCE = 120.0
"""Seconds after which a program counts as hung, on a busy machine too."""
PROMPT = 15.0
"""Seconds in which a busy machine does what takes an idle one two at most; what hangs takes longer or never ends."""


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    """An environment without this machine's own configuration, locks and locale."""
    configuration = folder / "headnod.toml"
    if not configuration.exists():
        configuration.write_text("")
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "HEADNOD_CONFIG": str(configuration), **more}


def run(
    *words: str | Path, environment: Mapping[str, str], stdin: bytes = b"", patience: float = PATIENCE
) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    command = [*HEADNOD, *map(str, words)]
    ended = subprocess.run(command, env=environment, input=stdin, capture_output=True, timeout=patience, check=False)
    out, log = (stream.decode(errors="surrogateescape") for stream in (ended.stdout, ended.stderr))
    return subprocess.CompletedProcess(command, ended.returncode, out, log)


def write(path: Path, audio: Audio, rate: int = RATE) -> Path:
    soundfile.write(path, audio, rate)
    return path


def json_lines(ended: subprocess.CompletedProcess[str]) -> list[dict]:
    """The JSON lines that it printed."""
    return [json.loads(line) for line in ended.stdout.splitlines()]


def fault(ended: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The one line that it says of a fault."""
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == status
    return line
