"""Names that hold control characters reach no terminal as they are."""

import io
import logging
import sys

import pytest
import soundfile

from headnod.escaping import columns, padded, printable
from headnod.log import formatter
from support.command_line import run, surroundings
from support.signals import RATE, music

CLEARING = "jazz\x1b[2J.wav"
SPELLED = r"jazz\x1b[2J.wav"


@pytest.mark.parametrize("text", ["jazz.wav", "Für Elise (live).ogg", "夜.flac", "", "a b"])
def test_what_can_be_printed_stays_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x202E, 0x2028, 0xDC80])
def test_what_a_terminal_would_interpret_is_spelled_out(code):
    shown = printable(f"a{chr(code)}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")


def test_joiners_within_words_and_emoji_stay():
    assert printable("\u0645\u06cc\u200c\u0631 👩\u200d🎤") == "\u0645\u06cc\u200c\u0631 👩\u200d🎤"


@pytest.mark.parametrize(
    ("text", "taken"), [("jazz", 4), ("日本", 4), ("Mu\u0301sica", 6), ("🎸", 2), ("\u0645\u200c\u0631", 2)]
)
def test_text_is_padded_by_the_columns_that_it_takes(text, taken):
    assert columns(text) == taken
    assert padded(text, 8) == text + " " * (8 - taken)
    assert padded(text, 1) == text


def test_a_file_s_name_is_spelled_out_beside_its_genre_and_in_an_error(tmp_path):
    path = tmp_path / CLEARING
    soundfile.write(path, music(1.0), RATE)
    ended = run("classify", path, tmp_path / "no\x1b]0;title\x07.wav", environment=surroundings(tmp_path))
    assert ended.stdout.startswith(str(tmp_path / SPELLED))
    assert "\x1b" not in ended.stdout + ended.stderr
    assert r"no\x1b]0;title\x07.wav: no such file" in ended.stderr


@pytest.mark.parametrize("journal", [False, True])
def test_a_name_in_the_log_makes_no_second_line_and_a_traceback_keeps_its_own(tmp_path, journal):
    with (tmp_path / "log").open("w") as stream:
        status = (tmp_path / "log").stat()
        form = formatter(stream.fileno(), f"{status.st_dev}:{status.st_ino}" if journal else "")
    try:
        raise ValueError(CLEARING)
    except ValueError:
        raised = sys.exc_info()
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(form)
    handler.emit(logging.LogRecord("headnod", logging.ERROR, __file__, 1, "%s\nforged", (CLEARING,), raised))
    first, *trace = out.getvalue().splitlines()
    assert first.endswith(SPELLED + r"\nforged")
    assert len(trace) > 2
    assert trace[-1].endswith(SPELLED)
    assert "\x1b" not in out.getvalue()
