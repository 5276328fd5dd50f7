"""Commands that make a bundle: teach, fit, quantise and pack."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod.cli.parser import add_config
from headnod.escaping import printable
from headnod_train.cli.command_options import (
    SIGNING_KEY,
    add_data,
    add_key,
    add_passphrase_file,
    add_run,
    add_split,
    augmentation_strength,
    coefficients,
    excerpt_seconds,
    fold,
    folds,
    jobs,
    positive,
    rate,
    seeds,
)
from headnod_train.cli.evaluate_command import add_sounds, sounds_of
from headnod_train.console import plain_console, print_line, print_result

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from headnod.teaching.corrections import LabelledEmbeddings
    from headnod_train.report import Figure, Theme
    from headnod_train.teaching.teaching_report import Figures
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
    parser.add_argument("--sides", metavar="NAME[,NAME]", help="splits of the archive to train on (train)")
    parser.add_argument("--fold", type=fold, metavar="K/N", help="validate on the K-th of N folds by artist")
    parser.add_argument(
        "--folds", type=folds, metavar="N", help="train once for each of N folds, in folders fold-K, and print the mean"
    )
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="settings from the recipe.toml of a run; options override them"
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
    parser.add_argument("--width", type=positive, help="channels of the first convolution: 12 for a small network (24)")
    parser.add_argument(
        "--seed",
        type=seeds,
        metavar="N[,N]",
        help="seed of every random choice; several train as many networks, each in its folder seed-N (default 1)",
    )
    parser.add_argument(
        "--augment",
        type=augmentation_strength,
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
    from headnod_train.training.archive_batches import ExtraTargets
    from headnod_train.training.fit import fit
    from headnod_train.training.provenance import RecipeFile, read_recipe
    from headnod_train.training.run_folder import refuse_former, spread

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
    """Folder and settings of each training; options take precedence over the recipe."""
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
        raise RunError("--folds trains on every fold with one seed (leave out --fold, and name one --seed)")
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
    from headnod_train.deploy.pack import pack
    from headnod_train.evaluation.conditions import CONDITIONS
    from headnod_train.evaluation.results import load
    from headnod_train.evaluation.tables import tables
    from headnod_train.training.provenance import dataset_info

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


_TEACH_EXAMPLES = """\
examples:
  headnod-train teach ~/Music/by-genre --name mine
  headnod-train teach ~/Music --labels tags --name mine --rename "Hip-Hop=Rap"
  headnod-train teach ~/Music/cumbia-and-salsa --name ours --add
  headnod-train teach ~/Music/by-genre --name mine --fine-tune
  headnod-train teach --corrections songs.npz --name ours
  headnod-train teach --corrections mqtt://broker.lan/kitchen --name ours
  headnod models install models/mine-1.0.0.bundle     (on the listener)
"""


def add_teach(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "teach",
        help="make a model for your own genres from a few songs of each",
        description="Fit the last layer of a shipped model to a folder of music, measure it on music it was not "
        "fitted to, and write a bundle, signed if there is a key. Ten songs of each genre are a good start.",
        epilog=_TEACH_EXAMPLES,
    )
    parser.add_argument("music", type=Path, nargs="?", metavar="MUSIC", help="folder of music")
    parser.add_argument(
        "--corrections",
        metavar="FILE",
        help="instead of a folder: corrections that were made on the page of a listener ('headnod corrections export "
        "FILE' there), or mqtt://[USER@]HOST/NODE to request them by MQTT",
    )
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--version", metavar="X.Y.Z", help="version of the model (1.0.0, then 2.0.0 and so on)")
    parser.add_argument(
        "--labels",
        choices=("folders", "tags"),
        default="folders",
        help="genres are folders, with folders of artists in them, or the genre and artist tags of the files (folders)",
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename a genre; equal new names join genres (repeatable)",
    )
    parser.add_argument("--add", action="store_true", help="keep the genres of the base model and add the new ones")
    parser.add_argument(
        "--fine-tune",
        action="store_true",
        help="for 100 tracks and more: also train a copy of the layer before the last, and write that network if it "
        "is better by more than chance",
    )
    parser.add_argument("--anyway", action="store_true", help="write the fine-tuned network even if it is not better")
    parser.add_argument("--base", default="genre", metavar="BUNDLE", help="model to start from (default %(default)s)")
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="folder of bundles (default %(default)s)"
    )
    parser.add_argument("--licence", default="", metavar="TEXT", help="licence of the music, for the card")
    parser.add_argument(
        "--seconds",
        type=excerpt_seconds,
        default=60.0,
        metavar="S",
        help="length of the excerpt of each file, which begins after its intro (default 60)",
    )
    parser.add_argument("--jobs", type=jobs, metavar="N", help="processes (all cores)")
    parser.add_argument("--replace", action="store_true", help="replace a bundle of that name and version")
    add_config(parser)
    add_key(parser)
    add_passphrase_file(parser)
    parser.set_defaults(run=run_teach, kept="no bundle was written", key=None)


def run_teach(options: argparse.Namespace, console: Console) -> None:
    """Teach, show figures, and name the bundle."""
    import os

    from headnod.resources import find_model
    from headnod.teaching.last_layer import TeachError
    from headnod_train.deploy.signing import load, passphrase_from
    from headnod_train.teaching.teach import next_version, teach, teach_corrections
    from headnod_train.teaching.teaching_report import remarks, tables

    place = options.key or (SIGNING_KEY if SIGNING_KEY.exists() else None)
    key = None if place is None else load(place, lambda: passphrase_from(options.passphrase_file))
    version = options.version or next_version(options.models, options.name)
    if (options.music is None) == (options.corrections is None):
        raise TeachError("give either a folder of music or --corrections FILE")
    if (options.anyway and not options.fine_tune) or (options.fine_tune and options.corrections is not None):
        raise TeachError("--fine-tune is for a folder of music, and --anyway for --fine-tune")
    if options.corrections is not None:
        folder, lines = teach_corrections(
            _corrections(options, console),
            printable(options.corrections),
            options.models,
            name=options.name,
            version=version,
            base=find_model(options.base),
            replace_former=options.replace,
        )
        for line in lines:
            print_line(console, line)
        _finish(folder, key, console)
        return
    folder, figures = teach(
        options.music,
        options.models,
        name=options.name,
        version=version,
        base=find_model(options.base),
        add=options.add,
        fine_tuning="no" if not options.fine_tune else "always" if options.anyway else "if better",
        labels=options.labels,
        renames=options.rename,
        licence=options.licence,
        seconds=options.seconds,
        jobs=options.jobs or len(os.sched_getaffinity(0)),
        replace_former=options.replace,
        console=console,
    )
    for table in tables(figures):
        plain_console().print(table)
    for remark in remarks(figures):
        print_line(console, remark)
    _draw(folder, figures, console)
    _finish(folder, key, console)


def _draw(folder: Path, figures: Figures, console: Console) -> None:
    """Draw the confusion matrix beside the bundle."""
    from headnod_train.evaluation.evaluation_report import confusion_matrix
    from headnod_train.report import letters_without_glyphs, save_png

    def draw(theme: Theme) -> Figure:
        return confusion_matrix(theme, figures.labels, figures.confusion)

    picture = folder.parent / save_png(folder.parent, f"{folder.name}-confusion", draw)
    print_line(console, f"{picture}: which labels are confused")
    if lacking := letters_without_glyphs(figures.labels):
        print_line(console, f"no font has {lacking}: these letters are boxes in the picture")


def _corrections(options: argparse.Namespace, console: Console) -> LabelledEmbeddings:
    """Corrections of a file or of a listener."""
    from headnod.teaching.correction_commands import read_corrections

    if "://" not in options.corrections:
        return read_corrections(Path(options.corrections)).windows
    from headnod.cli.parser import load_config
    from headnod.factory.mqtt_factory import broker, topics
    from headnod_train.teaching.listener_corrections import fetch, split_url

    section = split_url(options.corrections, load_config(options).config.mqtt)
    found, left_out = fetch(broker(section, client_id=f"headnod.teach-{secrets.token_hex(4)}"), topics(section))
    console.print(f"{len(found.labels)} windows of {len(set(found.groups.tolist()))} corrections received")
    if left_out:
        console.print(f"left out: {left_out} corrections that were made with another network")
    return found


def _finish(folder: Path, key: Ed25519PrivateKey | None, console: Console) -> None:
    """Sign and pack the bundle if there is a key, and name the result."""
    from headnod_train.deploy.signing import sign

    if key is not None:
        signed = sign(folder, key)
        print_result(f"{signed.path}: {signed.manifest.id}, {len(signed.content)} bytes, signed")
        return
    print_result(str(folder))
    print_line(console, f"not signed: make a key once with 'headnod-train keygen', then 'headnod-train sign {folder}'")
