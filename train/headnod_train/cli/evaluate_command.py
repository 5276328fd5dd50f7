"""`headnod-train evaluate`: measure a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod_train.cli.command_options import add_data, add_split
from headnod_train.console import plain_console

if TYPE_CHECKING:
    from headnod.inference.model import GenreModel
    from headnod_train.dataset.archive import Archive
    from headnod_train.dataset.tracks import Track
    from headnod_train.evaluation.evaluate import SoundFolders


_EXAMPLES = """\
examples:
  headnod-train evaluate models/mine-1.0.0 --data mine.npz --split test --report page
  headnod-train evaluate models/mine-1.0.0 --data mine.npz --against models/mine-0.9.0 --json figures.json
  headnod-train evaluate models/mine-1.0.0 --audio ~/test-music --rooms rooms --against models/genre-1.0.0
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `evaluate`."""
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
        "--tracks", type=Path, metavar="FILE", help="without --data: only files with these names, one per line"
    )
    parser.add_argument(
        "--unseen",
        action="store_true",
        help="without --data: state that the model was trained on none of these files of its collection",
    )
    parser.add_argument(
        "--degrade",
        action="store_true",
        help="with --data: also evaluate through simulated loudspeakers, rooms, microphones and noise (minutes)",
    )
    parser.add_argument(
        "--rooms", type=Path, metavar="DIR", help="impulse responses of measured rooms, one more condition"
    )
    parser.add_argument(
        "--against", type=Path, metavar="BUNDLE", help="another bundle to compare with (McNemar's test)"
    )
    parser.add_argument(
        "--float", type=Path, metavar="FILE", dest="float_file", help="the network before quantisation (float.tflite)"
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
        help="also evaluate on tracks that the model was trained on; every figure of it is too good, and labelled",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write a page with charts, and the figures; with --data and --audio it plays doubtful tracks",
    )
    parser.set_defaults(run=run, kept="nothing was written")


def add_sounds(parser: argparse.ArgumentParser) -> None:
    """Options for audio that is played through the whole listener."""
    parser.add_argument(
        "--audio",
        type=Path,
        metavar="DIR",
        help="with --data: clips with the names of tracks, to play at other levels and in noise (default: the folder "
        "'audio' beside the archive, if there is one); without: the music to evaluate on, a folder or a CSV list",
    )
    parser.add_argument(
        "--not-music", type=Path, metavar="DIR", help="sounds other than music, one folder for each kind"
    )


def run(options: argparse.Namespace, console: Console) -> None:
    """Evaluate, and print tables."""
    from headnod_train.evaluation.results import EvaluationError

    if options.report is not None:
        # An impossible place is known before minutes of work.
        try:
            options.report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"{options.report}: cannot be a folder: {error.strerror} (choose another --report)"
            raise EvaluationError(message) from None
    if options.data is None:
        _run_on_recordings(options, console)
        return
    from headnod.inference.model import GenreModel
    from headnod_train.acoustics import Bands
    from headnod_train.dataset.archive import read_archive
    from headnod_train.dataset.split import refuse_leaks
    from headnod_train.evaluation.conditions import CONDITIONS, recorded_rooms
    from headnod_train.evaluation.evaluate import evaluate, float_model_of
    from headnod_train.evaluation.tables import tables
    from headnod_train.storage import write_json

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
        float_model=float_model_of(model, options.float_file) if options.float_file else None,
        other=other,
        sounds=sounds_of(options),
        learned=learned,
    )
    for table in tables(found):
        plain_console().print(table)
    if options.json is not None:
        write_json(options.json, found)
    if options.report is not None:
        from headnod_train.evaluation.evaluation_report import write_report

        write_report(found, options.report, options.audio)


def _run_on_recordings(options: argparse.Namespace, console: Console) -> None:
    """Evaluate on audio files, for any front end."""
    from headnod.inference.model import GenreModel
    from headnod_train.evaluation.evaluate import float_model_of
    from headnod_train.evaluation.recordings_evaluation import evaluate_clips, find_clips
    from headnod_train.evaluation.results import EvaluationError
    from headnod_train.evaluation.tables import recordings_tables
    from headnod_train.storage import write_json

    if options.audio is None:
        message = "there is nothing to evaluate on (name an archive with --data, or audio files with --audio)"
        raise EvaluationError(message)
    if options.degrade:
        message = "--degrade needs --data (audio files are always also played in noise and through codecs)"
        raise EvaluationError(message)
    model = GenreModel.load(options.bundle)
    other = GenreModel.load(options.against) if options.against else None
    clips = find_clips(options.audio, model.labels, only=options.tracks)
    _refuse_training_files([each for each in (model, other) if each], clips, options)
    found = evaluate_clips(
        model,
        clips,
        data=options.audio.name,
        rooms=options.rooms,
        not_music=options.not_music,
        songs=options.songs,
        other=other,
        float_model=float_model_of(model, options.float_file) if options.float_file else None,
        leaky=options.leaky,
        console=console,
    )
    for table in recordings_tables(found):
        plain_console().print(table)
    if options.json is not None:
        write_json(options.json, found)
    if options.report is not None:
        from headnod_train.evaluation.recordings_report import write_recordings_report

        write_recordings_report(found, options.report, model.labels)


def _refuse_training_files(models: list[GenreModel], clips: list[Track], options: argparse.Namespace) -> None:
    """Check that no model was trained on the files, unless every figure is labelled."""
    from headnod_train.evaluation.evaluate import may_be_training_data
    from headnod_train.evaluation.results import EvaluationError
    from headnod_train.training.provenance import training_names

    if options.leaky:
        return
    # An archive of other files may name its tracks without their folders.
    names = [name for clip in clips for name in dict.fromkeys((clip.path.stem, clip.name))]
    files = [clip.path for clip in clips]
    for model in models:
        found = training_names(model.manifest.training.recipe, names)
        if found:
            raise EvaluationError(
                f"{model.manifest.id} was trained on {len(found)} of these files, such as {found[0]} (leave them out "
                "with --tracks, or label every figure with --leaky)"
            )
        if found is None and may_be_training_data(model.manifest, files) and not options.unseen:
            raise EvaluationError(
                f"{model.manifest.id} was trained on tracks of GTZAN, and these files have their names (state "
                "--unseen if it was not trained on these, or label every figure with --leaky)"
            )


def _learned(options: argparse.Namespace, archive: Archive, models: list[GenreModel]) -> bool:
    """Whether a model was trained on the evaluated tracks; an error without --leaky."""
    from headnod_train.evaluation.evaluate import trained_on, training_splits
    from headnod_train.evaluation.results import EvaluationError

    data, split = options.data.name, options.split
    learned = [each.manifest for each in models if trained_on(each.manifest, archive, data=data, split=split)]
    if learned and not options.leaky:
        raise EvaluationError(
            f"{learned[0].id} was trained on the splits {', '.join(training_splits(learned[0]))} of {data}, so it "
            f"cannot be evaluated on split {split} (name another one with --split, or label every figure with --leaky)"
        )
    return bool(learned)


def sounds_of(options: argparse.Namespace) -> SoundFolders:
    """The named folders, or the folder `audio` beside the archive."""
    from headnod_train.evaluation.evaluate import SoundFolders

    beside = options.data.parent / "audio"
    return SoundFolders(options.audio or (beside if beside.is_dir() else None), options.not_music)
