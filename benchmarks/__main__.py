"""`scripts/bench`: measure everything, or hold it to the budget."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.document import FILE, ROWS
from benchmarks.machine import machine
from benchmarks.rows import Row, unmeasured
from benchmarks.words import number

Measurement = tuple[str, Callable[[], tuple[Row, ...]]]
"""Names of rows with a space between, and what gives them."""

_JSON = """\
The JSON is an object with the rows' names as keys (P1 ... P10) and nothing else. Each row has the numbers `ours`,
`baseline` and `ratio` (how many times better ours is), each null where there is none, and `unit`; `what` and `against`
say in words what both are, and `more` has every further figure, with the machine and its load when the row began under
`machine` and what --arm finds under `arm` of P2.
"""


def main(
    words: list[str] | None = None, measurements: Callable[[argparse.Namespace], list[Measurement]] | None = None
) -> int:
    """Run it; see --help.

    Returns:
        0, or 1 if something failed or is over the budget, 2 for usage, 130 after Ctrl-C.
    """
    options = _parser().parse_args(words)
    # Settings of a listener in whoever calls this are no part of the measurement, and an installed one has byte code.
    for name in [name for name in os.environ if name.startswith("HEADNOD_") or name == "PYTHONDONTWRITEBYTECODE"]:
        del os.environ[name]
    former = signal.signal(signal.SIGTERM, _stopped)
    try:
        return _run(options, measurements or _measurements)
    except KeyboardInterrupt:
        sys.stderr.write("bench: stopped; what it had started is ended, and nothing was written\n")
        return 130
    finally:
        signal.signal(signal.SIGTERM, former)


def _run(options: argparse.Namespace, measurements: Callable[[argparse.Namespace], list[Measurement]]) -> int:
    if options.budget:
        from benchmarks.budget import main as budget  # noqa: PLC0415 - each measurement loads what it needs

        return budget()
    wanted = wanted_rows(options)
    if unknown := [name for name in wanted if name not in ROWS]:
        sys.stderr.write(f"bench: --rows: there is no {', '.join(unknown)} (choose from {','.join(ROWS)})\n")
        return 2
    # An hour of measuring must not end at a door that was locked all the time.
    for name, path in (("--json", options.json), ("--write", FILE if options.write else None)):
        if path is not None and (complaint := unwritable(path)):
            sys.stderr.write(f"bench: {name}: {path}: {complaint}\n")
            return 2
    told, failed = measure(wanted, measurements(options))
    _print(told)
    if options.json:
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if options.write:
        from benchmarks.document import write  # noqa: PLC0415

        write(told)
    return 1 if failed else 0


def wanted_rows(options: argparse.Namespace) -> list[str]:
    """The rows that were asked for: by name, by what needs them, or all."""
    named = [name.strip() for name in options.rows.split(",")] if options.rows else []
    if options.arm:
        named += ["P2"]
    return named or list(ROWS)


def unwritable(path: Path) -> str:
    """Why a file cannot be written, or nothing; a file that was not there is not there after."""
    before = path.exists()
    try:
        with path.open("a", encoding="utf-8"):
            pass
        if not before:
            path.unlink()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def measure(wanted: Iterable[str], measurements: list[Measurement]) -> tuple[dict[str, Any], bool]:
    """The rows by name, each with the machine that it is of; and whether something failed.

    What fails is told at once, and its rows say so: the others are measured all the same.
    """
    found, failed, asked = {}, False, set(wanted)
    for name, measured in measurements:
        names = name.split()
        if not asked & set(names):
            continue
        sys.stderr.write(f"bench: {name} ...\n")
        where = machine()
        try:
            rows = measured()
        except (RuntimeError, OSError) as error:
            sys.stderr.write(f"bench: {name} failed: {error}\n")
            rows, failed = tuple(unmeasured(each, "", f"failed: {error}") for each in names), True
        for each, row in zip(names, rows, strict=True):
            if "unmeasured" in row.more:
                sys.stderr.write(f"bench: {each} is not measured: {row.more['unmeasured']}\n")
            found[each] = row.as_json()
            found[each]["more"]["machine"] = where
    return {name: found[name] for name in ROWS if name in found and name in asked}, failed


def _measurements(options: argparse.Namespace) -> list[Measurement]:
    """What gives which rows, each imported when it runs."""
    from benchmarks import (  # noqa: PLC0415
        rows_of_arm,
        rows_of_daemon,
        rows_of_endurance,
        rows_of_size,
        rows_of_speed,
        rows_of_training,
    )

    quick = options.quick

    def instructions() -> tuple[Row]:
        row = rows_of_arm.instructions(parts=not quick)
        if options.arm and row.ours is not None:
            try:
                row.more["arm"] = rows_of_arm.whole()
            except RuntimeError as error:
                sys.stderr.write(f"bench: --arm failed: {error}\n")
                row.more["arm_failed"] = str(error)
        return (row,)

    return [
        ("P1", lambda: (rows_of_speed.window(20 if quick else 200),)),
        ("P2", instructions),
        ("P3", lambda: (rows_of_speed.first_estimate(3 if quick else 9),)),
        ("P4 P8", lambda: rows_of_daemon.daemon(15.0 if quick else 120.0)),
        # 300 windows are let pass before growth is counted: 10,000 remain.
        ("P5 P7", lambda: rows_of_endurance.endurance(0.5 if quick else 8.6)),
        ("P6", lambda: (rows_of_size.models(),)),
        ("P9", lambda: (rows_of_size.installed(),)),
        (
            "P10",
            lambda: (rows_of_training.training(4 if quick else 32, epochs=3 if quick else 4, turns=1 if quick else 2),),
        ),
    ]


def _stopped(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures what headnod costs beside what it replaces; only ratios bear a busy machine.",
        epilog=_JSON,
        allow_abbrev=False,
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there, by row")
    parser.add_argument("--rows", metavar="P1,P2", help="only these rows (default: all)")
    parser.add_argument("--quick", action="store_true", help="few windows and tracks, to see that it runs: minutes")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its pictures")
    parser.add_argument("--budget", action="store_true", help="hold it to benchmarks/budget.toml, in a minute")
    parser.add_argument(
        "--arm", action="store_true",
        help="count AArch64 instructions (P2), compare int8 scores and run the device's tests under emulation"
        " (as root; makes an emulated Debian in the user's cache: minutes)",
    )  # fmt: skip
    return parser


def _print(told: dict[str, Any]) -> None:
    for name, row in told.items():
        sys.stdout.write(f"{name:4} {row['what']}\n     ours {number(row['ours'])} {row['unit']}")
        if row["baseline"] is not None:
            ratio = f": {number(row['ratio'])} times" if row["ratio"] is not None else ""
            sys.stdout.write(f", {row['against']} {number(row['baseline'])}{ratio}")
        sys.stdout.write("\n")
        for key, value in row["more"].items():
            sys.stdout.write(f"       {key}: {json.dumps(value)}\n")


if __name__ == "__main__":
    sys.exit(main())
