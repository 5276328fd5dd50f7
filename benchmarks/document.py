"""docs/performance.md and its pictures, from the figures of one run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT
from benchmarks.profile import findings
from benchmarks.reach import Verdict, verdicts
from benchmarks.words import among, number, plain, title, wrapped

FILE = ROOT / "docs" / "performance.md"
ROWS = tuple(f"P{count}" for count in range(1, 11))

_TEXT = """\
# Performance

`scripts/bench --write` measured every figure and wrote this page. There are three baselines. The **script path** is
what the well-known GTZAN listener script does for a window of 3 s (the mel spectrogram of librosa, then Keras `predict`
of a network of 104,294 parameters); the **fair path** is the same spectrogram and network as a float file in the
runtime that headnod uses; both are rebuilt from published facts. The third is **YAMNet** in TensorFlow Lite, which
other programs ship; it is measured where its file is present, in speed and in accuracy. Baselines and listener take
turns on one core (A B A B); times are medians of CPU time. A ratio above 1 is in favour of headnod. On x86, XNNPACK's
int8 kernels take 2.5 to 4 times as long without VNNI instructions; the processor's line says whether it has them.

{machine}

{table}

{pictures}

## Targets

{targets}

## What is missed, and why

{misses}

{small}

## What the profile says

{profile}

## Every figure

{details}
"""
_SMALL = Path(__file__).with_name("small.md")
_PICTURES = {
    "window.svg": "CPU time of a window of 3 s",
    "instructions.svg": "AArch64 instructions of a window of 3 s",
    "daemon.svg": "Start and memory",
    "growth.svg": "How imports and training grow with tracks",
}


def write(told: Mapping[str, Any], file: Path = FILE) -> None:
    """Write the page, its pictures, and the figures that both are of.

    Rows that this run did not measure stay as the run before left them; the page
    says of each which run it is of.
    """
    folder = file.with_suffix("")
    folder.mkdir(exist_ok=True)
    kept = folder / "figures.json"
    before = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    both = {**before, **told}
    rows = {name: both[name] for name in ROWS if name in both and "machine" in both[name]["more"]}
    kept.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    from benchmarks import pictures  # noqa: PLC0415 - matplotlib is heavy

    pictures.draw(rows, folder)
    file.write_text(page(rows, {name for name in _PICTURES if (folder / name).exists()}), encoding="utf-8")


def page(rows: Mapping[str, Any], drawn: set[str]) -> str:
    """The page of such rows, with the pictures that were drawn."""
    judged = verdicts(rows)
    return _TEXT.format(
        machine="\n\n".join(machines(rows)),
        table=_table(rows, judged),
        pictures="\n\n".join(f"![{text}](performance/{name})" for name, text in _PICTURES.items() if name in drawn),
        targets=_targets(judged),
        misses="\n".join(misses(rows, judged)) or "Nothing that was measured.",
        small=_SMALL.read_text(encoding="utf-8").rstrip(),
        profile="\n".join(
            wrapped(f"- **{name}.** {' '.join(said)}", "  ") for name, said in findings(rows).items() if said
        ),
        details=_details(rows),
    )


def machines(rows: Mapping[str, Any]) -> list[str]:
    """A paragraph for each run that rows are of."""
    runs: dict[str, list[str]] = {}
    loads: dict[str, list[float]] = {}
    for name, row in rows.items():
        found = {key: value for key, value in row["more"]["machine"].items() if key != "load"}
        text = "; ".join(f"{key} {value}" for key, value in found.items())
        runs.setdefault(text, []).append(name)
        loads.setdefault(text, []).append(row["more"]["machine"]["load"])
    told = []
    for text, names in runs.items():
        which = f"{among(names)} {'was' if len(names) == 1 else 'were'} measured on" if len(runs) > 1 else "Measured on"
        told.append(wrapped(f"{which} {text}. {_shared(loads[text])}"))
    return told


def _shared(loads: list[float]) -> str:
    least, most = f"{min(loads):.1f}", f"{max(loads):.1f}"
    span = f"The load was {least if least == most else f'{least} to {most}'} when that began"
    if max(loads) < 1.5:  # noqa: PLR2004 - one more than itself
        return f"{span}: nothing else to speak of ran on the machine."
    return f"{span}: other work shared the machine, which ratios bear, seconds less so."


def misses(rows: Mapping[str, Any], judged: list[Verdict]) -> list[str]:
    """A line for each row that misses targets: by how much, and what the profile says of it."""
    said, lines = findings(rows), []
    for name in rows:
        off = [each for each in judged if each.target.row == name and each.missed]
        if off:
            told = "; ".join(f"{title(each.target.what)}: {_short(each)}" for each in off)
            lines.append(wrapped(f"- **{name}**, {told}. {' '.join(said.get(name, []))}".rstrip(), "  "))
    return lines


def _short(each: Verdict) -> str:
    unit = f" {each.target.unit}".rstrip()
    return f"{number(each.value)}{unit} where {number(each.target.reach)}{unit} is asked ({each.short:.0%} off)"


def _table(rows: Mapping[str, Any], judged: list[Verdict]) -> str:
    lines = ["| | what | ours | against | ratio | reached |", "| --- | --- | --- | --- | --- | --- |"]
    for name, row in rows.items():
        known = [each for each in judged if each.target.row == name and each.value is not None]
        reached = f"{sum(not each.missed for each in known)} of {len(known)}" if known else "-"
        against = f"{number(row['baseline'])} ({row['against']})" if row["baseline"] else "-"
        for label, ours in _ours(name, row):
            ratio = row["baseline"] / ours if row["less_is_better"] and ours and row["baseline"] else row["ratio"]
            value = f"**{number(ours)} {row['unit']}**" if ours is not None else f"not measured: {_why(row)}"
            what = f"{row['what']}{label}"
            lines.append(f"| {name} | {what} | {value} | {against} | {f'{ratio:.1f}' if ratio else '-'} | {reached} |")
    return "\n".join(lines)


_OF_EACH_MODEL = {"P1": "median", "P2": "whole", "P6": "kB"}


def _ours(name: str, row: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """Our figure of a row: of each model where the row is of models."""
    if row["ours"] is None or name not in _OF_EACH_MODEL:
        return [("", row["ours"])]
    return [(f", `{model}`", found[_OF_EACH_MODEL[name]]) for model, found in row["more"]["models"].items()]


def _why(row: Mapping[str, Any]) -> str:
    return str(row["more"].get("unmeasured", "")).partition("\n")[0]


def _targets(judged: list[Verdict]) -> str:
    lines = ["| | figure | measured | reach | beyond | |", "| --- | --- | --- | --- | --- | --- |"]
    for each in judged:
        target, unit = each.target, f" {each.target.unit}".rstrip()
        sign = "≤" if target.less_is_better else "≥"
        beyond = f"{number(target.beyond)}{unit}" if target.beyond is not None else ""
        measured = f"{number(each.value)}{unit}" if each.value is not None else "-"
        how = "not measured" if each.value is None else "**missed**" if each.missed else "reached"
        how = "beyond" if each.beyond else how
        reach = f"{sign} {number(target.reach)}{unit}"
        lines.append(f"| {target.row} | {title(target.what)} | {measured} | {reach} | {beyond} | {how} |")
    return "\n".join(lines)


def _details(rows: Mapping[str, Any]) -> str:
    parts = []
    for name, row in rows.items():
        figures = {key: value for key, value in row["more"].items() if key != "machine"}
        lines = [wrapped(f"- {title(key)}: {plain(value)}", "  ") for key, value in figures.items() if value != {}]
        parts.append(f"**{name}**\n\n" + "\n".join(lines))
    return "\n\n".join(parts)
