"""Options that several commands share, and argparse types with an error message of one line."""

from __future__ import annotations

import argparse
from pathlib import Path

from headnod.address import split_address
from headnod.cli.parser import number
from headnod.features.frontend import FrontEnd
from headnod_train.training.augment import MelAugmentation

SIGNING_KEY = Path.home() / ".config" / "headnod" / "signing.key"
"""Default place of the private key."""


positive, whole = number(int, 1, 10_000), number(int, 0, 2**32 - 1)
processes, folds = number(int, 1, 256), number(int, 2, 100)
coefficients, serial = number(int, 1, FrontEnd().n_mels), number(int, 1, 1 << 53)
few, listener_count, jobs = number(int, 0, 9999), number(int, 1, 50_000), number(int, 1, 1024)
rate, share = number(float, 0.0, 1.0), number(float, 0.0, 0.9)
seconds, excerpt_seconds = number(float, 0.1, 1e6, "seconds"), number(float, 3.0, 3600.0, "seconds")


def fold(text: str) -> tuple[int, int]:
    """Number of a fold and of all folds: K/N."""
    place, _, count = text.partition("/")
    return number(int, 1, folds(count))(place), folds(count)


def seeds(text: str) -> list[int]:
    """Seeds of several trainings."""
    return [whole(seed) for seed in text.split(",")]


def augmentation_strength(text: str) -> tuple[str, float | int | tuple[float, float]]:
    """One strength of the augmentation: NAME=NUMBER, or NAME=LOW,HIGH."""
    name, _, value = text.partition("=")
    known = vars(MelAugmentation())
    try:
        numbers = [float(number) for number in value.split(",")]
    except ValueError:
        numbers = []
    wanted = known.get(name)
    count = len(wanted) if isinstance(wanted, tuple) else 1
    if wanted is None or len(numbers) != count or min(numbers) < 0:
        message = (
            f"'{text}' is not a strength of an augmentation (NAME=NUMBER, or LOW,HIGH for noise; {', '.join(known)})"
        )
        raise argparse.ArgumentTypeError(message)
    if isinstance(wanted, tuple):
        return name, (numbers[0], numbers[1])
    return name, type(wanted)(numbers[0])


def place(text: str, usual: int = 0) -> tuple[str, int]:
    """Address of a broker, HOST or HOST:PORT; without a port that is the usual one, and 0 the default of MQTT."""
    try:
        host, port = split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return host, port or usual


def address(text: str) -> tuple[str, int]:
    """Address of a broker without TLS, HOST or HOST:PORT."""
    return place(text, 1883)


def add_data(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """The archive."""
    parser.add_argument("--data", type=Path, required=required, metavar="ARCHIVE", help="log-mel archive, an npz file")


def add_run(parser: argparse.ArgumentParser, purpose: str) -> None:
    """The folder of a run."""
    parser.add_argument("--run", type=Path, required=True, metavar="DIR", dest="folder", help=purpose)


def add_key(parser: argparse.ArgumentParser) -> None:
    """The key that signs models."""
    text = "private key (default ~/.config/headnod/signing.key)"
    parser.add_argument("--key", type=Path, default=SIGNING_KEY, metavar="FILE", help=text)


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    """The file with the passphrase of the key, for runs without a terminal."""
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="file with the passphrase in its first line (asked for)",
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """A split of the archive."""
    parser.add_argument("--split", default="valid", help="split of the archive to measure on (default %(default)s)")


def add_supersede(parser: argparse.ArgumentParser) -> None:
    """Replace a serial that was made while the clock was wrong."""
    parser.add_argument(
        "--supersede",
        type=serial,
        default=0,
        metavar="SERIAL",
        help="sign it again, and make this larger serial void, which was made while the clock was wrong",
    )


def add_wheel(parser: argparse.ArgumentParser) -> None:
    """The weights of the MusiCNN tagger."""
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="wheel of musicnn 0.1.0 (default: pip fetches it)")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path.home() / ".cache" / "headnod",
        metavar="DIR",
        help="folder that keeps the fetched wheel (default %(default)s)",
    )
