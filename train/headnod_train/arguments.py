"""What a word of the command line may be: argparse's types, each refusing with one line.

Alone because the command line itself is long enough.
"""

from __future__ import annotations

import argparse

from headnod.frontend import FrontEnd

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


def crowd(text: str) -> int:
    """How many listeners."""
    return _between(text, 1, 9999)


def seconds(text: str) -> float:
    """How long."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not _LEAST_SECONDS <= value <= _MOST_SECONDS:
        message = f"'{text}' is no number of seconds from {_LEAST_SECONDS:g} to {_MOST_SECONDS:g}"
        raise argparse.ArgumentTypeError(message)
    return value


def address(text: str) -> tuple[str, int]:
    """Where a broker is: HOST or HOST:PORT."""
    host, colon, port = text.rpartition(":")
    return (host, _between(port, 1, 65_535)) if colon else (text, _PORT)


def _between(text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        message = f"'{text}' is no whole number from {least} to {most}"
        raise argparse.ArgumentTypeError(message)
    return value
