"""P1 and P3: CPU time of a window, and of a start."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import yamnet
from benchmarks.material import bundles, write_wav
from benchmarks.processes import python, start
from benchmarks.rows import Row

_NETWORK = "from benchmarks.script_path import network; import sys; network().save(sys.argv[1])"


def window(count: int) -> Row:
    """P1: CPU time of a window of 3 s, and accuracy beside YAMNet where its file and the clips are here."""
    right, theirs = yamnet.accuracy(), yamnet.NAME
    told = _last_json(python("-m", "benchmarks.speed", str(count)).output)
    paths = told["paths"]
    models = {
        name: {
            **paths[name],
            "times quicker than the script path": round(paths["script"]["median"] / paths[name]["median"], 1),
            "times quicker than the fair path": round(paths["fair"]["median"] / paths[name]["median"], 1),
            **({"times quicker than YAMNet": round(paths["yamnet"]["median"] / paths[name]["median"], 1)}
               if "yamnet" in paths else {}),
            **({"points of clips over YAMNet": round(100.0 * (right[name]["clips"] - right[theirs]["clips"]), 1)}
               if {name, theirs} <= right.keys() else {}),
            "whole listener": paths[f"{name}, whole listener"],
        }
        for name in bundles()
    }  # fmt: skip
    return Row(
        "CPU time of a window of 3 s: features, int8 network and smoothing",
        "ms",
        paths["genre"]["median"],
        paths["script"]["median"],
        "script path (librosa and Keras)",
        more={
            "windows": told["windows"],
            "models": models,
            "script": paths["script"],
            "fair": paths["fair"],
            **({"yamnet": paths["yamnet"]} if "yamnet" in paths else {}),
            "right on clips": right,
            "front_ends": told["front_ends"],
            "networks": told["networks"],
        },
    )


def _last_json(output: str) -> dict[str, Any]:
    # TensorFlow talks on stdout while it converts.
    return dict(json.loads(output[output.rindex('{"windows"') :]))


def first_estimate(turns: int) -> Row:
    """P3: from the start of a process to its first estimate of a WAV file."""
    with tempfile.TemporaryDirectory() as folder:
        wav, network = write_wav(Path(folder, "clip.wav"), 4.0), Path(folder, "script.keras")
        python("-c", _NETWORK, network)
        ours = ("-m", "headnod", "listen", "--audio", str(wav), "--json", "--model", "genre")
        script = ("-m", "benchmarks.script_path", str(wav), str(network))
        taken: dict[str, list[tuple[float, float]]] = {"ours": [], "script": []}
        for _ in range(turns):
            taken["ours"].append(_to_first_line(ours))
            taken["script"].append(_to_first_line(script))
        steps = _steps(turns, ours)
    wall = {name: statistics.median(each[0] for each in times) for name, times in taken.items()}
    cpu = {name: statistics.median(each[1] for each in times) for name, times in taken.items()}
    return Row(
        "process start to the first estimate of a WAV file",
        "s",
        round(wall["ours"], 3),
        round(wall["script"], 3),
        "script path, with its network loaded from a file",
        more={
            "starts": turns,
            "cpu_s": {name: round(seconds, 3) for name, seconds in cpu.items()},
            "cpu_s_by_step": steps,
        },
    )


def _steps(turns: int, ours: tuple[str, ...]) -> dict[str, float]:
    """CPU seconds that each step of a start adds to those before it."""
    load = (
        f"from pathlib import Path; from headnod import GenreModel; GenreModel.load(Path({str(bundles()['genre'])!r}))"
    )
    programs = {
        "Python itself": ("-c", "pass"),
        "numpy": ("-c", "import numpy"),
        "headnod": ("-c", "import headnod.pipeline.listener, headnod.inference.model"),
        "the model with its runtime": ("-c", load),
        "the command and a window": ours,
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(turns):
        for name, words in programs.items():
            taken[name].append(python(*words).cpu)
    whole = [statistics.median(seconds) for seconds in taken.values()]
    return {name: round(cpu - before, 3) for name, cpu, before in zip(taken, whole, [0.0, *whole], strict=False)}


def _to_first_line(words: tuple[str, ...]) -> tuple[float, float]:
    """Seconds to the first line of output, and of CPU until the end."""
    began = time.monotonic()
    program = start([sys.executable, *words], heard=True)
    assert program.stdout is not None  # noqa: S101 - asked for
    line = program.stdout.readline()
    wall = time.monotonic() - began
    program.stdout.read()
    _, status, usage = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    program.stdout.close()
    if not line or program.returncode:
        message = f"{' '.join(words)} ended with {program.returncode} and said '{line}'"
        raise RuntimeError(message)
    return wall, usage.ru_utime + usage.ru_stime
