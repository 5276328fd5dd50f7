"""`headnod classify`: one line a file."""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import ExitStack
from pathlib import Path

from headnod.cli.options import add_config, add_model, explained, load_config
from headnod.escaping import columns, padded, printable

_log = logging.getLogger(__name__)


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "classify",
        help="name the genre of whole files",
        description="Name the likeliest genre of each file and how sure that is.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help="audio, a playlist (m3u, m3u8, pls), or - for a file on stdin"
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="take the audio files in folders")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")
    add_model(parser)
    add_config(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Judge every file; one that cannot be heard is named and the others go on."""
    import msgspec

    from headnod.audio.audio_file import audio_file, delayed_interrupt, uninterrupted
    from headnod.audio.playlist import expanded
    from headnod.errors import AudioError
    from headnod.inference.model import GenreModel
    from headnod.pipeline.classify import classify
    from headnod.resources import configured_model

    config = load_config(options, {("--model", "model", "name"): options.model}).config
    model = GenreModel.load(configured_model(config.model.name))
    files, notes = expanded(options.files, recursive=options.recursive)
    for note in notes:
        _log.warning("%s", _shown(note))
    failed = 0 if files and (options.recursive or not any(map(os.path.isdir, options.files))) else 1
    width = max((columns(_shown(file)) for file in files), default=0)
    for file in files:
        try:
            with ExitStack() as opened:
                with delayed_interrupt():
                    blocks = opened.enter_context(
                        audio_file(Path("/dev/stdin" if file == "-" else file), model.front_end.sample_rate)
                    )
                verdict = classify(_named(file), uninterrupted(blocks), model)
        except AudioError as error:
            _log.error("%s", explained(error))
            failed += 1
            continue
        if options.json:
            print(msgspec.json.encode(verdict).decode(), flush=True)
        else:
            short = "  short" if verdict.short else ""
            name, genre = padded(_shown(file), width), padded(printable(verdict.genre), 10)
            print(f"{name}  {genre} {verdict.confidence:.2f}{short}", flush=True)
    return 1 if failed else 0


def _named(file: str) -> str:
    # A name that is no UTF-8 could not be printed as JSON.
    return os.fsencode(file).decode(errors="replace")


def _shown(file: str) -> str:
    return printable(_named(file))
