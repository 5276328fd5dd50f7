"""SIGHUP: the configuration is read again, what changed is replaced, and all else goes on."""

import signal
import sqlite3
import time
from collections import deque
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from support.listener_process import is_estimate, waits_until
from support.sound_loss import goes_on

AGAIN, OLD = "the configuration was read again", "the old configuration stays in force"
MOCK_PINS = {"GPIOZERO_PIN_FACTORY": "mock", "GPIOZERO_MOCK_PIN_CLASS": "mockpwmpin"}
LIGHTS = '[leds]\nkind = "pins"\nbrightness = {}\npins = {{jazz = 17, metal = 18}}\n'


@pytest.fixture
def daemon(configured, listening):
    """A listener that has heard something."""
    daemon = listening("--audio", "mic", "--config", configured())
    daemon.until(is_estimate)
    return daemon


def reload(daemon, answer):
    """What it said before it answered in the log, and for half a second of sound after that."""
    before = daemon.until(is_estimate)
    daemon.send(signal.SIGHUP)
    log, at = daemon.logged(answer), time.monotonic()
    said = daemon.everything_until(lambda said: is_estimate(said) and said["monotonic"] > at + 0.5)
    return [before, *filter(is_estimate, said)], log


def steps(said, field):
    return [after[field] - before[field] for before, after in pairwise(said)]


def test_nothing_changes_where_nothing_was_changed(daemon):
    program = daemon.capture
    said, log = reload(daemon, AGAIN)
    assert set(steps(said, "sequence")) == {1}
    assert goes_on(said), "the stream went on as it was"
    assert daemon.capture == program
    assert len(log.splitlines()) == 1


def test_another_pace_is_taken_up_and_the_numbers_go_on(daemon, configured):
    program = daemon.capture
    before = daemon.until(is_estimate)
    configured(every=0.4)
    daemon.send(signal.SIGHUP)
    daemon.logged(AGAIN)
    ends = deque(maxlen=4)

    def paced(said):
        # A busy machine may drop sound in between.
        ends.append(said.get("seconds", 0.0))
        return ends[-1] - ends[0] == pytest.approx(3 * 0.4, abs=0.15)

    said = filter(is_estimate, [before, *daemon.everything_until(paced)])
    assert set(steps(said, "sequence")) == {1}
    assert daemon.capture == program, "the microphone was opened anew for nothing"


def test_a_wrong_configuration_changes_nothing_and_is_reported_in_one_line(daemon, configured):
    wrong = [
        ("[listn]\nevery = 1.0\n", "there is no section 'listn' (did you mean 'listen'?)"),
        ('[leds]\nkind = "wled"\n', "leds.host: is empty"),
        ("[", "is not TOML"),
    ]
    for lines, (more, complaint) in enumerate(wrong, start=1):
        configured(every=0.5, more=more)
        said, log = reload(daemon, complaint)
        assert len(log.splitlines()) == lines
        assert OLD in log.splitlines()[-1]
        assert set(steps(said, "sequence")) == {1}
        assert goes_on(said)


def test_an_unknown_model_leaves_the_old_one_in_force(daemon, configured):
    configured(model="no-such-model")
    said, log = reload(daemon, OLD)
    assert "there is no model 'no-such-model'" in log
    assert {each["model"] for each in said} == {"fixed-1.0.0"}


def test_it_can_be_put_right_again(daemon, configured):
    configured(more="[listn]\n")
    reload(daemon, OLD)
    configured()
    _, log = reload(daemon, AGAIN)
    assert len(log.splitlines()) == 2


def test_another_microphone_is_opened(daemon, configured):
    program, before = daemon.capture, daemon.until(is_estimate)
    configured(dbfs=-50)
    daemon.send(signal.SIGHUP)
    said = [each for each in daemon.everything_until(lambda said: said.get("level", 0.0) < -30.0) if is_estimate(each)]
    assert AGAIN in daemon.log()
    assert before["level"] == pytest.approx(-20.0, abs=1.0)
    assert said[-1]["level"] == pytest.approx(-50.0, abs=0.5), "the window holds sound of both"
    assert set(steps([before, *said], "sequence")) == {1}
    assert not Path(f"/proc/{program}").exists()


def test_a_microphone_that_is_not_there_is_waited_for(daemon, configured):
    path = configured()
    path.write_text(path.read_text().replace("room_noise.py", "no_such_program.py"))
    daemon.send(signal.SIGHUP)
    daemon.logged(AGAIN)
    daemon.until(lambda said: said["state"] == "waiting_for_microphone")
    configured()
    daemon.send(signal.SIGHUP)
    daemon.until(is_estimate)


def test_lights_are_made_anew_only_where_they_were_changed(configured, listening):
    pytest.importorskip("gpiozero", reason="gpiozero is not installed: scripts/setup device")
    daemon = listening("--audio", "mic", "--config", configured(more=LIGHTS.format(0.5)), **MOCK_PINS)
    daemon.until(is_estimate)

    def threads():
        return set(Path(f"/proc/{daemon.pid}/task").iterdir())

    before = threads()
    assert len(before) > 1, f"nothing moves the lights: {daemon.log()}"
    configured(every=0.3, more=LIGHTS.format(0.5))
    reload(daemon, AGAIN)
    assert threads() == before
    configured(every=0.3, more=LIGHTS.format(0.9))
    daemon.send(signal.SIGHUP)
    assert waits_until(lambda: threads() != before)
    daemon.until(is_estimate)
    assert daemon.settled().threads == len(before)


def test_history_goes_on_in_another_file(configured, listening, tmp_path):
    one, two = tmp_path / "one.sqlite", tmp_path / "two.sqlite"
    daemon = listening("--audio", "mic", "--config", configured(more=f'[history]\npath = "{one}"\n'))
    daemon.until(is_estimate)
    configured(more=f'[history]\npath = "{two}"\n')
    reload(daemon, AGAIN)
    daemon.send(signal.SIGTERM)
    assert daemon.ended()[0] == 0
    first, second = (numbers_in(path) for path in (one, two))
    assert first
    assert second
    assert first + second == list(range(len(first) + len(second)))


def numbers_in(path):
    with closing(sqlite3.connect(path)) as db:
        return [number for (number,) in db.execute("SELECT sequence FROM estimates ORDER BY time")]


@pytest.mark.long
def test_reloading_leaks_nothing(configured, listening, tmp_path):
    more = LIGHTS.format(0.5) + f'[history]\npath = "{tmp_path}/0.5.sqlite"\n'
    daemon = listening("--audio", "mic", "--config", configured(more=more), **MOCK_PINS)
    daemon.until(is_estimate)
    counts = []
    for turn in range(5):
        configured(dbfs=-20 - turn % 2, more=more.replace("0.5", f"0.{turn % 2 + 1}"))
        daemon.send(signal.SIGHUP)
        assert waits_until(lambda count=turn + 1: daemon.log().count(AGAIN) == count)
        counts.append(daemon.settled())
    assert len({(each.files, each.threads) for each in counts}) == 1
