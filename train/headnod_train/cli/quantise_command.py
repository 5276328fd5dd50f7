"""`headnod-train quantise`: make the int8 file of a run and calibrate it."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.cli.command_options import add_data, add_run, plain_console, say

_EXAMPLES = """\
examples:
  headnod-train quantise --data mine.npz --run runs/first
  headnod-train quantise --data mine.npz --run runs/whole --sibling runs/first
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "quantise",
        help="make the int8 file of a run and calibrate it",
        description="Make the int8 file of a run and calibrate it.",
        epilog=_EXAMPLES,
    )
    add_data(parser)
    add_run(parser, "folder that fit wrote")
    parser.add_argument(
        "--sibling",
        type=Path,
        metavar="RUN",
        help="take temperature and certainty from this run of the same recipe that learned from fewer tracks",
    )
    parser.add_argument("--losses", action="store_true", help="also tell what each form and each layer loses")
    parser.set_defaults(run=run, kept="the run is as fit left it; quantise again")


def run(options: argparse.Namespace, console: Console) -> None:
    """Quantise, and say how large and how sure the network is."""
    from headnod_train.training.quantise import quantisation_report, quantise  # noqa: PLC0415
    from headnod_train.training.run_folder import MODEL  # noqa: PLC0415

    made = quantise(options.folder, options.data, sibling=options.sibling, console=console)
    file = options.folder / MODEL
    say(
        f"{file}: {file.stat().st_size / 1000:.0f} kB, {made.multiply_adds / 1e6:.1f} M multiply-adds, "
        f"temperature {made.temperature:g}, certainty {made.certainty:g}"
    )
    if options.quantisation_report:
        from headnod_train.training.quantisation_tables import quantisation_tables  # noqa: PLC0415

        for table in quantisation_tables(quantisation_report(options.folder, options.data, console=console)):
            plain_console().print(table)
