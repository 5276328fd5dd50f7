"""`headnod-train prepare`: windows of real waveforms, clean and degraded, to distil a network from."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.cli.arguments import processes, whole
from headnod_train.cli.command_options import say

_LABELS = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


_EXAMPLES = """\
examples:
  headnod-train prepare --out windows --yamnet yamnet.tflite --clips audio --tracks train.txt --not-music not_music
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "prepare",
        help="make training windows from waveforms, clean and through rooms",
        description="Decode music, speech and noise, play them through simulated loudspeakers, measured rooms, "
        "microphones and codecs, and write log-mel windows of both with YAMNet's scores.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the windows")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="GTZAN audio clips, files called as the tracks")
    parser.add_argument("--tracks", type=Path, metavar="FILE", help="names of the tracks that may be learned from")
    parser.add_argument(
        "--music", type=Path, metavar="ARCHIVE", help="archive of unlabelled music whose names are Debian packages"
    )
    parser.add_argument("--debs", type=Path, metavar="DIR", help="folder for Debian packages (default OUT/debs)")
    parser.add_argument("--not-music", type=Path, metavar="DIR", help="folder with speech/ and noise/")
    parser.add_argument("--rooms", type=Path, metavar="DIR", help="folder of impulse responses")
    parser.add_argument("--yamnet", type=Path, required=True, metavar="FILE", help="YAMNet as a TensorFlow Lite file")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="default %(default)s")
    parser.add_argument("--processes", type=processes, default=2, metavar="N", help="workers (default %(default)s)")
    parser.set_defaults(run=run, kept="packages that were fetched are kept; no windows were written")


def run(options: argparse.Namespace, console: Console) -> None:
    """Prepare, and say how many windows there are."""
    from headnod_train.distillation import recordings as found  # noqa: PLC0415 - scipy takes a second
    from headnod_train.distillation.degradation import read_all  # noqa: PLC0415
    from headnod_train.distillation.window_sets import BASE_RATE, make_windows  # noqa: PLC0415

    wanted: list[found.Recording] = []
    if options.clips:
        if options.tracks is None:
            message = "--clips needs --tracks: the list of tracks that may be learned from"
            raise found.RecordingError(message)
        wanted += found.gtzan_clips(options.clips, options.tracks.read_text("utf-8").split(), _LABELS)
    if options.music:
        names, debs = found.names_in(options.music), options.debs or options.out / "debs"
        found.download(found.packages(names), debs)
        wanted += found.debian_music(debs, names, options.out / "music")
    if options.not_music:
        wanted += found.other_sounds(options.not_music)
    if not wanted:
        message = "there is nothing to prepare (name --clips, --music or --not-music)"
        raise found.RecordingError(message)
    rooms = [read_all(path, BASE_RATE) for path in sorted(options.rooms.glob("*.flac"))] if options.rooms else []
    count = make_windows(
        wanted,
        options.out,
        rooms=rooms,
        yamnet=options.yamnet,
        seed=options.seed,
        processes=options.processes,
        console=console,
    )
    say(f"{options.out}: {count:,} windows of {len(wanted)} recordings")
