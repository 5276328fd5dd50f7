"""Labels: which texts may name a genre.

Import asks before anything is computed and the device asks again when it reads a
manifest, so both give the same answer: the one rule is here.
"""

from __future__ import annotations

import unicodedata

from headnod.escaping import JOINERS

NO_MUSIC = "unknown"
"""What the listener says to the answer behind the labels."""

RESERVED = ("silence", NO_MUSIC)
"""What the listener says when it names no genre, so no label may be called so, in capitals or not."""

LONGEST = 64
"""Characters that a label may have."""

_NONCHARACTERS = 0xFFFE
"""The last two code points of every plane are no characters, nor are U+FDD0 to U+FDEF."""


def label_fault(text: str) -> str | None:
    """Why a text cannot be a label, in words that follow it, or None if it can.

    >>> label_fault("Música"), label_fault("R&B"), label_fault("日本")
    (None, None, None)
    >>> label_fault("Unknown")
    'is reserved: the listener says so when it names no genre'
    """
    hidden = next((letter for letter in text if not _printable(letter)), None)
    checks = (
        (not text.strip(f" {JOINERS}"), "is empty"),
        (len(text) > LONGEST, f"has {len(text)} characters, a label may have {LONGEST}"),
        (hidden is not None, f"holds {_named(hidden or '')}, which cannot be printed"),
        (text != text.strip(), "begins or ends with a space"),
        (not unicodedata.is_normalized("NFC", text), "is not in the composed form of Unicode (NFC)"),
        (text.casefold() in RESERVED, "is reserved: the listener says so when it names no genre"),
    )
    return next((fault for broken, fault in checks if broken), None)


def _named(letter: str) -> str:
    return f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".rstrip() if letter else ""


def _printable(letter: str) -> bool:
    if letter in JOINERS or letter == " ":
        return True
    # Unassigned code points pass: they may be letters or emoji of a Unicode that is newer than this Python.
    noncharacter = ord(letter) & _NONCHARACTERS == _NONCHARACTERS or "\ufdd0" <= letter <= "\ufdef"
    return unicodedata.category(letter) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs"} and not noncharacter
