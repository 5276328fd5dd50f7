"""What several commands are told in the same words, and how they speak."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from headnod_train.cli.arguments import serial


def add_data(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The archive."""
    parser.add_argument("--data", type=Path, required=required, metavar="ARCHIVE", help="log-mel archive, an npz file")


def add_run(parser: argparse.ArgumentParser, purpose: str) -> None:
    """The folder of a run."""
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", dest="folder", help=purpose)


def add_key(parser: argparse.ArgumentParser) -> None:
    """The key that signs models."""
    parser.add_argument(
        "--key",
        type=Path,
        default=Path.home() / ".config" / "headnod" / "signing.key",
        metavar="FILE",
        help="the private key (~/.config/headnod/signing.key)",
    )


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    """Where the passphrase of the key is, if nobody is there to be asked."""
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="its first line is the key's passphrase (asked for)"
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """A side of the archive."""
    parser.add_argument("--split", default="valid", help="side of the archive to measure on (default %(default)s)")


def plain_console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is: labels and names of files may hold brackets and colons."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def say(text: str) -> None:
    """A line of the result, as it is, on stdout."""
    plain_console().print(text, soft_wrap=True)


def add_supersede(parser: argparse.ArgumentParser) -> None:
    """The way back from a serial that was made by a clock that was wrong."""
    parser.add_argument(
        "--supersede",
        type=serial,
        default=0,
        metavar="SERIAL",
        help="sign it anew and declare this greater serial void, which a clock that was wrong has made",
    )
