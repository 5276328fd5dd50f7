"""Commands that make and inspect datasets: import, explore, play and baselines."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod_train.cli.command_options import (
    add_data,
    add_split,
    add_wheel,
    excerpt_seconds,
    jobs,
    positive,
    share,
    whole,
)
from headnod_train.console import plain_console, print_line, print_result

if TYPE_CHECKING:
    from headnod.inference.model import GenreModel
    from headnod_train.dataset.archive import Archive
    from headnod_train.explore.baselines import MethodResult

_LAYOUTS = ("gtzan", "fma", "folders", "csv", "logmel")


_IMPORT_EXAMPLES = """\
examples:
  headnod-train import ~/Music/by-genre --out mine.npz --valid 0.2
  headnod-train import ~/Music/by-genre --out mine.npz --rename Unknown=Various
  headnod-train import list.csv --out mine.npz
  headnod-train import one.npz other.npz --out both.npz --valid 0.15 --test 0.15
"""


def add_import(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `import`."""
    parser = subparsers.add_parser(
        "import",
        help="make a log-mel archive of a music collection",
        description="Make a log-mel archive of a music collection. Files that cannot be read are named and left out; "
        "an import that was stopped continues where it was.",
        epilog=_IMPORT_EXAMPLES,
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="folder of music, CSV, or log-mel archives to join"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="ARCHIVE", help="npz file to write")
    parser.add_argument("--layout", choices=_LAYOUTS, help="layout of the folder (default: recognised by its files)")
    parser.add_argument(
        "--seconds",
        type=excerpt_seconds,
        default=30.0,
        metavar="S",
        help="length of the excerpt from the middle of each track (default 30)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--jobs", type=jobs, metavar="N", help="processes (all cores)")
    where.add_argument("--dask", metavar="tcp://HOST:PORT", help="decode the files on a Dask cluster instead")
    parser.add_argument("--valid", type=share, metavar="SHARE", help="share of the valid split (0.15)")
    parser.add_argument("--test", type=share, metavar="SHARE", help="share of the test split (0.15)")
    parser.add_argument("--seed", type=whole, default=1, help="seed of the split (default %(default)s)")
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename a genre; equal new names join genres (repeatable)",
    )
    parser.add_argument(
        "--front-end",
        metavar="BUNDLE",
        help="make it for this model: genre, genre-small or the folder of a bundle (default: what 'fit' trains)",
    )
    parser.add_argument("--lists", type=Path, metavar="DIR", help="lists that assign tracks to splits")
    parser.add_argument(
        "--leaky",
        action="store_true",
        help="random split of 3 s segments, as in many scripts; every figure of it is too good, and labelled",
    )
    parser.set_defaults(
        run=partial(_checked_import, parser), kept="extracted tracks are kept; the same command continues"
    )


def _checked_import(parser: argparse.ArgumentParser, options: argparse.Namespace, console: Console) -> None:
    chosen = options.leaky or options.valid is not None or options.test is not None
    if options.lists is not None and chosen:
        parser.error("--lists assigns every track to a split: not with --valid, --test or --leaky")
    if (options.valid or 0.0) + (options.test or 0.0) >= 1.0:
        parser.error("--valid and --test leave no tracks to train on")
    if options.out.suffix != ".npz":
        parser.error(f"--out: '{options.out}' does not end with .npz")
    run_import(options, console)


def run_import(options: argparse.Namespace, console: Console) -> None:
    """Import, and print a table."""
    import os

    from headnod.features.frontend import FrontEnd
    from headnod.inference.manifest import read_manifest
    from headnod.resources import find_model
    from headnod_train.dataset import extraction
    from headnod_train.dataset.importing import SplitShares, import_music, remarks, summary_table

    front_end, given = FrontEnd(), (options.valid, options.test)
    if options.front_end is not None:
        front_end = read_manifest(find_model(options.front_end)).front_end
    shares = None
    if options.leaky or given != (None, None):
        valid, test = ((0.0 if share is None else share) if given != (None, None) else 0.15 for share in given)
        shares = SplitShares(valid, test, options.seed, options.leaky)
    if options.dask is not None:
        extract_all = partial(extraction.extract_on_cluster, address=options.dask)
    else:
        extract_all = partial(extraction.extract_all, jobs=options.jobs or len(os.sched_getaffinity(0)))
    archive, collection = import_music(
        options.sources,
        options.out,
        layout=options.layout,
        seconds=options.seconds,
        front_end=front_end,
        extract_all=extract_all,
        shares=shares,
        lists=options.lists,
        renames=options.rename,
        console=console,
    )
    for remark in remarks(archive, collection, front_end):
        print_line(console, remark)
    plain_console().print(summary_table(archive, collection, front_end))
    print_result(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


_EXPLORE_EXAMPLES = """\
examples:
  headnod-train explore --data mine.npz --out explored
  headnod-train explore --data mine.npz --out explored --audio ~/Music/by-genre --run runs/first
"""


def add_explore(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `explore`."""
    parser = subparsers.add_parser(
        "explore",
        help="draw figures of a collection, and list suspicious labels",
        description="Draw figures of each genre of a log-mel archive: balance, lengths, loudness, mean spectra, MFCCs "
        "and their covariance, tracks as points, and a list of labels that look wrong.",
        epilog=_EXPLORE_EXAMPLES,
    )
    add_data(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for index.html and figures")
    parser.add_argument(
        "--audio",
        type=Path,
        metavar="DIR",
        help="folder of the audio files: the page plays doubtful places and examples",
    )
    parser.add_argument("--run", type=Path, metavar="DIR", dest="folder", help="draw the history of this training, too")
    parser.add_argument("--umap", action="store_true", help="draw a UMAP scatter too (needs umap-learn)")
    parser.add_argument("--seed", type=whole, default=1, help="seed of every random choice (default %(default)s)")
    parser.set_defaults(run=run_explore, kept="figures that were drawn are kept")


def run_explore(options: argparse.Namespace, console: Console) -> None:
    """Explore, and print the page and the most suspicious labels."""
    from headnod_train.dataset.archive import read_archive
    from headnod_train.explore.classical import FRONT_END
    from headnod_train.explore.exploration import PAGE, explore

    archive = read_archive(options.data, FRONT_END)
    found = explore(
        archive,
        options.out,
        data=options.data.name,
        with_umap=options.umap,
        seed=options.seed,
        music=options.audio,
        run=options.folder,
        console=console,
    )
    for opinion in [each for each in found if each.suspicious][:5]:
        print_line(console, f"{opinion.track}: labelled {opinion.genre}, looks like {opinion.other}")
    print_result(str(options.out / PAGE))


_BASELINES_EXAMPLES = """\
examples:
  headnod-train baselines --data mine.npz --bundle models/mine-1.0.0 --out compared
  headnod-train baselines --data gtzan.npz --clips audio --tags tags.npz --yamnet yamnet.tflite --classes yamnet.csv
"""


def add_baselines(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `baselines`."""
    parser = subparsers.add_parser(
        "baselines",
        help="evaluate classical methods, the script's network, and published networks on clips",
        description="Evaluate other methods on the same split as a bundle: k nearest neighbours, logistic regression "
        "and support vectors on the mean and covariance of MFCCs, and the GTZAN script's network. Their settings are "
        "chosen by cross-validation by artist inside the train split. With --clips also, on audio: YAMNet (--yamnet, "
        "--classes) and the MusiCNN tagger with logistic regression (--tags).",
        epilog=_BASELINES_EXAMPLES,
    )
    add_data(parser)
    add_split(parser)
    parser.add_argument(
        "--bundle", action="append", metavar="BUNDLE", help="model to compare with (default: those shipped)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the figures as JSON and as a chart")
    parser.add_argument(
        "--epochs",
        type=whole,
        default=40,
        help="largest number of epochs of the script's network, 0 leaves it out; the number is chosen on a third of "
        "the train split (default %(default)s)",
    )
    parser.add_argument("--clips", type=Path, metavar="DIR", help="audio files with the names of tracks of the split")
    parser.add_argument("--yamnet", type=Path, metavar="FILE", help="with --clips: YAMNet as a TensorFlow Lite file")
    parser.add_argument("--classes", type=Path, metavar="CSV", help="names of YAMNet's classes")
    parser.add_argument("--tags", type=Path, metavar="FILE", help="with --clips: tags of the train split (`tag`)")
    add_wheel(parser)
    parser.add_argument("--seed", type=whole, default=1, help="seed of every random choice (default %(default)s)")
    parser.add_argument("--jobs", type=whole, default=1, help="fits at a time; 0 for all cores (default %(default)s)")
    parser.set_defaults(run=run_baselines, kept="nothing was written")


def run_baselines(options: argparse.Namespace, console: Console) -> None:
    """Compare, and print tables."""
    import msgspec

    from headnod_train.dataset.archive import read_archive
    from headnod_train.dataset.split import refuse_leaks
    from headnod_train.explore.baselines import compare, tables
    from headnod_train.explore.classical import FRONT_END
    from headnod_train.storage import write_json

    _refuse_clip_options(options)
    archive = read_archive(options.data, FRONT_END)
    refuse_leaks(archive)
    found = compare(
        archive,
        data=options.data.name,
        split=options.split,
        bundles=_baseline_bundles(options, console),
        epochs=options.epochs,
        seed=options.seed,
        jobs=options.jobs or -1,
        console=console,
    )
    if options.clips:
        found = msgspec.structs.replace(found, clips=_on_clips(archive, options, console))
    for table in tables(found):
        plain_console().print(table)
    if options.out is not None:
        from headnod_train.explore.pictures import draw_comparison

        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "baselines.json", found)
        draw_comparison(found, options.out)


def _refuse_clip_options(options: argparse.Namespace) -> None:
    from headnod_train.explore.baselines import ComparisonError

    if options.clips is None and (options.yamnet or options.tags):
        raise ComparisonError("--yamnet and --tags need --clips: audio files with the names of tracks")
    if bool(options.yamnet) != bool(options.classes):
        raise ComparisonError("YAMNet needs both --yamnet (the network) and --classes (the names of its classes)")


def _on_clips(archive: Archive, options: argparse.Namespace, console: Console) -> list[MethodResult]:
    """YAMNet, the tagger and the bundles on audio clips of the split."""
    from headnod_train.distillation.tagger import find_wheel
    from headnod_train.explore import baselines

    train, evaluated = archive.subset("train"), archive.subset(options.split)
    labels = train.labels
    clips = baselines.find_track_clips(options.clips, evaluated)
    methods = []
    if options.yamnet:
        methods.append(baselines.yamnet_method(options.yamnet, options.classes, labels))
    if options.tags:
        wheel = options.wheel or find_wheel(options.cache)
        methods.append(baselines.tagger_method(train, options.tags, wheel))
    methods += [
        baselines.bundle_method(model, learned=learned)
        for model, learned in _loaded_bundles(options, archive)
        if model.labels == labels and (options.bundle or not learned)
    ]
    return baselines.compare_on_clips(evaluated, clips, methods, labels=labels, console=console)


def _loaded_bundles(options: argparse.Namespace, archive: Archive) -> list[tuple[GenreModel, bool]]:
    """The named models, or those shipped, and whether each was trained on the evaluated split."""
    from headnod.inference.model import GenreModel
    from headnod.resources import find_model, models
    from headnod_train.evaluation.evaluate import trained_on

    folders = [find_model(bundle) for bundle in options.bundle] if options.bundle else models()
    loaded = map(GenreModel.load, folders)
    return [(each, trained_on(each.manifest, archive, data=options.data.name, split=options.split)) for each in loaded]


def _baseline_bundles(options: argparse.Namespace, console: Console) -> list[GenreModel]:
    """The named models, or the shipped ones whose genres and front end match."""
    from headnod_train.dataset.archive import ArchiveError, read_archive
    from headnod_train.explore.classical import FRONT_END

    fitting = []
    for model, learned in _loaded_bundles(options, read_archive(options.data, FRONT_END)):
        try:
            archive = read_archive(options.data, model.front_end)
            archive.subset(options.split).targets(model.labels)
        except ArchiveError as error:
            # On clips, a model of any front end is evaluated.
            if options.bundle and not options.clips:
                raise
            reason = str(error)
        else:
            if options.bundle or not learned:
                fitting.append(model)
                continue
            reason = f"it was trained on {options.split} (name it with --bundle to include it)"
        print_line(console, f"{model.manifest.id} is left out: {reason}")
    return fitting


_PLAY_EXAMPLES = """\
examples:
  headnod-train play ~/music
  headnod-train play ~/music --model models/mine-1.0.0 --rounds 20
"""


def add_play(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `play`."""
    parser = subparsers.add_parser(
        "play",
        help="listen to three seconds, guess the genre, and compare with a model",
        description="Listen to three seconds of a random track, guess the genre, and see the bars of a model.",
        epilog=_PLAY_EXAMPLES,
    )
    parser.add_argument("music", type=Path, metavar="MUSIC", help="folder of music, a folder for each genre")
    parser.add_argument("--model", default="genre", metavar="BUNDLE", help="the other player (default %(default)s)")
    parser.add_argument("--rounds", type=positive, default=10, help="number of rounds (default %(default)s)")
    parser.add_argument("--seed", type=whole, help="seed of the choice of tracks")
    parser.add_argument(
        "--player", metavar="COMMAND", help="program that plays a WAV file (pw-play, paplay, aplay, afplay)"
    )
    parser.set_defaults(run=run_play, kept="the game is over")


def run_play(options: argparse.Namespace, console: Console) -> None:
    """Play, and print the score."""
    import numpy as np

    from headnod.inference.model import load_checked
    from headnod.resources import find_model
    from headnod_train.console import plain_console, print_result
    from headnod_train.dataset.folder_layouts import find_tracks
    from headnod_train.dataset.tracks import CollectionError
    from headnod_train.explore.guessing_game import find_player, play

    model = load_checked(find_model(options.model))
    found = find_tracks([options.music], "folders", model.front_end).tracks
    known = set(model.manifest.labels)
    tracks = [track for track in found if track.genre in known]
    if not tracks:
        raise CollectionError(
            f"{options.music}: none of its folders is a label of {model.manifest.id} "
            f"({', '.join(model.manifest.labels)}); choose another --model"
        )
    others = sorted({track.genre for track in found} - known)
    if others:
        print_line(console, f"left out: {', '.join(others)} (no labels of {model.manifest.id})")
    player = shlex.split(options.player) if options.player else find_player()
    rng = np.random.default_rng(options.seed)
    score = play(
        tracks, model, rounds=options.rounds, player=player, answer=input, rng=rng, console=plain_console(stderr=True)
    )
    print_result(str(score))
