"""Lines of the log: a person reads the program's name before them, the journal how grave they are."""

import logging
import os
import subprocess
import sys

import pytest

from headnod.log import formatter
from support.command_line import HEADNOD, surroundings

WRONG = {"HEADNOD_LOG__LEVEL": "loud"}


@pytest.fixture
def ended(tmp_path):
    """What a wrong configuration makes the program write to a file, where this is the journal's stream."""

    def run(journal):
        with (tmp_path / "stderr").open("wb") as stderr:
            status = os.fstat(stderr.fileno())
            told = journal.format(device=status.st_dev, inode=status.st_ino)
            environment = surroundings(tmp_path, JOURNAL_STREAM=told, **WRONG)
            process = subprocess.run([*HEADNOD, "config", "check"], env=environment, stderr=stderr, check=False)
        assert process.returncode == 78
        return (tmp_path / "stderr").read_text()

    return run


def test_a_line_for_the_journal_has_its_priority_and_not_our_name(ended):
    assert ended("{device}:{inode}").startswith("<3>HEADNOD_LOG__LEVEL: ")


@pytest.mark.parametrize("other", ["", "{device}:1", "1:{inode}", "{inode}", "nonsense"])
def test_a_stream_that_is_not_the_journal_s_is_a_person_s(ended, other):
    assert ended(other).startswith("headnod: HEADNOD_LOG__LEVEL: ")


@pytest.fixture
def journal(tmp_path):
    """The formatter of a stream that is the journal's."""
    with (tmp_path / "journal").open("w") as stream:
        status = os.fstat(stream.fileno())
        return formatter(stream.fileno(), f"{status.st_dev}:{status.st_ino}")


def record(level, message, trace=None):
    return logging.LogRecord("headnod", level, __file__, 1, message, (), trace)


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.CRITICAL, 2),
        (logging.ERROR, 3),
        (logging.WARNING, 4),
        (logging.WARNING + 1, 4),
        (logging.INFO, 6),
        (logging.DEBUG, 7),
    ],
)
def test_every_level_has_its_priority(journal, level, priority):
    assert journal.format(record(level, "it is so")) == f"<{priority}>it is so"


def test_every_line_of_a_traceback_has_its_priority(journal):
    try:
        raise RuntimeError("a bug\nof two lines")
    except RuntimeError:
        lines = journal.format(record(logging.CRITICAL, "a part of headnod died", sys.exc_info())).splitlines()
    assert lines[0] == "<2>a part of headnod died"
    assert lines[-1] == "<2>of two lines"
    assert all(line.startswith("<2>") for line in lines)


def test_a_closed_stream_is_nobody_s(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        status, closed = os.fstat(stream.fileno()), os.dup(stream.fileno())
    os.close(closed)
    said = formatter(closed, f"{status.st_dev}:{status.st_ino}").format(record(logging.INFO, "hush"))
    assert said == "headnod: hush"
