"""`headnod-train fit`: train a network."""

from __future__ import annotations

import argparse

from rich.console import Console

from headnod_train.arguments import coefficients, positive, whole
from headnod_train.commands.options import add_data, add_run, say


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "fit",
        help="train a network on a log-mel archive",
        description="Train a network on a log-mel archive.",
        allow_abbrev=False,
    )
    add_data(parser)
    add_run(parser, "folder to write; a former run in it is replaced")
    parser.add_argument(
        "--epochs", type=positive, default=70, help="passes over the training tracks (default %(default)s)"
    )
    parser.add_argument("--seed", type=whole, default=1, help="seed of every random choice (default %(default)s)")
    parser.add_argument("--n-mfcc", type=coefficients, default=64, help="coefficients a frame (default %(default)s)")
    parser.set_defaults(run=run, kept="every finished epoch is kept in the run folder and can be quantised")


def run(options: argparse.Namespace, console: Console) -> None:
    """Fit, and name the run folder."""
    from headnod.frontend import FrontEnd  # noqa: PLC0415
    from headnod_train.learn.augment import Augmentation  # noqa: PLC0415
    from headnod_train.learn.fit import fit  # noqa: PLC0415

    fit(
        options.data,
        options.folder,
        epochs=options.epochs,
        seed=options.seed,
        front_end=FrontEnd(n_mfcc=options.n_mfcc),
        augmentation=Augmentation(),
        console=console,
    )
    say(str(options.folder))
