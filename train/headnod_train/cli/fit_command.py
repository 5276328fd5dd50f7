"""`headnod-train fit`: train a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.cli.arguments import bending, coefficients, fold, positive, seeds
from headnod_train.cli.command_options import add_data, add_run, say

_EXAMPLES = """\
examples:
  headnod-train fit --data mine.npz --run runs/first
  headnod-train fit --data mine.npz --run runs/first --resume
  headnod-train fit --data mine.npz --run runs/three --seed 1,2,3 --width 12
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "fit",
        help="train a network on a log-mel archive",
        description="Train a network on a log-mel archive.",
        epilog=_EXAMPLES,
    )
    add_data(parser)
    add_run(parser, "folder to write")
    parser.add_argument("--tags", type=Path, metavar="FILE", help="learn a tagger's answers too (from 'tag')")
    parser.add_argument("--not-music", type=Path, metavar="ARCHIVE", help="learn what is no music from this archive")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="learn from a former run too (repeatable)",
    )
    parser.add_argument(
        "--sides",
        default="train",
        metavar="NAME[,NAME]",
        help="sides of the archive to learn from (default %(default)s)",
    )
    parser.add_argument("--fold", type=fold, metavar="K/N", help="leave out and watch the K-th of N folds by artist")
    parser.add_argument(
        "--epochs", type=positive, default=50, help="passes over the training tracks (default %(default)s)"
    )
    parser.add_argument(
        "--patience", type=positive, metavar="N", help="stop after N epochs without a rise, and keep the best one"
    )
    parser.add_argument(
        "--width",
        type=positive,
        default=24,
        help="channels of the first convolution: 12 for a small network (default %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=seeds,
        default=[1],
        metavar="N[,N]",
        help="seed of every random choice; several train as many networks, each in its folder seed-N (default 1)",
    )
    parser.add_argument(
        "--augment",
        type=bending,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="bend windows otherwise, such as rooms=0.5, mixup=0 or noise=20,60 (repeatable)",
    )
    parser.add_argument("--n-mfcc", type=coefficients, default=64, help="coefficients a frame (default %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on where the run in the folder stopped")
    parser.add_argument("--force", action="store_true", help="replace a run that the folder holds")
    parser.add_argument("--tensorboard", action="store_true", help="write figures for TensorBoard into the run folder")
    parser.set_defaults(run=run, kept="every finished epoch is kept in the run folder: go on with --resume")


def run(options: argparse.Namespace, console: Console) -> None:
    """Fit a network for each seed, and name the run folders."""
    from headnod.features.frontend import FrontEnd  # noqa: PLC0415
    from headnod_train.training.augment import MelAugmentation  # noqa: PLC0415
    from headnod_train.training.fit import fit  # noqa: PLC0415
    from headnod_train.training.run_folder import TrainingSettings, refuse_former, spread  # noqa: PLC0415
    from headnod_train.training.training_targets import ExtraTargets  # noqa: PLC0415

    folders = [options.folder] if len(options.seed) == 1 else [options.folder / f"seed-{seed}" for seed in options.seed]
    if not (options.resume or options.force):
        for folder in folders:
            refuse_former(folder)
    for seed, folder in zip(options.seed, folders, strict=True):
        fit(
            options.data,
            folder,
            TrainingSettings(
                epochs=options.epochs,
                width=options.width,
                seed=seed,
                sides=tuple(options.sides.split(",")),
                fold=options.fold,
                patience=options.patience,
            ),
            front_end=FrontEnd(n_mfcc=options.n_mfcc),
            augmentation=MelAugmentation(**dict(options.augment)),
            lessons=ExtraTargets(options.tags, options.not_music, tuple(options.teacher)),
            resume=options.resume,
            force=options.force,
            tensorboard=options.tensorboard,
            console=console,
        )
        say(str(folder))
    if len(folders) > 1:
        say(spread(folders))
