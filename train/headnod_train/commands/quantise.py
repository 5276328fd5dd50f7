"""`headnod-train quantise`: make the int8 file of a run and calibrate it."""

from __future__ import annotations

import argparse

from rich.console import Console

from headnod_train.commands.options import add_data, add_run, say


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "quantise",
        help="make the int8 file of a run and calibrate it",
        description="Make the int8 file of a run and calibrate it.",
        allow_abbrev=False,
    )
    add_data(parser)
    add_run(parser, "folder that fit wrote")
    parser.set_defaults(run=run, kept="the run is as fit left it; quantise again")


def run(options: argparse.Namespace, console: Console) -> None:
    """Quantise, and say how large and how sure the network is."""
    from headnod_train.learn.quantise import quantise  # noqa: PLC0415
    from headnod_train.learn.run_folder import MODEL  # noqa: PLC0415

    made = quantise(options.folder, options.data, console=console)
    file = options.folder / MODEL
    say(
        f"{file}: {file.stat().st_size / 1000:.0f} kB, {made.multiply_adds / 1e6:.1f} M multiply-adds, "
        f"temperature {made.temperature:g}, certainty {made.certainty:g}"
    )
