"""`headnod-train explore`: what a collection looks like, before anything learns from it."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.cli.arguments import whole
from headnod_train.cli.command_options import add_data, say

_EXAMPLES = """\
examples:
  headnod-train explore --data mine.npz --out explored
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "explore",
        help="draw what a collection sounds like, and list suspicious labels",
        description="Draw what each genre of a log-mel archive sounds like: balance, lengths, loudness, mean spectra, "
        "MFCCs and their covariance, tracks as points, and a list of labels that look wrong.",
        epilog=_EXAMPLES,
    )
    add_data(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for index.html and pictures")
    parser.add_argument("--umap", action="store_true", help="draw a UMAP scatter too (needs umap-learn)")
    parser.add_argument("--seed", type=whole, default=1, help="seed of every random choice (default %(default)s)")
    parser.set_defaults(run=run, kept="pictures that were drawn are kept")


def run(options: argparse.Namespace, console: Console) -> None:
    """Explore, and name the page and the most suspicious labels."""
    from headnod_train.baselines.mfcc_summary import FRONT_END  # noqa: PLC0415
    from headnod_train.dataset.archive import read_archive  # noqa: PLC0415
    from headnod_train.explore.exploration import PAGE, explore  # noqa: PLC0415 - matplotlib and scikit-learn take seconds

    archive = read_archive(options.data, FRONT_END)
    found = explore(
        archive,
        options.out,
        data=options.data.name,
        with_umap=options.umap,
        seed=options.seed,
        console=console,
    )
    for opinion in [each for each in found if each.suspicious][:5]:
        console.print(
            f"{opinion.track}: labelled {opinion.genre}, sounds like {opinion.other}", markup=False, highlight=False
        )
    say(str(options.out / PAGE))
