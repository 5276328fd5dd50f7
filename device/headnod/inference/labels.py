"""The rule for genre labels.

It imports no numpy, so the web page checks labels without loading it.
"""

from __future__ import annotations

import unicodedata

from headnod.escaping import JOINERS

NO_MUSIC = "unknown"
"""Name reported for the extra "not music" output."""

RESERVED = ("silence", NO_MUSIC)
"""Values of `genre` that are no genres. A label must differ from them, ignoring case."""

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
    hidden = next((letter for letter in text if not _printable(letter)), None)
    checks = (
        (not text.strip(f" {JOINERS}"), "is empty"),
        (len(text) > LONGEST, f"has {len(text)} characters, a label may have {LONGEST}"),
        (hidden is not None, f"holds {_code_point(hidden or '')}, which cannot be printed"),
        (text != text.strip(), "begins or ends with a space"),
        (not unicodedata.is_normalized("NFC", text), "is not in the composed form of Unicode (NFC)"),
        (text.casefold() in RESERVED, "is reserved: the listener reports it when it names no genre"),
    )
    return next((fault for broken, fault in checks if broken), None)


def _code_point(letter: str) -> str:
    return f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".rstrip() if letter else ""


def _printable(letter: str) -> bool:
    if letter in JOINERS or letter == " ":
        return True
    # Unassigned code points pass: they may be letters or emoji of a Unicode that is newer than this Python.
    noncharacter = ord(letter) & _NONCHARACTERS == _NONCHARACTERS or "\ufdd0" <= letter <= "\ufdef"
    return unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"} and not noncharacter
