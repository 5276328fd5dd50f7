"""What a word of the command line may be: argparse's types, each refusing with one line.

Alone because the command line itself is long enough.
"""

from __future__ import annotations

import argparse

from headnod.address import split_address
from headnod.features.frontend import FrontEnd
from headnod_train.training.augment import MelAugmentation

_PORT = 1883
_LEAST_SECONDS, _MOST_SECONDS = 0.1, 1e6


def positive(text: str) -> int:
    """How many epochs."""
    return _between(text, 1, 10_000)


def whole(text: str) -> int:
    """A seed."""
    return _between(text, 0, 2**32 - 1)


def coefficients(text: str) -> int:
    """How many coefficients a frame has."""
    return _between(text, 1, FrontEnd().n_mels)


def processes(text: str) -> int:
    """Worker processes."""
    return _between(text, 1, 256)


def fold(text: str) -> tuple[int, int]:
    """Which fold of how many: K/N."""
    place, _, count = text.partition("/")
    folds = _between(count, 2, 100)
    return _between(place, 1, folds), folds


def seeds(text: str) -> list[int]:
    """Seeds of several trainings."""
    return [whole(seed) for seed in text.split(",")]


def bending(text: str) -> tuple[str, float | int | tuple[float, float]]:
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
            f"'{text}' is no strength of the augmentation (NAME=NUMBER, or LOW,HIGH for noise; {', '.join(known)})"
        )
        raise argparse.ArgumentTypeError(message)
    if isinstance(wanted, tuple):
        return name, (numbers[0], numbers[1])
    return name, type(wanted)(numbers[0])


def listener_count(text: str) -> int:
    """How many listeners."""
    return _between(text, 1, 9999)


def seconds(text: str) -> float:
    """How long."""
    return amount(text, _LEAST_SECONDS, _MOST_SECONDS, "seconds")


def amount(text: str, least: float, most: float, what: str) -> float:
    """A number of something."""
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        message = f"'{text}' is no number of {what} from {least:g} to {most:g}"
        raise argparse.ArgumentTypeError(message)
    return value


def serial(text: str) -> int:
    """The serial of a bundle."""
    return _between(text, 1, 1 << 53)


def few(text: str) -> int:
    """How many listeners, or none."""
    return _between(text, 0, 9999)


def place(text: str, usual: int = 0) -> tuple[str, int]:
    """Where a broker is, HOST or HOST:PORT; port 0 leaves it to TLS or no TLS."""
    try:
        host, port = split_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return host, port or usual


def address(text: str) -> tuple[str, int]:
    """Where a broker is: HOST or HOST:PORT."""
    return place(text, _PORT)


def _between(text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        message = f"'{text}' is no whole number from {least} to {most}"
        raise argparse.ArgumentTypeError(message)
    return value
