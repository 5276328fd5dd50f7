"""Turns: quick ones on the thread that is awake, others on one that may wait, and never two at once."""

import threading

import pytest

from headnod.mqtt.timers import Turns
from headnod.testing import ManualClock
from support.mqtt_publisher import until


class Work:
    """Notes on which thread it was done; slow work waits until it is let go."""

    def __init__(self):
        self.threads, self.free, self.quick, self.awake = [], threading.Event(), True, True
        self.free.set()
        self.finished, self.fails = 0, False

    def __call__(self):
        self.threads.append(threading.current_thread().name)
        self.free.wait(10.0)
        if self.fails:
            raise RuntimeError("injected")
        return 60.0

    def finish(self):
        self.finished += 1


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def turns(work, opened):
    made = Turns(
        work, work.finish, quick=lambda: work.quick, nudge=lambda: work.awake, monotonic=ManualClock().monotonic
    )
    opened.callback(made.end, 5.0)
    opened.callback(work.free.set)
    made.start()
    until(lambda: work.threads == ["MQTT"])
    return made


def test_a_quick_turn_is_taken_by_the_thread_that_is_awake(turns, work):
    turns.wake()
    assert turns.spare() == 60.0
    assert work.threads == ["MQTT", threading.current_thread().name]


def test_a_turn_that_would_wait_is_left_to_the_other_thread(turns, work):
    work.quick = False
    assert turns.spare() is None
    until(lambda: work.threads == ["MQTT", "MQTT"])


def test_a_thread_that_nobody_can_nudge_is_not_waited_for(turns, work):
    work.awake = False
    turns.wake()
    until(lambda: work.threads == ["MQTT", "MQTT"])


def test_nobody_waits_for_a_turn_that_another_has_and_it_is_taken_again(turns, work):
    work.free.clear()
    turns.rouse()
    until(lambda: len(work.threads) == 2)
    assert turns.spare() is None
    work.free.set()
    until(lambda: work.threads == ["MQTT"] * 3)


def test_work_that_fails_is_told_once_and_tried_again_soon(turns, work, caplog):
    work.fails = True
    assert [turns.spare(), turns.take()] == [1.0, 1.0]
    assert caplog.text.count("MQTT: a part of it failed") == 1


def test_the_end_finishes_once_and_says_whether_there_was_a_beginning(turns, work):
    assert turns.end(5.0)
    assert work.finished == 1
    assert not Turns(work, work.finish, quick=bool, nudge=bool).end(5.0)
