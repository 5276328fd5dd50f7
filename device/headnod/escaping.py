"""Text from untrusted sources, made safe for a terminal.

Names of files, devices and models may hold escape sequences, which could clear the screen.
"""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""Zero-width joiners: invisible parts of words in Persian and Hindi, and of emoji."""


def printable(text: str) -> str:
    r"""Text on one line, with escape sequences in place of characters that are not printable.

    >>> print(printable("jazz\x1b[2J.wav"))
    jazz\x1b[2J.wav
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in JOINERS else each.encode("unicode_escape").decode() for each in text
    )


def padded(text: str, width: int) -> str:
    """Text padded with spaces to `width` columns; Chinese, Japanese, Korean and emoji take two.

    >>> [padded(label, 6) + "|" for label in ("jazz", "日本")]
    ['jazz  |', '日本  |']
    """
    return text + " " * (width - columns(text))


def columns(text: str) -> int:
    """Width of a text in columns of a terminal."""
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if letter in JOINERS or unicodedata.category(letter) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1
