"""`headnod-train tag`: what a large music tagger says of audio, to learn from."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.cli.arguments import seconds
from headnod_train.cli.command_options import say

_EXAMPLES = """\
examples:
  headnod-train tag ~/Music/by-genre --data mine.npz --out tags.npz
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "tag",
        help="ask a large music tagger about audio, to learn from its answers",
        description="Ask a large music tagger (MusiCNN, 50 tags) about audio, so that a network can learn from its "
        "answers. A second start goes on where the first one ended.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "audio", type=Path, metavar="AUDIO", help="audio file, folder, or CSV with a column 'path' (and 'track')"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="npz file to write or to go on with")
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
        help="keep an inner layer too: the 200 numbers before the tags (dense, if nothing is said) or all "
        "convolutions averaged over time, 753 numbers (mean)",
    )
    parser.add_argument(
        "--wheel", type=Path, metavar="FILE", help="the wheel of musicnn 0.1.0, if pip shall not fetch it"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "headnod",
        metavar="DIR",
        help="folder that keeps the fetched wheel (default %(default)s)",
    )
    parser.set_defaults(run=run, kept="what was tagged is kept; the same command goes on")


def run(options: argparse.Namespace, console: Console) -> None:
    """Tag, and say how it went."""
    from headnod_train.tagger.tag_file import TagFile  # noqa: PLC0415
    from headnod_train.tagger.tag_sources import sources  # noqa: PLC0415

    stretches = _stretches(options.data) if options.data else None
    tracks = sources(options.audio, only=stretches)
    file = TagFile(options.out, every=options.every, layer=options.inner)

    from headnod_train.tagger.tagger_network import Tagger  # noqa: PLC0415 - TensorFlow takes seconds
    from headnod_train.tagger.tagging import tag  # noqa: PLC0415
    from headnod_train.tagger.wheel import find_wheel, read_weights  # noqa: PLC0415

    teacher = Tagger(read_weights(options.wheel or find_wheel(options.cache)))
    told = tag(tracks, teacher, file, every=options.every, layer=options.inner, stretches=stretches, console=console)
    said = f"{options.out}: {len(file.tracks)} tracks, {len(file):,} windows"
    said += f"; {told.kept} tracks were there before" if told.kept else ""
    said += f"; {len(told.refused)} could not be heard" if told.refused else ""
    say(said)


def _stretches(data: Path) -> dict[str, tuple[float, float]]:
    """From which second to which of its file each track of an archive reaches."""
    from headnod.features.frontend import FrontEnd  # noqa: PLC0415
    from headnod_train.dataset.archive import read_archive  # noqa: PLC0415

    front_end = FrontEnd()
    archive = read_archive(data, front_end)
    starts = archive.first_samples[:, 0].clip(0) / front_end.sample_rate
    seconds = ((archive.frames - 1) * front_end.hop + front_end.n_fft) / front_end.sample_rate
    return {
        str(name): (float(start), float(start + length))
        for name, start, length in zip(archive.tracks, starts, seconds, strict=True)
    }
