"""What threads ask the link to publish: nothing is lost between them, and one bell is enough for many."""

import select
import threading

import pytest

from headnod.mqtt.messages import Request
from headnod.mqtt.outgoing import Outgoing


@pytest.fixture
def outgoing():
    made = Outgoing()
    made.begin()
    yield made
    made.close()


def rings(bell, within=1.0):
    ready = select.poll()
    ready.register(bell, select.POLLIN)
    return bool(ready.poll(1e3 * within))


def test_what_is_asked_for_before_the_bell_rings_is_taken_at_once(outgoing):
    for topic in "abc":
        assert outgoing.add(Request(topic, b""))
    assert not rings(outgoing.bell, 0.0), "whoever asks has a moment to fall asleep"
    assert rings(outgoing.bell)
    outgoing.bell.hush()
    assert [request.topic for request in outgoing.take()] == ["a", "b", "c"]
    assert not rings(outgoing.bell, 0.05)


def test_a_nudge_rings_with_nothing_to_take(outgoing):
    assert outgoing.nudge()
    assert rings(outgoing.bell)
    assert outgoing.take() == []


def test_nothing_is_added_after_the_end_and_what_was_is_taken(outgoing):
    outgoing.add(Request("a", b""))
    outgoing.end()
    assert not outgoing.add(Request("b", b""))
    assert not outgoing.nudge()
    assert [request.topic for request in outgoing.take()] == ["a"]


def test_one_that_is_closed_refuses_and_stays_closed(outgoing):
    outgoing.close()
    outgoing.close()
    outgoing.begin()
    assert not outgoing.add(Request("a", b""))


def test_nothing_that_threads_add_or_nudge_for_is_ever_left_lying(outgoing):
    """As the link does it: hush, look at what others wait for, take; each that was added is seen within moments."""
    told, waiting, seen, each = [], [], [], 2000

    def add(name):
        for number in range(each):
            outgoing.add(Request(f"{name}/{number}", b""))
        waiting.append(name)
        outgoing.nudge()

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    while len(told) < 4 * each or len(seen) < 4:
        assert rings(outgoing.bell, 2.0), f"{len(told)} came, and the bell is silent"
        outgoing.bell.hush()
        seen = list(waiting)
        told += outgoing.take()
    for thread in threads:
        thread.join()
    for name in "abcd":
        assert [told.topic for told in told if told.topic[0] == name] == [f"{name}/{n}" for n in range(each)]
