"""What others have named, made safe to show to a person.

Alone because names of files, devices and models come from anywhere, and a terminal
obeys what is written to it: a name with an escape sequence could clear the screen.
"""

from __future__ import annotations

JOINERS = "\u200c\u200d"
"""Zero-width joiners: invisible, but part of words in Persian and Hindi, and of emoji."""


def legible(text: str) -> str:
    r"""Text in one line, in which whatever is not printable is spelled out.

    >>> print(legible("jazz\x1b[2J.wav"))
    jazz\x1b[2J.wav
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in JOINERS else each.encode("unicode_escape").decode() for each in text
    )
