"""`headnod-train pack`: measure a quantised run and write its bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.cli.command_options import add_data, add_run, add_split, plain_console, say
from headnod_train.cli.evaluate_command import add_sounds, sounds_of

_EXAMPLES = """\
examples:
  headnod-train pack --data mine.npz --run runs/first --name mine --version 1.0.0 --collection mine --licence own
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "pack",
        help="measure a quantised run and write its bundle",
        description="Measure a quantised run and write its bundle.",
        epilog=_EXAMPLES,
    )
    add_data(parser)
    add_run(parser, "folder that quantise completed")
    add_split(parser)
    parser.add_argument("--name", default="genre", help="what the model is called (default %(default)s)")
    parser.add_argument("--version", required=True, metavar="X.Y.Z", help="version of the model")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="folder of bundles (default %(default)s)"
    )
    parser.add_argument("--collection", default="gtzan", help="what the network learned from (default %(default)s)")
    parser.add_argument("--licence", metavar="TEXT", help="licence of a collection other than gtzan")
    parser.add_argument(
        "--measured",
        type=Path,
        metavar="FILE",
        help="figures of a sibling ('evaluate --json'): for a run that learned from all music there is",
    )
    add_sounds(parser)
    parser.add_argument("--replace", action="store_true", help="a bundle of that name and version may be replaced")
    parser.set_defaults(run=run, kept="no bundle was written")


def run(options: argparse.Namespace, console: Console) -> None:
    """Pack, show what was measured, and name the bundle."""
    from headnod_train.evaluation.conditions import CONDITIONS  # noqa: PLC0415
    from headnod_train.evaluation.result_tables import tables  # noqa: PLC0415
    from headnod_train.evaluation.results import load  # noqa: PLC0415
    from headnod_train.packaging.dataset_info import dataset_info  # noqa: PLC0415
    from headnod_train.packaging.pack import pack  # noqa: PLC0415

    folder, found = pack(
        options.folder,
        options.data,
        options.models,
        name=options.name,
        version=options.version,
        collection=dataset_info(options.collection, options.licence),
        split=options.split,
        replace=options.replace,
        conditions=CONDITIONS,
        sounds=sounds_of(options),
        sibling=load(options.measured) if options.measured else None,
        console=console,
    )
    for table in tables(found):
        plain_console().print(table)
    say(str(folder))
