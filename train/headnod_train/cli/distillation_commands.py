"""Commands that prepare a distillation: tag, prepare and student."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from headnod.cli.parser import number
from headnod_train.cli.command_options import add_data, add_run, add_wheel, positive, processes, seconds, whole
from headnod_train.console import print_result

_TAG_EXAMPLES = """\
examples:
  headnod-train tag ~/Music/by-genre --data mine.npz --out tags.npz
"""


def add_tag(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tag`."""
    parser = subparsers.add_parser(
        "tag",
        help="tag audio with a large music tagger, as training targets",
        description="Tag audio with a large music tagger (MusiCNN, 50 tags); the tags are training targets for a "
        "network. A second start continues where the first one ended.",
        epilog=_TAG_EXAMPLES,
    )
    parser.add_argument(
        "audio", type=Path, metavar="AUDIO", help="audio file, folder, or CSV with a column 'path' (and 'track')"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="npz file to write or to continue")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="ARCHIVE",
        help="tag only the tracks of this log-mel archive, and of each the seconds that it has",
    )
    parser.add_argument(
        "--every", type=seconds, default=1.0, metavar="S", help="seconds between two windows of 3 s (%(default)g)"
    )
    parser.add_argument(
        "--inner",
        choices=("dense", "mean"),
        nargs="?",
        const="dense",
        default="none",
        help="store an inner layer too: the 200 numbers before the tags (dense, the default) or all convolutions "
        "averaged over time, 753 numbers (mean)",
    )
    add_wheel(parser)
    parser.set_defaults(run=run_tag, kept="tagged tracks are kept; the same command continues")


def run_tag(options: argparse.Namespace, console: Console) -> None:
    """Tag, and print the numbers of tracks."""
    from headnod_train.distillation.tagging import TagFile, sources

    stretches = _stretches(options.data) if options.data else None
    tracks = sources(options.audio, only=stretches)
    file = TagFile(options.out, every=options.every, layer=options.inner)

    from headnod_train.distillation.tagger import Tagger, find_wheel, read_weights
    from headnod_train.distillation.tagging import tag

    teacher = Tagger(read_weights(options.wheel or find_wheel(options.cache)))
    summary = tag(tracks, teacher, file, every=options.every, layer=options.inner, stretches=stretches, console=console)
    result = f"{options.out}: {len(file.tracks)} tracks, {len(file):,} windows"
    result += f"; {summary.kept} tracks were there before" if summary.kept else ""
    result += f"; {len(summary.refused)} could not be decoded" if summary.refused else ""
    print_result(result)


def _stretches(data: Path) -> dict[str, tuple[float, float]]:
    """Start and end of each track of an archive in its file, in seconds."""
    from headnod.features.frontend import FrontEnd
    from headnod_train.dataset.archive import read_archive

    front_end = FrontEnd()
    archive = read_archive(data, front_end)
    starts = archive.first_samples[:, 0].clip(0) / front_end.sample_rate
    seconds = ((archive.frames - 1) * front_end.hop + front_end.n_fft) / front_end.sample_rate
    return {
        str(name): (float(start), float(start + length))
        for name, start, length in zip(archive.tracks, starts, seconds, strict=True)
    }


_LABELS = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


_PREPARE_EXAMPLES = """\
examples:
  headnod-train prepare --out windows --yamnet yamnet.tflite --clips audio --tracks train.txt --not-music not_music
"""


def add_prepare(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `prepare`."""
    parser = subparsers.add_parser(
        "prepare",
        help="make training windows from waveforms, clean and through rooms",
        description="Decode music, speech and noise, play them through simulated loudspeakers, measured rooms, "
        "microphones and codecs, and write log-mel windows of both with YAMNet's scores.",
        epilog=_PREPARE_EXAMPLES,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the windows")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="GTZAN audio clips with the names of tracks")
    parser.add_argument("--tracks", type=Path, metavar="FILE", help="names of the training tracks, one per line")
    parser.add_argument(
        "--music",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="names of unlabelled music in Debian packages: an archive or a text file; may be repeated",
    )
    parser.add_argument("--debs", type=Path, metavar="DIR", help="folder for Debian packages (default OUT/debs)")
    parser.add_argument("--not-music", type=Path, metavar="DIR", help="folder with speech/ and noise/")
    parser.add_argument("--rooms", type=Path, metavar="DIR", help="folder of impulse responses")
    parser.add_argument("--yamnet", type=Path, required=True, metavar="FILE", help="YAMNet as a TensorFlow Lite file")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="default %(default)s")
    parser.add_argument("--processes", type=processes, default=2, metavar="N", help="workers (default %(default)s)")
    parser.set_defaults(run=run_prepare, kept="downloaded packages are kept; no windows were written")


def run_prepare(options: argparse.Namespace, console: Console) -> None:
    """Prepare, and print the number of windows."""
    from headnod_train.degradation import impulse_responses
    from headnod_train.distillation import recordings as found
    from headnod_train.distillation.window_sets import BASE_RATE, make_windows

    wanted: list[found.Recording] = []
    if options.clips:
        if options.tracks is None:
            message = "--clips needs --tracks: the list of training tracks"
            raise found.RecordingError(message)
        wanted += found.gtzan_clips(options.clips, options.tracks.read_text("utf-8").split(), _LABELS)
    if options.music:
        names = [name for each in options.music for name in found.names_in(each)]
        debs = options.debs or options.out / "debs"
        found.download(found.packages(names), debs)
        wanted += found.debian_music(debs, names, options.out / "music")
    if options.not_music:
        wanted += found.other_sounds(options.not_music)
    if not wanted:
        message = "there is nothing to prepare (name --clips, --music or --not-music)"
        raise found.RecordingError(message)
    count = make_windows(
        wanted,
        options.out,
        rooms=impulse_responses(options.rooms, BASE_RATE),
        yamnet=options.yamnet,
        seed=options.seed,
        processes=options.processes,
        console=console,
    )
    print_result(f"{options.out}: {count:,} windows of {len(wanted)} recordings")


_STUDENT_EXAMPLES = """\
examples:
  headnod-train student --windows windows --data music.npz --tags tags.npz --run runs/small
"""


def add_student(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `student`."""
    parser = subparsers.add_parser(
        "student",
        help="train a small network on prepared windows and the teachers' answers",
        description="Train the small network on the windows of `prepare` and mixtures of them, on the teachers' "
        "predictions, and on the labelled tracks of an archive, then fit its last layer to labels. `quantise` and "
        "`pack` follow, as after `fit`.",
        epilog=_STUDENT_EXAMPLES,
    )
    parser.add_argument("--windows", type=Path, required=True, metavar="DIR", help="folder that `prepare` wrote")
    parser.add_argument(
        "--targets", type=Path, metavar="FILE", help="predictions of the teachers (default targets.npz in that folder)"
    )
    add_data(parser)
    parser.add_argument("--tags", type=Path, required=True, metavar="FILE", help="tags of its tracks (`tag`)")
    parser.add_argument(
        "--teacher", metavar="BUNDLE", default="genre",
        help="large network whose predictions for mixtures are targets (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--mixtures", type=number(int, 1, 10_000_000), default=40_000, metavar="N",
        help="mixtures of two windows (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--start", metavar="BUNDLE", help="start from the weights of a bundle of this width")
    add_run(parser, "folder of the run")
    parser.add_argument("--epochs", type=positive, default=15, metavar="N", help="default %(default)s")
    parser.add_argument("--width", type=positive, default=12, metavar="N", help="channels (default %(default)s)")
    parser.add_argument("--seed", type=whole, default=1, metavar="N", help="default %(default)s")
    parser.add_argument("--force", action="store_true", help="replace a former training in the run folder")
    parser.set_defaults(run=run_student, kept="the network after the last whole epoch is kept")


def run_student(options: argparse.Namespace, console: Console) -> None:
    """Train, and print the next command."""
    import numpy as np

    from headnod.features.frontend import FrontEnd
    from headnod.inference.model import GenreModel
    from headnod.resources import find_model
    from headnod_train.dataset.archive import read_archive
    from headnod_train.distillation import mixtures, student
    from headnod_train.distillation.answer_layer import fit_answers_to_labels
    from headnod_train.distillation.tagging import TAGS
    from headnod_train.distillation.targets import read_targets
    from headnod_train.distillation.window_sets import read_windows
    from headnod_train.storage import replacing
    from headnod_train.training.augment import MelAugmentation
    from headnod_train.training.fit import read_start
    from headnod_train.training.run_folder import (
        RECIPE,
        WEIGHTS,
        Recipe,
        TrainingSettings,
        load,
        locked,
        refuse_former,
    )  # fmt: skip

    front_end = FrontEnd(n_mfcc=student.COEFFICIENTS)
    learned = read_archive(options.data, front_end).subset("train")
    windows = read_windows(options.windows)
    teachers = read_targets(options.targets or options.windows / "targets.npz", windows)
    labels, rng = learned.labels, np.random.default_rng(options.seed)
    teacher = GenreModel.load(find_model(options.teacher))
    start = find_model(options.start) if options.start else None
    with locked(options.folder):
        if not options.force:
            refuse_former(options.folder)
        mixed = mixtures.make_mixtures(
            options.folder, teacher, windows, student.mixable(windows, teachers), options.mixtures,
            front_end=front_end, settings=mixtures.SETTINGS, seed=options.seed, console=console,
        )  # fmt: skip
        known = mixtures.predict_windows(options.folder, teacher, windows, console)
        prepared = student.from_windows(windows, teachers, known.embedding, front_end)
        archived = student.from_archive(
            learned, options.tags, labels, front_end, numbers=known.embedding.shape[1], rng=rng
        )
        network = student.fit_student(
            student.joined(prepared, student.from_mixtures(mixed), archived),
            options.folder,
            data=options.data.name,
            labels=labels,
            tag_names=TAGS,
            front_end=front_end,
            settings=TrainingSettings(
                epochs=options.epochs,
                batch=128,
                decay=0.02,
                width=options.width,
                seed=options.seed,
                start=start.name if start else "",
            ),
            # Rooms and noise are in the windows already.
            augmentation=MelAugmentation(rooms=0.0, mixup=0.0, equalise=2.5, masks=0, noise=(100.0, 100.0)),
            teacher=f"{teacher.manifest.name}-{teacher.manifest.version}",
            start=read_start(start) if start else None,
            console=console,
        )
        recipe = load(options.folder, RECIPE, Recipe)
        spread = np.array(recipe.mean, np.float32), np.array(recipe.deviation, np.float32)
        fit_answers_to_labels(network, archived, prepared, spread)
        with replacing(options.folder / WEIGHTS, "the weights before it are kept") as unfinished:
            network.save(unfinished)
    print_result(
        f"{options.folder}: trained; next: headnod-train quantise --run {options.folder} --data {options.data}"
    )


_DISTIL_EXAMPLES = """\
examples:
  headnod-train distil --windows windows --held-out valid_windows --run runs/genre --data gtzan.npz \\
    --tags tags_train.npz --classes yamnet.csv --notice NOTICE --models models --version 2.0.0
"""


def add_distil(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `distil`."""
    parser = subparsers.add_parser(
        "distil",
        help="prune a published tagger, train it for rooms and pack it as a bundle",
        description="Prune the tagger MusiCNN, train it for genres and rooms on prepared windows, quantise it to int8, "
        "calibrate it on other windows, and write a bundle. An interrupted run continues.",
        epilog=_DISTIL_EXAMPLES,
    )
    parser.add_argument("--windows", type=Path, required=True, metavar="DIR", help="training windows (`prepare`)")
    parser.add_argument("--held-out", type=Path, required=True, metavar="DIR", help="windows of clips to measure on")
    add_run(parser, "folder of the run")
    add_data(parser)
    parser.add_argument("--tags", type=Path, required=True, metavar="FILE", help="tags of its tracks (`tag`)")
    parser.add_argument("--classes", type=Path, required=True, metavar="CSV", help="names of YAMNet's classes")
    add_wheel(parser)
    parser.add_argument(
        "--small", metavar="BUNDLE", default="genre-small",
        help="small network whose convolutions are the coarse branch (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--rooms", type=Path, metavar="DIR", help="folder of impulse responses (FLAC) to train with")
    parser.add_argument("--notice", type=Path, required=True, metavar="FILE", help="licences that the bundle carries")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help="folder of bundles")
    parser.add_argument("--version", required=True, metavar="A.B.C", help="of the bundle")
    parser.add_argument(
        "--steps", type=positive, default=1_500, metavar="N",
        help="of 48 windows (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--replace", action="store_true", help="replace a bundle of this version")
    parser.set_defaults(run=run_distil, kept="finished steps are kept; the same command continues")


def run_distil(options: argparse.Namespace, console: Console) -> None:
    """Run every step that is not done yet."""
    import numpy as np

    from headnod.inference.model import GenreModel
    from headnod.resources import find_model
    from headnod_train.dataset.archive import read_archive
    from headnod_train.degradation import impulse_responses
    from headnod_train.distillation import distil as steps
    from headnod_train.distillation.batches import Augmentation, measured_rooms
    from headnod_train.distillation.student import from_archive
    from headnod_train.distillation.tagger import find_wheel, read_weights
    from headnod_train.distillation.targets import choose_strength, fit_head, read_tags
    from headnod_train.distillation.window_sets import GENRE, read_classes, read_windows
    from headnod_train.training.fit import read_start
    from headnod_train.training.run_folder import locked

    folder = options.folder
    settings = replace(steps.SETTINGS, steps=options.steps)
    rooms = measured_rooms(impulse_responses(options.rooms, GENRE.sample_rate))
    with locked(folder):
        windows, held_out = read_windows(options.windows), read_windows(options.held_out)
        small = find_model(options.small)
        start = read_start(small)
        front_end = start.manifest.front_end
        learned = read_archive(options.data, front_end).subset("train")
        tags, genres, artists = read_tags(options.tags, learned, _LABELS)
        strength = choose_strength(tags, genres, artists)
        console.print(f"head from tags to genres: inverse strength {strength:g}", highlight=False)
        weights = read_weights(options.wheel or find_wheel(options.cache))
        begun = steps.begin(
            folder, weights, start,
            fit_head(tags, genres, inverse_strength=strength), windows,
            read_classes(options.classes), _LABELS, console=console,
        )  # fmt: skip
        trained = steps.train(
            folder, begun, windows,
            settings=settings, augmentation=Augmentation(), rooms=rooms, console=console,
        )  # fmt: skip
        rng = np.random.default_rng(settings.seed)
        archived = from_archive(learned, options.tags, _LABELS, front_end, numbers=0, rng=rng)
        model = GenreModel.load(small)
        network = steps.add_labels(trained, begun, windows, model, start, archived, console=console)
        bundle = steps.finish(
            folder, network, begun, windows, held_out, options.models, options.version,
            labels=_LABELS, notice=options.notice.read_text("utf-8"), settings=settings,
            small=start.manifest, labelled=archived.names, replace=options.replace, console=console,
        )  # fmt: skip
    print_result(f"{bundle}: written")
