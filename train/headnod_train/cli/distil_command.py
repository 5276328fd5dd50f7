"""`headnod-train distil`: the genre network that starts from a published tagger."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from headnod_train.cli.command_options import add_wheel, positive
from headnod_train.console import print_result

_LABELS = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")

_EXAMPLES = """\
examples:
  headnod-train distil --windows windows --held-out valid_windows --run runs/genre --data gtzan.npz \\
    --tags tags_train.npz --classes yamnet.csv --notice NOTICE --models models --version 2.0.0
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "distil",
        help="prune a published tagger, train it for rooms and pack it as a bundle",
        description="Prune the tagger MusiCNN, teach it genres and rooms from prepared windows, quantise it to int8, "
        "calibrate it on windows that it did not learn from, and write a bundle. An interrupted run goes on.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--windows", type=Path, required=True, metavar="DIR", help="windows to learn from (`prepare`)")
    parser.add_argument("--held-out", type=Path, required=True, metavar="DIR", help="windows of clips to measure on")
    parser.add_argument("--run", dest="folder", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--data", type=Path, required=True, metavar="ARCHIVE", help="archive that knows the artists")
    parser.add_argument("--tags", type=Path, required=True, metavar="FILE", help="the tagger's answers to its tracks")
    parser.add_argument("--classes", type=Path, required=True, metavar="CSV", help="names of YAMNet's classes")
    add_wheel(parser)
    parser.add_argument("--rooms", type=Path, metavar="DIR", help="folder of impulse responses (FLAC) to train with")
    parser.add_argument("--notice", type=Path, required=True, metavar="FILE", help="licences that the bundle carries")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="folder of bundles")
    parser.add_argument("--version", required=True, metavar="A.B.C", help="of the bundle")
    parser.add_argument(
        "--steps", type=positive, default=1_500, metavar="N",
        help="of 48 windows (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--replace", action="store_true", help="replace a bundle of this version")
    parser.set_defaults(run=run, kept="what was reached is kept, and the same command goes on with it")


def run(options: argparse.Namespace, console: Console) -> None:
    """Run every step that is not done yet."""
    from headnod.features.frontend import FrontEnd
    from headnod_train.dataset.archive import read_archive
    from headnod_train.distillation.degradation import read_all
    from headnod_train.distillation.window_sets import GENRE, read_windows
    from headnod_train.distillation.yamnet import read_classes
    from headnod_train.pretrained import run as steps
    from headnod_train.pretrained.augmentation import Augmentation, measured_rooms
    from headnod_train.pretrained.head import choose_strength, fit_head, read_tags
    from headnod_train.tagger.wheel import find_wheel, read_weights
    from headnod_train.training.run_folder import locked

    folder, band_step = options.folder, 1
    settings = replace(steps.SETTINGS, steps=options.steps)
    found = sorted(options.rooms.glob("*.flac")) if options.rooms else []
    rooms = measured_rooms([read_all(path, GENRE.sample_rate) for path in found])
    with locked(folder):
        windows, held_out = read_windows(options.windows), read_windows(options.held_out)
        learned = read_archive(options.data, FrontEnd()).subset("train")
        tags, genres, artists = read_tags(options.tags, learned, _LABELS)
        strength = choose_strength(tags, genres, artists)
        console.print(f"head from tags to genres: inverse strength {strength:g}", highlight=False)
        weights = read_weights(options.wheel or find_wheel(options.cache))
        begun = steps.begin(
            folder, weights, fit_head(tags, genres, inverse_strength=strength), windows,
            read_classes(options.classes), _LABELS, band_step=band_step, console=console,
        )  # fmt: skip
        trained = steps.train(
            folder, begun, windows,
            settings=settings, augmentation=Augmentation(), rooms=rooms,
            band_step=band_step, console=console,
        )  # fmt: skip
        bundle = steps.finish(
            folder, trained, begun, windows, held_out, options.models, options.version,
            labels=_LABELS, notice=options.notice.read_text("utf-8"), settings=settings,
            band_step=band_step, replace=options.replace, console=console,
        )  # fmt: skip
    print_result(f"{bundle}: written")
