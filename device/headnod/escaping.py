"""What others have named, made safe to show to a person.

Alone because names of files, devices and models come from anywhere, and a terminal
obeys what is written to it: a name with an escape sequence could clear the screen.
"""

from __future__ import annotations

import unicodedata

JOINERS = "\u200c\u200d"
"""Zero-width joiners: invisible, but part of words in Persian and Hindi, and of emoji."""


def printable(text: str) -> str:
    r"""Text in one line, in which whatever is not printable is spelled out.

    >>> print(printable("jazz\x1b[2J.wav"))
    jazz\x1b[2J.wav
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in JOINERS else each.encode("unicode_escape").decode() for each in text
    )


def padded(text: str, width: int) -> str:
    """Text followed by spaces up to so many columns of a terminal: Chinese, Japanese, Korean and emoji take two.

    >>> [padded(label, 6) + "|" for label in ("jazz", "日本")]
    ['jazz  |', '日本  |']
    """
    return text + " " * (width - columns(text))


def columns(text: str) -> int:
    """Columns that a terminal takes for a text."""
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if letter in JOINERS or unicodedata.category(letter) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in {"W", "F"} else 1
