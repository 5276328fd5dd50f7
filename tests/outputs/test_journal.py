import logging
from datetime import timedelta

import msgspec
import pytest

from headnod.outputs.text import Journal
from headnod.pipeline.estimate import State
from headnod.pipeline.level import dbfs
from headnod.pipeline.level_meter import CREST, TOO_SOFT, LevelMeter
from headnod.testing import ManualClock
from support.estimates import condition, estimate, silence
from support.signals import RATE


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
def test_the_same_trouble_is_reported_again_after_five_minutes_whatever_the_wall_clock_says(lines, set_by):
    clock = ManualClock()
    journal = Journal(monotonic=clock.monotonic)
    trouble = condition(State.WAITING)
    journal.show_status(trouble)
    trouble = msgspec.structs.replace(trouble, time=trouble.time + set_by)
    for _ in range(299):
        clock.seconds += 1.0
        journal.show_status(trouble)
    assert lines() == [("WARNING", "waiting for microphone: the state is waiting_for_microphone")]
    for _ in range(2):
        clock.seconds += 1.0
        journal.show_status(trouble)
        assert len(lines()) == 2


def test_another_trouble_is_reported_at_once(lines):
    journal = Journal()
    journal.show_status(condition(State.WAITING))
    journal.show_status(condition(State.BEHIND))
    assert [text.partition(":")[0] for _, text in lines()] == ["waiting for microphone", "behind"]


def test_a_deaf_microphone_is_a_warning_that_says_what_helps(lines):
    journal = Journal()
    journal.show(deaf())
    assert ("WARNING", "deaf: the microphone sends nothing but zeros (is it muted, or its switch off?)") in lines()


def test_an_overdriven_microphone_is_a_warning_that_says_what_helps(lines):
    journal = Journal()
    journal.show(msgspec.structs.replace(estimate("jazz", jazz=0.81), state=State.CLIPPING))
    assert ("WARNING", "clipping: the microphone is overdriven (lower its gain with alsamixer)") in lines()


def test_a_recovery_is_reported(lines):
    journal = Journal()
    journal.show_status(condition(State.WAITING))
    journal.show(estimate("jazz", jazz=0.81))
    assert lines()[1:] == [("INFO", "sound arrives again"), ("INFO", "jazz (0.81) at -20 dBFS")]


def test_the_end_of_a_pause_is_no_recovery_of_the_microphone(lines):
    journal = Journal()
    journal.show_status(condition(State.PAUSED))
    journal.show(estimate("jazz", jazz=0.81))
    assert lines()[1:] == [("INFO", "the pause has ended"), ("INFO", "jazz (0.81) at -20 dBFS")]


def test_after_a_gap_the_genre_is_reported_anew(lines):
    journal = Journal()
    journal.show(estimate("jazz", jazz=0.81))
    journal.show_status(condition(State.WAITING))
    journal.show(estimate("jazz", jazz=0.81))
    assert [text for _, text in lines()].count("jazz (0.81) at -20 dBFS") == 2


def test_a_loose_plug_does_not_fill_the_journal(lines):
    clock = ManualClock()
    journal = Journal(monotonic=clock.monotonic)
    for _ in range(40):
        journal.show_status(condition(State.WAITING))
        journal.show(estimate("jazz", jazz=0.81))
        clock.seconds += 6.0
    assert sum(level == "WARNING" for level, _ in lines()) == 1


def played(journal, clock, level, *, seconds=60, genre="jazz", every=3):
    """A piece of music, an estimate every so many seconds, after what was played before."""
    for _ in range(seconds // every):
        clock.seconds += every
        heard = estimate(genre, jazz=0.81)
        journal.show(msgspec.structs.replace(heard, level=level, seconds=float(clock.seconds)))


QUIET = TOO_SOFT - CREST


@pytest.mark.parametrize(("level", "told"), [(QUIET - 0.1, 1), (QUIET, 0), (QUIET + 0.1, 0)])
def test_music_that_stays_too_quiet_is_one_warning(lines, level, told):
    clock = ManualClock()
    played(Journal(monotonic=clock.monotonic), clock, level)
    warnings = [text for kind, text in lines() if kind == "WARNING"]
    assert len(warnings) == told
    for text in warnings:
        assert text.startswith("too quiet: music is recorded at -48 dBFS (raise the microphone's gain by about 23 dB")


def test_one_loud_passage_is_enough(lines):
    clock = ManualClock()
    journal = Journal(monotonic=clock.monotonic)
    for _ in range(20):
        played(journal, clock, -55.0, seconds=27)
        played(journal, clock, QUIET + 1.0, seconds=3)
    assert [kind for kind, _ in lines() if kind == "WARNING"] == []


@pytest.mark.parametrize(("seconds", "told"), [(30, 0), (33, 1)])
def test_thirty_seconds_of_music_are_needed(lines, seconds, told):
    clock = ManualClock()
    played(Journal(monotonic=clock.monotonic), clock, -55.0, seconds=seconds)
    assert len([kind for kind, _ in lines() if kind == "WARNING"]) == told


@pytest.mark.parametrize("genre", ["silence", "unknown", "not music"])
def test_a_quiet_room_without_music_is_no_trouble(lines, genre):
    clock = ManualClock()
    played(Journal(monotonic=clock.monotonic), clock, -55.0, genre=genre, seconds=600)
    assert [kind for kind, _ in lines() if kind == "WARNING"] == []


def test_music_that_stays_too_quiet_is_reported_again_after_an_hour(lines):
    clock = ManualClock()
    journal = Journal(monotonic=clock.monotonic)
    played(journal, clock, -55.0, seconds=3_630)
    assert len([kind for kind, _ in lines() if kind == "WARNING"]) == 1
    played(journal, clock, -55.0, seconds=6)
    assert len([kind for kind, _ in lines() if kind == "WARNING"]) == 2


def test_the_level_of_real_music_is_within_the_crest_of_its_loud_moments(demo):
    for start in range(0, demo.size - 3 * RATE, RATE):
        window = demo[start : start + 3 * RATE]
        room = LevelMeter(RATE)
        room.update(window)
        assert 0.0 < room.report().loud - dbfs(window) < CREST


@pytest.mark.parametrize(("seconds", "warnings"), [(3_599.9, 1), (3_600.0, 2)])
def test_quiet_music_is_a_warning_again_after_an_hour(lines, seconds, warnings):
    clock = ManualClock()
    journal = Journal(monotonic=clock.monotonic)
    for at in (0.0, 30.0, 31.0):
        journal.show(msgspec.structs.replace(estimate("jazz", jazz=0.8), level=-55.0, seconds=at))
        clock.seconds += seconds if at == 30.0 else 0.0
    assert len([kind for kind, _ in lines() if kind == "WARNING"]) == warnings
