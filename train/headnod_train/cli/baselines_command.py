"""`headnod-train baselines`: what the classical methods reach on the same split."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod_train.cli.arguments import whole
from headnod_train.cli.command_options import add_data, add_split, plain_console

if TYPE_CHECKING:
    from headnod.inference.model import GenreModel


_EXAMPLES = """\
examples:
  headnod-train baselines --data mine.npz --bundle models/mine-1.0.0 --out compared
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "baselines",
        help="what nearest neighbours, regression, support vectors and the script's network reach",
        description="What the classical methods reach on the same split as a bundle: k nearest neighbours, logistic "
        "regression and support vectors on the mean and covariance of MFCCs, and the well-known listener script's "
        "network. Their settings are chosen by cross-validation by artist inside the train side.",
        epilog=_EXAMPLES,
    )
    add_data(parser)
    add_split(parser)
    parser.add_argument(
        "--bundle", action="append", metavar="BUNDLE", help="model to measure beside them (default: those shipped)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the figures as JSON and as a picture")
    parser.add_argument(
        "--epochs", type=whole, default=12, help="of the script's network; 0 leaves it out (default %(default)s)"
    )
    parser.add_argument("--seed", type=whole, default=1, help="seed of every random choice (default %(default)s)")
    parser.add_argument("--jobs", type=whole, default=1, help="fits at a time; 0 for all cores (default %(default)s)")
    parser.set_defaults(run=run, kept="nothing was written")


def run(options: argparse.Namespace, console: Console) -> None:
    """Compare, and show a table."""
    from headnod_train.baselines.method_comparison import as_json, compare, table  # noqa: PLC0415
    from headnod_train.baselines.mfcc_summary import FRONT_END  # noqa: PLC0415
    from headnod_train.dataset.archive import read_archive  # noqa: PLC0415
    from headnod_train.dataset.split import refuse_leaks  # noqa: PLC0415

    archive = read_archive(options.data, FRONT_END)
    refuse_leaks(archive)
    found = compare(
        archive,
        data=options.data.name,
        split=options.split,
        bundles=_bundles(options, console),
        epochs=options.epochs,
        seed=options.seed,
        jobs=options.jobs or -1,
        console=console,
    )
    plain_console().print(table(found))
    if options.out is not None:
        from headnod_train.baselines.comparison_chart import draw  # noqa: PLC0415 - matplotlib takes a second
        from headnod_train.explore.plotting import write  # noqa: PLC0415

        options.out.mkdir(parents=True, exist_ok=True)
        write(options.out / "baselines.json", as_json(found))
        draw(found, options.out)


def _bundles(options: argparse.Namespace, console: Console) -> list[GenreModel]:
    """The models that were named, or those shipped ones whose genres and front end fit."""
    from headnod.inference.model import GenreModel  # noqa: PLC0415
    from headnod.resources import find_model, models  # noqa: PLC0415
    from headnod_train.dataset.archive import ArchiveError, read_archive  # noqa: PLC0415
    from headnod_train.evaluation.leakage import learned_from  # noqa: PLC0415

    fitting = []
    for folder in [find_model(bundle) for bundle in options.bundle] if options.bundle else models():
        model = GenreModel.load(folder)
        try:
            archive = read_archive(options.data, model.front_end)
            archive.subset(options.split).targets(model.labels)
        except ArchiveError as error:
            if options.bundle:
                raise
            reason = str(error)
        else:
            learned = learned_from(model.manifest, archive, data=options.data.name, split=options.split)
            if options.bundle or not learned:
                fitting.append(model)
                continue
            reason = f"it learned from {options.split} itself (name it with --bundle to see it all the same)"
        console.print(f"{model.manifest.id} is left out: {reason}", markup=False, highlight=False, soft_wrap=True)
    return fitting
