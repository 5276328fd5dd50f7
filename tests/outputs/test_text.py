"""Lines that a person reads, and lines that a program reads."""

import io
import json

import msgspec
import pytest
from rich.cells import cell_len

from headnod.errors import AudioError
from headnod.outputs.text import JsonLines, Latest, PlainLines, read_latest
from headnod.pipeline.estimate import Estimate, HeldBy, State, StatusEvent
from support.estimates import condition, estimate, other_labels, silence


def plain(*heard):
    out = io.StringIO()
    sink = PlainLines(out)
    for each in heard:
        (sink.show if isinstance(each, Estimate) else sink.show_status)(each)
    sink.close()
    return out.getvalue().splitlines()


def test_a_line_says_when_what_how_sure_how_loud_and_what_else():
    heard = msgspec.structs.replace(estimate("jazz", jazz=0.81, blues=0.14, rock=0.02), seconds=83.4, level=-23.44)
    assert plain(heard) == ["  1:23  jazz       0.81   -23.4 dBFS  blues 0.14, rock 0.02"]


def test_what_is_not_worth_a_hundredth_is_left_out():
    assert plain(estimate("jazz", jazz=0.995, blues=0.004)) == ["  0:03  jazz       0.99   -20.0 dBFS"]


def test_silence_has_no_scores():
    assert plain(silence()) == ["  0:03  silence           -20.0 dBFS  (too quiet)"]


@pytest.mark.parametrize("held_by", [each for each in HeldBy if each is not HeldBy.NONE])
def test_a_genre_that_is_held_back_has_its_reason_in_plain_words(held_by):
    held = msgspec.structs.replace(estimate("unknown", jazz=0.31, blues=0.3), held_by=held_by)
    (line,) = plain(held)
    start = "  0:03  unknown    0.31   -20.0 dBFS  jazz 0.31, blues 0.30 ("
    assert line.startswith(start)
    assert line.endswith(")")
    reason = line.removeprefix(start).removesuffix(")")
    assert " " in reason
    assert "_" not in reason


def test_a_genre_that_stays_has_the_more_probable_one_beside_it():
    stays = msgspec.structs.replace(estimate("jazz", jazz=0.4, rock=0.45, pop=0.1), held_by=HeldBy.LEAD)
    (line,) = plain(msgspec.structs.replace(stays, confidence=0.4))
    assert "rock 0.45, pop 0.10 (another answer is more probable, but not by enough)" in line


def test_a_condition_says_its_state_and_why():
    assert plain(condition(State.WAITING)) == ["        waiting_for_microphone: the state is waiting_for_microphone"]


def test_an_evening_of_hours_keeps_its_minutes():
    assert plain(msgspec.structs.replace(silence(), seconds=36_000.9))[0].startswith("600:00 ")


@pytest.mark.parametrize("heard", [estimate("jazz", jazz=0.9, blues=0.1), silence(), condition(State.BEHIND)])
def test_json_can_be_read_back(heard):
    out = io.StringIO()
    sink = JsonLines(out)
    (sink.show if isinstance(heard, Estimate) else sink.show_status)(heard)
    sink.close()
    assert out.getvalue().endswith("\n")
    assert out.getvalue().count("\n") == 1
    assert msgspec.json.decode(out.getvalue(), type=type(heard)) == heard
    assert set(json.loads(out.getvalue())) == set(type(heard).__struct_fields__)


def test_an_estimate_and_a_condition_can_be_distinguished():
    assert "message" not in Estimate.__struct_fields__
    assert "genre" not in StatusEvent.__struct_fields__


@pytest.mark.parametrize("label", ["Música", "日本", "R&B", "🎸", "\u0645\u06cc\u200c\u0631"])
def test_columns_stand_under_each_other_whatever_letters_a_label_has(label):
    narrow, other = plain(estimate("jazz", jazz=0.8)), plain(other_labels(label, {label: 0.8, "jazz": 0.2}))
    assert other[0].startswith(f"  0:03  {label} ")
    assert cell_len(other[0].partition(" 0.80")[0].replace("\u200c", "")) == len(narrow[0].partition(" 0.80")[0])


def test_a_label_that_a_terminal_would_interpret_is_spelled_out():
    (line,) = plain(msgspec.structs.replace(estimate("jazz", jazz=0.8), genre="jazz\x1b[2J\n"))
    assert r"jazz\x1b[2J\n" in line


class Flushed(io.StringIO):
    flushes = 0

    def flush(self):
        self.flushes += 1
        super().flush()


@pytest.mark.parametrize("kind", [PlainLines, JsonLines])
def test_every_line_is_out_at_once(kind):
    out = Flushed()
    kind(out).show(silence())
    assert out.flushes == 1


@pytest.mark.parametrize(("score", "shown"), [(0.01, "pop 0.01"), (0.0099, "")])
def test_the_two_next_genres_are_shown_from_a_hundredth_on(score, shown):
    (line,) = plain(estimate("jazz", jazz=0.8, pop=score))
    assert line.partition("dBFS")[2].strip() == shown
    (line,) = plain(estimate("jazz", jazz=0.6, pop=0.2, rock=0.1, metal=0.05))
    assert line.endswith("  pop 0.20, rock 0.10")


@pytest.mark.parametrize(("size", "readable"), [(65_536, True), (65_537, False)])
def test_the_latest_estimate_is_read_from_64_kibibytes_at_most(tmp_path, size, readable):
    content = msgspec.json.encode(Latest(estimate=estimate("jazz", jazz=0.8)))
    (tmp_path / "latest").write_bytes(content.rjust(size))
    if readable:
        assert read_latest(tmp_path / "latest").estimate.genre == "jazz"
    else:
        with pytest.raises(AudioError, match="cannot be read"):
            read_latest(tmp_path / "latest")
