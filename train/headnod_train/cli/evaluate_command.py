"""`headnod-train evaluate`: measure a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod_train.cli.command_options import add_data, add_split, plain_console

if TYPE_CHECKING:
    from headnod.inference.model import GenreModel
    from headnod_train.dataset.archive import Archive
    from headnod_train.evaluation.evaluate import SoundFolders


_EXAMPLES = """\
examples:
  headnod-train evaluate models/mine-1.0.0 --data mine.npz --split test --report page
  headnod-train evaluate models/mine-1.0.0 --data mine.npz --against models/mine-0.9.0 --json figures.json
  headnod-train evaluate models/mine-1.0.0 --audio ~/test-music --rooms rooms --against models/genre-1.0.0
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a bundle on music of known genre",
        description="Measure a bundle on music of known genre.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model, such as models/genre-0.1.0")
    add_data(parser, required=False)
    add_split(parser)
    parser.add_argument(
        "--tracks", type=Path, metavar="FILE", help="without --data: measure only files with these names, one a line"
    )
    parser.add_argument(
        "--unseen",
        action="store_true",
        help="without --data: state that the model learned from none of the files of a collection that it knows",
    )
    parser.add_argument(
        "--degrade",
        action="store_true",
        help="measure it also through loudspeakers, rooms, microphones and other sounds (minutes)",
    )
    parser.add_argument("--rooms", type=Path, metavar="DIR", help="impulse responses of real rooms, one more condition")
    parser.add_argument(
        "--against", type=Path, metavar="BUNDLE", help="another bundle, to compare with by McNemar's test"
    )
    parser.add_argument(
        "--float", type=Path, metavar="FILE", dest="float_file", help="the network before quantising (float.tflite)"
    )
    add_sounds(parser)
    parser.add_argument(
        "--songs",
        type=Path,
        metavar="DIR",
        help="without --data: whole songs of any genre, without labels, to play one after another (default: the files "
        "of --audio)",
    )
    parser.add_argument(
        "--leaky",
        action="store_true",
        help="measure on tracks that the model learned from, too; every figure of it is too good, and labelled so",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a page with pictures, and the figures")
    parser.set_defaults(run=run, kept="nothing was written")


def add_sounds(parser: argparse.ArgumentParser) -> None:
    """Audio that the whole listener is tried on."""
    parser.add_argument(
        "--audio",
        type=Path,
        metavar="DIR",
        help="with --data: clips called as the tracks are, to play softer, louder and in noise (default: the folder "
        "'audio' beside the archive, if there is one); without: the music to measure on, a folder or a CSV list",
    )
    parser.add_argument(
        "--not-music", type=Path, metavar="DIR", help="audio that is no music, a folder in it for each kind"
    )


def run(options: argparse.Namespace, console: Console) -> None:
    """Evaluate, and show tables."""
    if options.data is None:
        _run_on_recordings(options, console)
        return
    from headnod.inference.model import GenreModel  # noqa: PLC0415
    from headnod_train.acoustics.bands import Bands  # noqa: PLC0415
    from headnod_train.dataset.archive import read_archive  # noqa: PLC0415
    from headnod_train.dataset.split import refuse_leaks  # noqa: PLC0415
    from headnod_train.evaluation.comparison import float_beside  # noqa: PLC0415
    from headnod_train.evaluation.conditions import CONDITIONS, recorded_rooms  # noqa: PLC0415
    from headnod_train.evaluation.evaluate import evaluate  # noqa: PLC0415
    from headnod_train.evaluation.result_tables import tables  # noqa: PLC0415
    from headnod_train.evaluation.results import save  # noqa: PLC0415

    model = GenreModel.load(options.bundle)
    archive = read_archive(options.data, model.front_end)
    refuse_leaks(archive)
    other = GenreModel.load(options.against) if options.against else None
    learned = _learned(options, archive, [model, *([other] if other else [])])
    conditions = list(CONDITIONS) if options.degrade else []
    if options.rooms:
        conditions.append(recorded_rooms(options.rooms, Bands(model.front_end)))
    found = evaluate(
        model,
        archive,
        data=options.data.name,
        split=options.split,
        console=console,
        conditions=conditions,
        float_model=float_beside(model, options.float_file) if options.float_file else None,
        other=other,
        sounds=sounds_of(options),
        learned=learned,
    )
    for table in tables(found):
        plain_console().print(table)
    if options.json is not None:
        save(found, options.json)
    if options.report is not None:
        from headnod_train.report import write_report  # noqa: PLC0415

        write_report(found, options.report)


def _run_on_recordings(options: argparse.Namespace, console: Console) -> None:
    """Measure on audio files, whatever the front end."""
    import msgspec  # noqa: PLC0415

    from headnod.inference.model import GenreModel  # noqa: PLC0415
    from headnod_train.evaluation.leakage import may_have_learned  # noqa: PLC0415
    from headnod_train.evaluation.recordings_evaluation import evaluate_clips, find_clips  # noqa: PLC0415
    from headnod_train.evaluation.recordings_tables import recordings_tables  # noqa: PLC0415
    from headnod_train.evaluation.results import EvaluationError  # noqa: PLC0415

    if options.audio is None:
        message = "there is nothing to measure on (name an archive with --data, or audio files with --audio)"
        raise EvaluationError(message)
    model = GenreModel.load(options.bundle)
    other = GenreModel.load(options.against) if options.against else None
    clips = find_clips(options.audio, model.labels, only=options.tracks)
    known = [each.manifest.id for each in (model, other) if each and may_have_learned(each.manifest, clips)]
    if known and not (options.unseen or options.leaky):
        message = (
            f"{known[0]} learned from tracks of GTZAN, and these files are called as such (state --unseen if they "
            "are none that it learned from, or --leaky to have every figure marked)"
        )
        raise EvaluationError(message)
    found = evaluate_clips(
        model,
        clips,
        data=options.audio.name,
        rooms=options.rooms,
        not_music=options.not_music,
        songs=options.songs,
        other=other,
        leaky=options.leaky,
        console=console,
    )
    for table in recordings_tables(found):
        plain_console().print(table)
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


def _learned(options: argparse.Namespace, archive: Archive, models: list[GenreModel]) -> bool:
    """Whether a model learned from what it is to be measured on; refused unless that was asked for."""
    from headnod_train.evaluation.leakage import learned_from, learned_sides  # noqa: PLC0415
    from headnod_train.evaluation.results import EvaluationError  # noqa: PLC0415

    data, split = options.data.name, options.split
    learned = [each.manifest for each in models if learned_from(each.manifest, archive, data=data, split=split)]
    if learned and not options.leaky:
        message = (
            f"{learned[0].id} learned from the sides {', '.join(learned_sides(learned[0]))} of {data}, so it cannot be "
            f"measured on side {split} (name another one with --split, or say --leaky to have every figure marked)"
        )
        raise EvaluationError(message)
    return bool(learned)


def sounds_of(options: argparse.Namespace) -> SoundFolders:
    """The folders that were named, or that stand beside the archive."""
    from headnod_train.evaluation.evaluate import SoundFolders  # noqa: PLC0415

    beside = options.data.parent / "audio"
    return SoundFolders(options.audio or (beside if beside.is_dir() else None), options.not_music)
