"""P4 and P8: memory and wake-ups of the whole daemon, its microphone's process and MQTT included."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.material import write_wav
from benchmarks.processes import (
    ending,
    family,
    proportional_memory,
    python,
    run,
    start,
    voluntary_switches,
    written,
)
from benchmarks.rows import Row, unmeasured
from benchmarks.virtual_room import NotInstalledError, broker, commanded, microphone

_SCRIPT_READS = 22_050 / 512
"""Reads a second that the script makes of its microphone."""

_MEMORY = "steady memory of the whole daemon, microphone's process and MQTT included (proportional set size)"
_WAKES = "voluntary context switches of the whole daemon"
_STARTING = 60

_Counts = dict[str, dict[str, int]]
"""Switches so far, by process and thread."""

_SCRIPT = """
import sys, time
import pyaudio, librosa, keras, numpy as np
from benchmarks.script_path import spectrogram
network = keras.models.load_model(sys.argv[2])
audio, _ = librosa.load(sys.argv[1], sr=22_050, duration=3.0)
for _ in range(5):
    network.predict(spectrogram(audio), verbose=0)
print("ready", flush=True)
time.sleep(600)
"""
_BARE = """
import sys, time
import numpy as np
from headnod.inference.model import interpreter
made = interpreter(open(sys.argv[1], "rb").read())
made.invoke()
print("ready", flush=True)
time.sleep(600)
"""
_SAVE = "from benchmarks.script_path import network; import sys; network().save(sys.argv[1])"


def daemon(seconds: float) -> tuple[Row, Row]:
    """P4 and P8 from one daemon that is watched for so long."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        try:
            port = stack.enter_context(broker(folder))
        except NotInstalledError as error:
            return unmeasured(_MEMORY, "MiB", str(error)), unmeasured(_WAKES, "a second", str(error))
        there, hearing = stack.enter_context(microphone(folder))
        there = {**there, "HEADNOD_MQTT__HOST": "127.0.0.1", "HEADNOD_MQTT__PORT": str(port), "STATE_DIRECTORY": name}
        words = [sys.executable, "-m", "headnod", "listen", "--audio", "mic", "--quiet"]
        program = stack.enter_context(ending(start(words, more=there)))
        _heard(port, 4)
        began, slept, wrote = time.monotonic(), _switches(program.pid), written(program.pid)
        _heard(port, max(round(seconds / 3.0), 1))
        passed = time.monotonic() - began
        memory = {name: round(proportional_memory(pid), 1) for name, pid in family(program.pid).items()}
        switches = shares(slept, _switches(program.pid), passed)
        disk = round((written(program.pid) - wrote) / (passed / 3.0), 1)
        script = _baseline(folder)
    whole = sum(sum(threads.values()) for threads in switches.values())
    memory_row = Row(
        _MEMORY,
        "MiB",
        round(sum(memory.values()), 1),
        round(script["script"], 1),
        "script path with its libraries and network",
        more={
            "microphone": hearing,
            "processes": memory,
            "numpy_and_litert_alone": round(script["bare"], 1),
            "disk_bytes_per_window": disk,
        },
    )
    wake_row = Row(
        _WAKES,
        "a second",
        round(whole, 2),
        round(_SCRIPT_READS, 1),
        "the script's reads of its microphone alone",
        more={
            "microphone": hearing,
            "seconds": round(passed, 1),
            "processes": switches,
        },
    )
    return memory_row, wake_row


def own_wakes(estimates: int) -> float:
    """Voluntary context switches a second of a daemon without MQTT."""
    with tempfile.TemporaryDirectory() as name:
        there = {**commanded(Path(name)), "STATE_DIRECTORY": name}
        words = [sys.executable, "-m", "headnod", "listen", "--audio", "mic", "--json"]
        with ending(start(words, more=there, heard=True)) as program:
            _said(program, 1)
            began, slept = time.monotonic(), voluntary_switches(program.pid)
            _said(program, estimates)
            passed = time.monotonic() - began
            return sum(shares({"": slept}, {"": voluntary_switches(program.pid)}, passed)[""].values())


def _said(program: subprocess.Popen[str], count: int) -> None:
    assert program.stdout is not None  # noqa: S101 - asked for
    for _ in range(count):
        line = program.stdout.readline()
        if '"genre"' not in line:
            message = f"the daemon did not hear what it was to hear: {line or 'it ended'}"
            raise RuntimeError(message)


def shares(before: _Counts, after: _Counts, seconds: float) -> dict[str, dict[str, float]]:
    """Voluntary context switches a second, by process and thread; a thread that is new began at 0."""
    return {
        process: {
            thread: round((count - before.get(process, {}).get(thread, 0)) / seconds, 2)
            for thread, count in threads.items()
        }
        for process, threads in after.items()
    }


def _heard(port: int, count: int) -> None:
    """Wait until the broker was told so many estimates."""
    patience = ("-W", str(_STARTING + 6 * count))
    run(["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-t", "headnod/+/estimate", "-C", str(count), *patience])


def _switches(pid: int) -> _Counts:
    return {name: voluntary_switches(each) for name, each in family(pid).items()}


def _baseline(folder: Path) -> dict[str, float]:
    """Memory of the script path, and of numpy and LiteRT with a network and nothing else."""
    from benchmarks.material import bundles  # noqa: PLC0415 - loads headnod, which this process has no need of before

    wav, network = write_wav(folder / "clip.wav", 4.0), folder / "script.keras"
    python("-c", _SAVE, network)
    asked = {
        "script": ["-c", _SCRIPT, str(wav), str(network)],
        "bare": ["-c", _BARE, str(bundles()["genre"] / "model.tflite")],
    }
    found = {}
    for name, words in asked.items():
        with ending(start([sys.executable, *words], heard=True)) as program:
            assert program.stdout is not None  # noqa: S101 - asked for
            if not program.stdout.readline():
                message = f"the {name} baseline did not start"
                raise RuntimeError(message)
            found[name] = proportional_memory(program.pid)
    return found
