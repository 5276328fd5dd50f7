"""`headnod-train play`: guess labels by ear, against a model."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from rich.console import Console

from headnod_train.cli.command_options import positive, whole
from headnod_train.console import print_line

_EXAMPLES = """\
examples:
  headnod-train play ~/music
  headnod-train play ~/music --model models/mine-1.0.0 --rounds 20
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "play",
        help="listen to three seconds, guess the genre, and compare with a model",
        description="Listen to three seconds of a random track, guess the genre, and see the bars of a model.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("music", type=Path, metavar="MUSIC", help="folder of music, a folder for each genre")
    parser.add_argument("--model", default="genre", metavar="BUNDLE", help="the other player (default %(default)s)")
    parser.add_argument("--rounds", type=positive, default=10, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=whole, help="the same tracks again")
    parser.add_argument(
        "--player", metavar="COMMAND", help="program that plays a WAV file (pw-play, paplay, aplay, afplay)"
    )
    parser.set_defaults(run=run, kept="the game is over")


def run(options: argparse.Namespace, console: Console) -> None:
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
        message = (
            f"{options.music}: none of its folders is a label of {model.manifest.id} "
            f"({', '.join(model.manifest.labels)}); choose another --model"
        )
        raise CollectionError(message)
    others = sorted({track.genre for track in found} - known)
    if others:
        print_line(console, f"left out: {', '.join(others)} (no labels of {model.manifest.id})")
    player = shlex.split(options.player) if options.player else find_player()
    rng = np.random.default_rng(options.seed)
    score = play(
        tracks, model, rounds=options.rounds, player=player, answer=input, rng=rng, console=plain_console(stderr=True)
    )
    print_result(str(score))
