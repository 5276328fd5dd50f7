"""Text from untrusted sources: made safe for a terminal, and the rule for genre labels.

Names of files, devices and models may hold escape sequences, which could clear the screen. It imports no numpy, so the
web page checks labels without loading it.
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


SILENCE, UNKNOWN = "silence", "unknown"
"""Values of `genre` that are no genres; the second also reports the extra "not music" output. A label must differ
from them, ignoring case."""

LONGEST = 64
"""Maximum length of a label in characters."""

_NONCHARACTERS = 0xFFFE
"""The last two code points of every plane are noncharacters, and so are U+FDD0 to U+FDEF."""


def label_fault(text: str) -> str | None:
    """The reason why a text cannot be a label, as the end of a sentence; None for a valid label.

    >>> label_fault("Música"), label_fault("R&B"), label_fault("日本")
    (None, None, None)
    >>> label_fault("Unknown")
    'is reserved: the listener reports it when it names no genre'
    """
    hidden = next((letter for letter in text if not _visible(letter)), None)
    checks = (
        (not text.strip(f" {JOINERS}"), "is empty"),
        (len(text) > LONGEST, f"has {len(text)} characters, a label may have {LONGEST}"),
        (hidden is not None, f"holds {_code_point(hidden or '')}, which cannot be printed"),
        (text != text.strip(), "begins or ends with a space"),
        (not unicodedata.is_normalized("NFC", text), "is not in the composed form of Unicode (NFC)"),
        (text.casefold() in {SILENCE, UNKNOWN}, "is reserved: the listener reports it when it names no genre"),
    )
    return next((fault for broken, fault in checks if broken), None)


def _code_point(letter: str) -> str:
    return f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".rstrip() if letter else ""


def _visible(letter: str) -> bool:
    if letter in JOINERS or letter == " ":
        return True
    # Unassigned code points pass: they may be letters or emoji of a Unicode that is newer than this Python.
    noncharacter = ord(letter) & _NONCHARACTERS == _NONCHARACTERS or "\ufdd0" <= letter <= "\ufdef"
    return unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"} and not noncharacter
