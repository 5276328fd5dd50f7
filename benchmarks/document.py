"""docs/performance.md and its pictures, from the figures of one run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.processes import ROOT

FILE = ROOT / "docs" / "performance.md"
PICTURES = FILE.with_suffix("")
_KEPT = FILE.with_suffix("") / "figures.json"
_OURS, _THEIRS = "#2a7f9e", "#b9b4a9"

_REACH = {
    "P1": "`genre` 60 x the script path and 3 x the fair path; `genre-small` 100 x and 6 x",
    "P2": "listener without its network 5 M; with `genre` 45 M, with `genre-small` 9 M",
    "P3": "25 x quicker, 0.35 s of CPU",
    "P4": "64 MiB",
    "P5": "no growth",
    "P6": "`genre` 500 kB and 40 M; `genre-small` 100 kB and 6 M",
    "P7": "100 x real time, no sample lost, p99.9 within 4 x median",
    "P8": "5 a second",
    "P9": "180 MB",
    "P10": "150 x real time a core, linear, two processes 1.7 x one",
}

_TEXT = """\
# Performance

Every figure here comes out of `scripts/bench --write`, which wrote this page too. Both baselines are rebuilt from their
published facts: the **script path** is what the well-known GTZAN listener script does for a window of 3 s (the mel
spectrogram of librosa, then Keras `predict` of a network of 104,294 parameters), and the **fair path** is the same
spectrogram and network as a float file in the runtime that headnod uses. They take turns with the listener on one core
(A B A B); times are medians of CPU time. A ratio says how many times better ours is. The machine was shared with other
work while this was measured: ratios bear that, seconds less so.

{machine}

{table}

![CPU time of a window of 3 s](performance/window.svg)

![AArch64 instructions of a window of 3 s](performance/instructions.svg)

![Start and memory](performance/daemon.svg)

## What stands behind the rows

{details}

## What the profile says

- **The transform is the floor.** Of the front end's time about half is numpy's FFT of the same frames, and no front end
  made of numpy can cost less. numpy takes its float32 transform only with a float32 factor, which a `forward` norm
  gives; without one it computes in double: half as fast, and up to five times slower where the C library gives the
  memory of every row back to the system (280 page faults a window were counted).
- **A library for the transform brings nothing.** The transforms of SciPy and FFTW of the same frames stand under P1:
  neither is quicker than numpy's own in float32, and SciPy alone would add more than 100 MB to a card.
- **The mel matrix is applied in blocks of eight bands.** It is nearly empty, and eight neighbours share their bins: the
  products cost a third of what sums over runs of bins cost, which is one call a band and frame.
- **A frame depends on no neighbour, to the bit.** Products and vectorised transforms round by how many rows they have,
  on AArch64 more than on x86-64; so full blocks are computed always, and what is left over is thrown away.
- **What float32 changed.** Against the double transform before it, on 306 windows of music: the same int8 scores on
  303; in the others one logit moved by one step of 1/256 of its range, and one tie fell the other way.
- **int8 scores on other processors.** XNNPACK comes to another last step on Arm than on x86-64 where an operator
  averages (`MEAN`, as global average pooling becomes) and, rarely, in dense and depthwise layers. Convolution,
  addition, concatenation, max-pool and average-pool agree to the bit.
- **Wake-ups.** Of 23 a second, 10 are of PulseAudio's thread, which stands in for hardware here (ALSA alone was
  not measured); 9 are of sound, which PortAudio gives by quarters of a second and which two processes handle; 3 are
  of MQTT.
  With sound by whole seconds there would be 7.
"""


def write(told: Mapping[str, Any]) -> None:
    """Write the page, its pictures, and the figures that both are of; rows that were not measured stay as they were."""
    PICTURES.mkdir(exist_ok=True)
    before = json.loads(_KEPT.read_text(encoding="utf-8")) if _KEPT.exists() else {}
    figures = {**before, **told}
    _KEPT.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    rows = {name: figures[name] for name in _REACH if name in figures}
    page = _TEXT.format(
        machine=_machine(figures["machine"]), table=_table(rows), details=_details(rows, figures.get("arm", {}))
    )
    FILE.write_text(page, encoding="utf-8")
    from benchmarks import pictures  # noqa: PLC0415 - matplotlib is heavy

    pictures.draw(rows, PICTURES)


def _machine(told: Mapping[str, str]) -> str:
    return "Measured on " + "; ".join(f"{name} {value}" for name, value in told.items()) + "."


def _table(rows: Mapping[str, Any]) -> str:
    lines = ["| | what | ours | against | ratio | to reach |", "| --- | --- | --- | --- | --- | --- |"]
    for name, row in rows.items():
        against = f"{_number(row['baseline'])} ({row['against']})" if row["baseline"] else "-"
        ours = f"**{_number(row['ours'])} {row['unit']}**" if row["ours"] is not None else "not measured"
        ratio = f"{row['ratio']:.1f}" if row["ratio"] else "-"
        lines.append(f"| {name} | {row['what']} | {ours} | {against} | {ratio} | {_REACH[name]} |")
    return "\n".join(lines)


def _details(rows: Mapping[str, Any], arm: Mapping[str, Any]) -> str:
    parts = []
    for name, row in rows.items():
        lines = [f"- {key.replace('_', ' ')}: {_plain(value)}" for key, value in row["more"].items()]
        parts.append(f"**{name}**\n\n" + "\n".join(lines))
    for release, found in arm.items():
        parts.append(f"**AArch64, {release}**\n\n" + "\n".join(f"- {key}: {_plain(found[key])}" for key in found))
    return "\n\n".join(parts)


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - where commas help


def colours(names: list[str]) -> list[str]:
    """Ours stand out."""
    return [_THEIRS if "path" in name or "script" in name else _OURS for name in names]
