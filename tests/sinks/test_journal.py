import logging
from datetime import timedelta

import msgspec
import pytest

from doubles import Clock
from headnod.outputs.journal import Journal
from headnod.pipeline.estimate import State
from heard import condition, estimate, silence


@pytest.fixture
def lines(caplog):
    """What stands in the log so far, a level and a text each."""
    caplog.set_level(logging.INFO)
    return lambda: [(record.levelname, record.message) for record in caplog.records]


def deaf(genre="silence"):
    return msgspec.structs.replace(estimate(genre), state=State.DEAF)


def test_a_genre_is_one_line_however_long_it_plays(lines):
    journal = Journal()
    for _ in range(200):
        journal.show(estimate("jazz", jazz=0.81))
    assert lines() == [("INFO", "jazz (0.81) at -20 dBFS")]


def test_a_change_of_genre_is_a_line_and_silence_is_one_too(lines):
    journal = Journal()
    for heard in (estimate("jazz", jazz=0.81), silence(), estimate("jazz", jazz=0.5), estimate("rock", rock=0.7)):
        journal.show(heard)
    assert [text.split()[0] for _, text in lines()] == ["jazz", "silence", "jazz", "rock"]


@pytest.mark.parametrize("set_by", [timedelta(0), timedelta(hours=-2), timedelta(days=68)])
def test_the_same_trouble_is_told_again_after_five_minutes_whatever_the_wall_clock_says(lines, set_by):
    clock = Clock()
    journal = Journal(monotonic=clock.monotonic)
    trouble = condition(State.WAITING)
    journal.tell(trouble)
    trouble = msgspec.structs.replace(trouble, time=trouble.time + set_by)
    for _ in range(299):
        clock.seconds += 1.0
        journal.tell(trouble)
    assert lines() == [("WARNING", "waiting for microphone: the state is waiting_for_microphone")]
    for _ in range(2):
        clock.seconds += 1.0
        journal.tell(trouble)
        assert len(lines()) == 2


def test_another_trouble_is_told_at_once(lines):
    journal = Journal()
    journal.tell(condition(State.WAITING))
    journal.tell(condition(State.BEHIND))
    assert [text.partition(":")[0] for _, text in lines()] == ["waiting for microphone", "behind"]


def test_a_deaf_microphone_is_a_warning_that_says_what_helps(lines):
    journal = Journal()
    journal.show(deaf())
    assert ("WARNING", "deaf: the microphone sends nothing but zeros (is it muted, or its switch off?)") in lines()


def test_an_overdriven_microphone_is_a_warning_that_says_what_helps(lines):
    journal = Journal()
    journal.show(msgspec.structs.replace(estimate("jazz", jazz=0.81), state=State.CLIPPING))
    assert ("WARNING", "clipping: the microphone is overdriven (lower its gain with alsamixer)") in lines()


def test_a_recovery_is_told(lines):
    journal = Journal()
    journal.tell(condition(State.WAITING))
    journal.show(estimate("jazz", jazz=0.81))
    assert lines()[1:] == [("INFO", "the microphone is heard again"), ("INFO", "jazz (0.81) at -20 dBFS")]


def test_after_a_gap_the_genre_is_told_anew(lines):
    journal = Journal()
    journal.show(estimate("jazz", jazz=0.81))
    journal.tell(condition(State.WAITING))
    journal.show(estimate("jazz", jazz=0.81))
    assert [text for _, text in lines()].count("jazz (0.81) at -20 dBFS") == 2


def test_a_loose_plug_does_not_fill_the_journal(lines):
    clock = Clock()
    journal = Journal(monotonic=clock.monotonic)
    for _ in range(40):
        journal.tell(condition(State.WAITING))
        journal.show(estimate("jazz", jazz=0.81))
        clock.seconds += 6.0
    assert sum(level == "WARNING" for level, _ in lines()) == 1
