"""`headnod-train student`: train a small network on prepared windows and the answers of both teachers."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.cli.arguments import positive, whole
from headnod_train.cli.command_options import add_data, add_run, say

_EXAMPLES = """\
examples:
  headnod-train student --windows windows --data music.npz --tags tags.npz --run runs/small
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "student",
        help="train a small network on prepared windows and the teachers' answers",
        description="Train the small network on the windows that `prepare` wrote, on the teachers' answers, and "
        "on the labelled tracks of an archive. `quantise` and `pack` follow, as after `fit`.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--windows", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    parser.add_argument(
        "--targets", type=Path, metavar="FILE", help="the teachers' answers (default targets.npz in that folder)"
    )
    add_data(parser)
    parser.add_argument("--tags", type=Path, required=True, metavar="FILE", help="the tagger's answers to its tracks")
    add_run(parser, "folder of the run")
    parser.add_argument("--epochs", type=positive, default=40, metavar="N", help="default %(default)s")
    parser.add_argument("--width", type=positive, default=12, metavar="N", help="channels (default %(default)s)")
    parser.add_argument("--seed", type=whole, default=1, metavar="N", help="default %(default)s")
    parser.add_argument("--force", action="store_true", help="replace a former training in the run folder")
    parser.set_defaults(run=run, kept="the network after the last whole epoch is kept")


def run(options: argparse.Namespace, console: Console) -> None:
    """Train, and say what follows."""
    import numpy as np  # noqa: PLC0415

    from headnod.features.frontend import FrontEnd  # noqa: PLC0415
    from headnod_train.dataset.archive import read_archive  # noqa: PLC0415
    from headnod_train.distillation import student  # noqa: PLC0415 - TensorFlow takes seconds
    from headnod_train.distillation.targets import read_targets  # noqa: PLC0415
    from headnod_train.distillation.window_sets import read_windows  # noqa: PLC0415
    from headnod_train.tagger.tag_names import TAGS  # noqa: PLC0415
    from headnod_train.training.augment import MelAugmentation  # noqa: PLC0415
    from headnod_train.training.run_folder import TrainingSettings, locked, refuse_former  # noqa: PLC0415

    front_end = FrontEnd(n_mfcc=student.COEFFICIENTS)
    learned = read_archive(options.data, front_end).subset("train")
    windows = read_windows(options.windows)
    teachers = read_targets(options.targets or options.windows / "targets.npz", windows)
    labels, rng = learned.labels, np.random.default_rng(options.seed)
    both = student.joined(
        student.from_windows(windows, teachers),
        student.from_archive(learned, options.tags, labels, front_end, rng=rng),
    )
    with locked(options.folder):
        if not options.force:
            refuse_former(options.folder)
        student.fit_student(
            both,
            options.folder,
            data=options.data.name,
            labels=labels,
            tag_names=TAGS,
            front_end=front_end,
            settings=TrainingSettings(epochs=options.epochs, width=options.width, seed=options.seed),
            # Rooms are in the windows already.
            augmentation=MelAugmentation(rooms=0.0, mixup=0.2, equalise=3.0),
            console=console,
        )
    say(f"{options.folder}: trained; next: headnod-train quantise --run {options.folder} --data {options.data}")
