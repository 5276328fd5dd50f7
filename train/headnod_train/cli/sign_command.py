"""`headnod-train sign`: make the one file of a bundle that listeners trust."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from headnod_train.cli.command_options import add_key, add_passphrase_file, add_split, add_supersede, say

if TYPE_CHECKING:
    from headnod.inference.manifest import Health
    from headnod.inference.model import GenreModel


_EXAMPLES = """\
examples:
  headnod-train sign models/mine-1.0.0
  headnod-train sign models/mine-1.0.0 --out mine.bundle --data mine.npz
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach the parser this command."""
    parser = subparsers.add_parser(
        "sign",
        help="make the one file of a bundle that listeners trust",
        description="Give a bundle a serial and a signature, in one file that can be copied and deployed. The folder "
        "stays as it is; a file that is there already and up to date is left alone.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("bundle", type=Path, metavar="FOLDER", help="a bundle, such as models/genre-0.2.0")
    parser.add_argument("--out", type=Path, metavar="FILE", help="what to write (FOLDER.bundle)")
    parser.add_argument("--anew", action="store_true", help="give it a new serial, so that listeners go back to it")
    add_supersede(parser)
    parser.add_argument(
        "--data", type=Path, metavar="ARCHIVE", help="measure on this archive how spread answers are when all is well"
    )
    add_split(parser)
    add_key(parser)
    add_passphrase_file(parser)
    parser.set_defaults(run=run, kept="nothing was signed")


def run(options: argparse.Namespace, console: Console) -> None:
    """Sign, and name the file."""
    from headnod_train.deploy.passphrase import passphrase_from  # noqa: PLC0415
    from headnod_train.deploy.signing import sign  # noqa: PLC0415
    from headnod_train.deploy.signing_key import load  # noqa: PLC0415

    key = load(options.key, lambda: passphrase_from(options.passphrase_file))

    def health(model: GenreModel) -> Health:
        from headnod_train.dataset.archive import read_archive  # noqa: PLC0415
        from headnod_train.deploy.health_bounds import measure  # noqa: PLC0415

        return measure(model, read_archive(options.data, model.front_end), split=options.split, console=console)

    measured = None if options.data is None else health
    signed = sign(options.bundle, key, out=options.out, anew=options.anew, supersede=options.supersede, health=measured)
    say(f"{signed.path}: {signed.manifest.id}, serial {signed.manifest.serial}, {len(signed.content)} bytes")
