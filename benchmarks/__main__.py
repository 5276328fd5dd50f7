"""`scripts/bench`: measure everything, or hold it to the budget."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.rows import Row

ROWS = tuple(f"P{number}" for number in range(1, 11))


def main(words: list[str] | None = None) -> int:
    """Run it; see --help."""
    options = _parser().parse_args(words)
    # A listener's settings in whoever calls this are no part of the measurement.
    for name in [name for name in os.environ if name.startswith("HEADNOD_")]:
        del os.environ[name]
    if options.budget:
        from benchmarks.budget import check  # noqa: PLC0415 - each measurement loads what it needs

        return check()
    wanted = tuple(options.rows.split(",")) if options.rows else ("P2",) if options.arm else ROWS
    if unknown := set(wanted) - set(ROWS):
        sys.stderr.write(f"bench: --rows: there is no {', '.join(sorted(unknown))} (choose from {','.join(ROWS)})\n")
        return 2
    told = measure(wanted, options)
    if options.arm:
        from benchmarks.rows_of_arm import whole  # noqa: PLC0415

        told["arm"] = whole()
    _print(told)
    if options.json:
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if options.write:
        from benchmarks.document import write  # noqa: PLC0415

        write(told)
    return 0


def measure(wanted: tuple[str, ...], options: argparse.Namespace) -> dict[str, Any]:
    """The rows by name, and the machine that they are of."""
    from benchmarks.machine import machine  # noqa: PLC0415

    where, found = machine(), {}
    for name, rows in _measurements(options):
        if not set(name.split()) & set(wanted):
            continue
        sys.stderr.write(f"bench: {name} ...\n")
        found.update(zip(name.split(), (row.as_json() for row in rows()), strict=True))
    ordered = {name: found[name] for name in ROWS if name in wanted}
    return {**ordered, "machine": where}


def _measurements(options: argparse.Namespace) -> list[tuple[str, Callable[[], tuple[Row, ...]]]]:
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
    return [
        ("P1", lambda: (rows_of_speed.window(20 if quick else 200),)),
        ("P2", lambda: (rows_of_arm.instructions(parts=not quick),)),
        ("P3", lambda: (rows_of_speed.first_estimate(3 if quick else 7),)),
        ("P4 P8", lambda: rows_of_daemon.daemon(15.0 if quick else 60.0)),
        ("P5 P7", lambda: rows_of_endurance.endurance(0.5 if quick else 8.5)),
        ("P6", lambda: (rows_of_size.models(),)),
        ("P9", lambda: (rows_of_size.installed(),)),
        ("P10", lambda: (rows_of_training.training(fit=options.fit),)),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures what headnod costs beside what it replaces; only ratios bear a busy machine.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there, by row")
    parser.add_argument("--rows", metavar="P1,P2", help="only these rows (default: all)")
    parser.add_argument("--quick", action="store_true", help="few windows, to see that it runs")
    parser.add_argument("--fit", action="store_true", help="time a few epochs of training too (P10)")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and its pictures")
    parser.add_argument("--budget", action="store_true", help="hold it to benchmarks/budget.toml, in a minute")
    parser.add_argument(
        "--arm", action="store_true",
        help="count AArch64 instructions, compare int8 scores and run the device's tests under emulation"
        " (as root; makes an emulated Debian in the user's cache: minutes)",
    )  # fmt: skip
    return parser


def _print(told: dict[str, Any]) -> None:
    for name, row in told.items():
        if name not in ROWS:
            continue
        numbers = [_number(row[key]) for key in ("ours", "baseline", "ratio")]
        sys.stdout.write(f"{name:4} {row['what']}\n     ours {numbers[0]} {row['unit']}")
        sys.stdout.write(f", {row['against']} {numbers[1]}: {numbers[2]} times\n" if row["baseline"] else "\n")
        for key, value in row["more"].items():
            sys.stdout.write(f"       {key}: {json.dumps(value)}\n")
    if "arm" in told:
        sys.stdout.write(f"arm  {json.dumps(told['arm'], indent=2)}\n")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
