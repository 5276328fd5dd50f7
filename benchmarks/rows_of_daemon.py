"""P4 and P8: memory and wake-ups of the whole daemon, its microphone's process and MQTT included."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.material import write_wav
from benchmarks.processes import family, proportional_memory, python, run, start, voluntary_switches, written
from benchmarks.rows import Row, unmeasured
from benchmarks.virtual_room import NotInstalledError, broker, ending, microphone

_SCRIPT_READS = 22_050 / 512
"""Reads a second that the script makes of its microphone."""

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
from headnod.runtime import interpreter
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
            there, hearing = stack.enter_context(microphone(folder))
        except NotInstalledError as error:
            return unmeasured("memory of the whole daemon", "MiB", str(error)), unmeasured(
                "wake-ups of the whole daemon", "a second", str(error)
            )
        there = {**there, "HEADNOD_MQTT__HOST": "127.0.0.1", "HEADNOD_MQTT__PORT": str(port), "STATE_DIRECTORY": name}
        words = [sys.executable, "-m", "headnod", "listen", "--audio", "mic", "--quiet"]
        program = stack.enter_context(ending(start(words, more=there)))
        _heard(port, 4)
        began, slept, wrote = time.monotonic(), _switches(program.pid), written(program.pid)
        _heard(port, max(round(seconds / 3.0), 1))
        passed = time.monotonic() - began
        processes = family(program.pid)
        memory = [proportional_memory(pid) for pid in processes]
        switches = [(after - before) / passed for before, after in zip(slept, _switches(program.pid), strict=True)]
        wrote = written(program.pid) - wrote
        script = _baseline(folder)
    memory_row = Row(
        "steady memory of the whole daemon, microphone's process and MQTT included (proportional set size)",
        "MiB",
        round(sum(memory), 1),
        round(script["script"], 1),
        "script path with its libraries and network",
        more={
            "microphone": hearing,
            "processes": [round(each, 1) for each in memory],
            "numpy_and_litert_alone": round(script["bare"], 1),
            "disk_bytes_per_window": round(wrote / (passed / 3.0), 1),
        },
    )
    wake_row = Row(
        "voluntary context switches of the whole daemon",
        "a second",
        round(sum(switches), 2),
        round(_SCRIPT_READS, 1),
        "the script's reads of its microphone alone",
        more={"seconds": round(passed, 1), "processes": [round(each, 2) for each in switches]},
    )
    return memory_row, wake_row


def _heard(port: int, count: int) -> None:
    """Wait until the broker was told so many estimates."""
    run(["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-t", "headnod/+/estimate", "-C", str(count)])


def _switches(pid: int) -> list[int]:
    return [voluntary_switches(each) for each in family(pid)]


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
