"""A label is any printable text of up to 64 characters, and the same rule holds wherever it is asked."""

import pytest

from headnod.escaping import label_fault


@pytest.mark.parametrize(
    "label",
    [
        "Rock", "hiphop", "R&B", "Hip-Hop", "Música", "日本", "Old-Time / Historic", "80s", "b" * 64, "日" * 64, '"',
        "\u0645\u06cc\u200c\u0631\u0648\u0645", "हिन्दी", "🎸", "👩\u200d🎤", "\U0001fae8", "silences",
        "not silence", "=1+1", "a  b", "[b]", "$a$", "\\", "{{ 1 }}", "#",
    ],
)  # fmt: skip
def test_any_printable_text_may_name_a_genre(label):
    assert label_fault(label) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("\u200d", "is empty"),
        ("b" * 65, "has 65 characters, a label may have 64"),
        (" Rock", "begins or ends with a space"),
        ("Rock ", "begins or ends with a space"),
        ("Mu\u0301sica", "is not in the composed form of Unicode (NFC)"),
        ("silence", "is reserved"),
        ("Unknown", "is reserved"),
        ("UNKNOWN", "is reserved"),
        ("jazz\x1b[2J", "holds U+001B, which cannot be printed"),
        ("jazz\n", "holds U+000A, which cannot be printed"),
        ("jazz\x00", "holds U+0000, which cannot be printed"),
        ("jazz\x7f", "holds U+007F, which cannot be printed"),
        ("a\u202eb", "holds U+202E RIGHT-TO-LEFT OVERRIDE, which cannot be printed"),
        ("a\u2066b", "holds U+2066 LEFT-TO-RIGHT ISOLATE, which cannot be printed"),
        ("a\u200fb", "holds U+200F RIGHT-TO-LEFT MARK, which cannot be printed"),
        ("a\u2028b", "holds U+2028 LINE SEPARATOR, which cannot be printed"),
        ("a\u00a0b", "holds U+00A0 NO-BREAK SPACE, which cannot be printed"),
        ("\ufeffrock", "holds U+FEFF ZERO WIDTH NO-BREAK SPACE, which cannot be printed"),
        ("caf\udce9", "holds U+DCE9, which cannot be printed"),
        ("a\ue000", "holds U+E000, which cannot be printed"),
        ("a\uffff", "holds U+FFFF, which cannot be printed"),
        ("a\ufdd0", "holds U+FDD0, which cannot be printed"),
    ],
)  # fmt: skip
def test_other_text_is_refused_with_its_reason(text, fault):
    found = label_fault(text)
    assert found is not None
    assert found.startswith(fault)
