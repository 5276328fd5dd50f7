"""Commands that make a bundle: fit, quantise and pack."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod_train.cli.command_options import (
    add_data,
    add_run,
    add_split,
    bending,
    coefficients,
    fold,
    folds,
    positive,
    rate,
    seeds,
)
from headnod_train.cli.evaluate_command import add_sounds, sounds_of
from headnod_train.console import plain_console, print_result

if TYPE_CHECKING:
    from headnod_train.training.run_folder import TrainingSettings

_FIT_EXAMPLES = """\
examples:
  headnod-train fit --data mine.npz --run runs/first
  headnod-train fit --data mine.npz --run runs/first --resume
  headnod-train fit --data mine.npz --run runs/first --resume --epochs 80
  headnod-train fit --data mine.npz --run runs/three --seed 1,2,3 --width 12
  headnod-train fit --data mine.npz --run runs/cross --folds 5 --start genre-small --rate 0.0005
  headnod-train fit --data mine.npz --run runs/again --recipe runs/first/recipe.toml
"""


def add_fit(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `fit`."""
    parser = subparsers.add_parser(
        "fit",
        help="train a network on a log-mel archive",
        description="Train a network on a log-mel archive.",
        epilog=_FIT_EXAMPLES,
    )
    add_data(parser)
    add_run(parser, "folder to write")
    parser.add_argument("--tags", type=Path, metavar="FILE", help="also train on a tagger's output (from 'tag')")
    parser.add_argument(
        "--not-music", type=Path, metavar="ARCHIVE", help='train an output for "not music" with this archive'
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="also train on the scores of this run (repeatable)",
    )
    parser.add_argument(
        "--sides",
        metavar="NAME[,NAME]",
        help="splits of the archive to train on (train)",
    )
    parser.add_argument("--fold", type=fold, metavar="K/N", help="validate on the K-th of N folds by artist")
    parser.add_argument(
        "--folds", type=folds, metavar="N", help="train once for each of N folds, in folders fold-K, and print the mean"
    )
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="settings from the recipe.toml of a run; options here go first"
    )
    parser.add_argument(
        "--start", metavar="BUNDLE", help="start from the weights of a bundle, such as genre-small; labels may differ"
    )
    parser.add_argument(
        "--balance", action="store_true", default=None, help="show each genre equally, however many tracks it has"
    )
    parser.add_argument("--batch", type=positive, help="windows in a step (64)")
    parser.add_argument("--rate", type=rate, help="highest learning rate (0.002)")
    parser.add_argument("--decay", type=rate, help="weight decay (0.05)")
    parser.add_argument(
        "--epochs", type=positive, help="passes over the training tracks (50); more with --resume extend"
    )
    parser.add_argument(
        "--patience", type=positive, metavar="N", help="stop after N epochs without improvement, and keep the best one"
    )
    parser.add_argument(
        "--width",
        type=positive,
        help="channels of the first convolution: 12 for a small network (24)",
    )
    parser.add_argument(
        "--seed",
        type=seeds,
        metavar="N[,N]",
        help="seed of every random choice; several train as many networks, each in its folder seed-N (default 1)",
    )
    parser.add_argument(
        "--augment",
        type=bending,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="strength of an augmentation, such as rooms=0.5, mixup=0 or noise=20,60 (repeatable)",
    )
    parser.add_argument("--n-mfcc", type=coefficients, help="coefficients per frame (64)")
    parser.add_argument("--resume", action="store_true", help="continue the run in the folder")
    parser.add_argument("--replace", "--force", action="store_true", dest="force", help="replace the run in the folder")
    parser.add_argument("--tensorboard", action="store_true", help="write figures for TensorBoard into the run folder")
    parser.set_defaults(run=run_fit, kept="every finished epoch is kept in the run folder: continue with --resume")


def run_fit(options: argparse.Namespace, console: Console) -> None:
    """Fit a network for each seed or fold, and name the run folders."""
    from dataclasses import replace

    from headnod.features.frontend import FrontEnd
    from headnod_train.training.fit import fit
    from headnod_train.training.recipe_file import RecipeFile, read_recipe
    from headnod_train.training.run_folder import refuse_former, spread
    from headnod_train.training.soft_labels import ExtraTargets

    recipe = read_recipe(options.recipe) if options.recipe else RecipeFile()
    runs = list(_runs(options, recipe.settings))
    if not (options.resume or options.force):
        for folder, _ in runs:
            refuse_former(folder)
    for folder, settings in runs:
        fit(
            options.data,
            folder,
            settings,
            front_end=FrontEnd(n_mfcc=options.n_mfcc or recipe.n_mfcc),
            augmentation=replace(recipe.augmentation, **dict(options.augment)),
            lessons=ExtraTargets(options.tags, options.not_music, tuple(options.teacher)),
            resume=options.resume,
            force=options.force,
            tensorboard=options.tensorboard,
            console=console,
        )
        print_result(str(folder))
    if len(runs) > 1:
        print_result(spread([folder for folder, _ in runs], "folds" if options.folds else "seeds"))


def _runs(options: argparse.Namespace, usual: TrainingSettings) -> Iterator[tuple[Path, TrainingSettings]]:
    """Folder and settings of each training: options first, then the recipe's."""
    from msgspec.structs import replace

    from headnod_train.training.run_folder import RunError

    names = ("epochs", "batch", "rate", "decay", "width", "fold", "patience", "balance", "start")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    settings = replace(usual, **given)
    if options.sides:
        settings = replace(settings, sides=tuple(options.sides.split(",")))
    several = options.seed or [settings.seed]
    if options.folds is None:
        for seed in several:
            folder = options.folder if len(several) == 1 else options.folder / f"seed-{seed}"
            yield folder, replace(settings, seed=seed)
        return
    if len(several) > 1 or options.fold:
        message = "--folds trains on every fold with one seed (leave out --fold, and name one --seed)"
        raise RunError(message)
    for place in range(1, options.folds + 1):
        yield options.folder / f"fold-{place}", replace(settings, seed=several[0], fold=(place, options.folds))


_QUANTISE_EXAMPLES = """\
examples:
  headnod-train quantise --data mine.npz --run runs/first
  headnod-train quantise --data mine.npz --run runs/whole --sibling runs/first
"""


def add_quantise(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `quantise`."""
    parser = subparsers.add_parser(
        "quantise",
        help="make the int8 file of a run and calibrate it",
        description="Make the int8 file of a run and calibrate it.",
        epilog=_QUANTISE_EXAMPLES,
    )
    add_data(parser)
    add_run(parser, "folder written by fit")
    parser.add_argument(
        "--sibling",
        type=Path,
        metavar="RUN",
        help="take temperature and threshold from this run of the same recipe that was trained on fewer tracks",
    )
    parser.add_argument("--losses", action="store_true", help="also measure the loss of each format and each layer")
    parser.set_defaults(run=run_quantise, kept="the run is unchanged; quantise again")


def run_quantise(options: argparse.Namespace, console: Console) -> None:
    """Quantise, and print size, temperature and threshold."""
    from headnod_train.training.quantise import quantisation_report, quantise
    from headnod_train.training.run_folder import MODEL

    made = quantise(options.folder, options.data, sibling=options.sibling, console=console)
    file = options.folder / MODEL
    print_result(
        f"{file}: {file.stat().st_size / 1000:.0f} kB, {made.multiply_adds / 1e6:.1f} M multiply-adds, "
        f"temperature {made.temperature:g}, threshold {made.certainty:g}"
    )
    if options.losses:
        from headnod_train.training.quantise import quantisation_tables

        for table in quantisation_tables(quantisation_report(options.folder, options.data, console=console)):
            plain_console().print(table)


_PACK_EXAMPLES = """\
examples:
  headnod-train pack --data mine.npz --run runs/first --name mine --version 1.0.0 --collection mine --licence own
"""


def add_pack(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `pack`."""
    parser = subparsers.add_parser(
        "pack",
        help="measure a quantised run and write its bundle",
        description="Measure a quantised run and write its bundle.",
        epilog=_PACK_EXAMPLES,
    )
    add_data(parser)
    add_run(parser, "folder completed by quantise")
    add_split(parser)
    parser.add_argument("--name", default="genre", help="name of the model (default %(default)s)")
    parser.add_argument("--version", required=True, metavar="X.Y.Z", help="version of the model")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="folder of bundles (default %(default)s)"
    )
    parser.add_argument(
        "--collection", default="gtzan", help="collection that the network was trained on (default %(default)s)"
    )
    parser.add_argument("--licence", metavar="TEXT", help="licence of a collection other than gtzan")
    parser.add_argument(
        "--measured",
        type=Path,
        metavar="FILE",
        help="figures of a sibling ('evaluate --json'), for a run that was trained on all tracks",
    )
    add_sounds(parser)
    parser.add_argument("--replace", action="store_true", help="replace a bundle of that name and version")
    parser.set_defaults(run=run_pack, kept="no bundle was written")


def run_pack(options: argparse.Namespace, console: Console) -> None:
    """Pack, show what was measured, and name the bundle."""
    from headnod_train.evaluation.conditions import CONDITIONS
    from headnod_train.evaluation.results import load
    from headnod_train.evaluation.tables import tables
    from headnod_train.packaging.pack import pack
    from headnod_train.packaging.provenance import dataset_info

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
    print_result(str(folder))
