"""`headnod-train evaluate`: measure a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.commands.options import add_data, add_split


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a bundle on music of known genre",
        description="Measure a bundle on music of known genre.",
        allow_abbrev=False,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model, such as models/genre-0.1.0")
    add_data(parser)
    add_split(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write the figures and confusion pictures")
    parser.set_defaults(run=run, kept="nothing was written")


def run(options: argparse.Namespace, console: Console) -> None:
    """Evaluate, and show a table."""
    from headnod.model import GenreModel  # noqa: PLC0415
    from headnod_train.archive import read_archive  # noqa: PLC0415
    from headnod_train.measure.evaluate import evaluate, save, table  # noqa: PLC0415
    from headnod_train.split import refuse_leaks  # noqa: PLC0415

    model = GenreModel.load(options.bundle)
    archive = read_archive(options.data, model.front_end)
    refuse_leaks(archive)
    found = evaluate(model, archive, data=options.data.name, split=options.split, console=console)
    Console().print(table(found))
    if options.json is not None:
        save(found, options.json)
    if options.report is not None:
        from headnod_train.measure.pictures import draw_confusion  # noqa: PLC0415 - matplotlib takes a second

        options.report.mkdir(parents=True, exist_ok=True)
        save(found, options.report / "evaluation.json")
        draw_confusion(found, options.report)
