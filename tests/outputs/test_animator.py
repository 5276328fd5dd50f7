import logging
import threading
import time

import pytest

from headnod.errors import LedError
from headnod.outputs import show_all
from headnod.outputs.leds import AnimatedSink
from headnod.pipeline.estimate import State
from support.command_line import PATIENCE, PROMPT
from support.estimates import condition, estimate


class Flipbook:
    def __init__(self, *, broken=False, stuck=False):
        self.broken, self.stuck = broken, stuck
        self.seconds, self.heard, self.closed = [], [], 0
        self.drawn, self.pulled = threading.Semaphore(0), threading.Event()

    def show(self, estimate):
        self.heard.append(estimate)

    def show_status(self, condition):
        self.heard.append(condition)

    def frame(self, seconds):
        self.seconds.append(seconds)
        self.drawn.release()
        if self.broken:
            message = "the wire came off"
            raise LedError(message)
        if self.stuck:
            self.pulled.wait(PATIENCE)

    def close(self):
        self.closed += 1


@pytest.fixture
def animated():
    made = []

    def animate(drawing, **options):
        made.append(AnimatedSink(drawing, rate=200.0, **options))
        return made[-1]

    yield animate
    for each in made:
        each.close()


def ended(threads):
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def frames_of_flipbooks():
    return [thread for thread in threading.enumerate() if thread.name == "frames of Flipbook"]


def test_frames_come_by_themselves_and_say_how_much_time_passed(animated):
    began = time.monotonic()
    animated(book := Flipbook())
    assert all(book.drawn.acquire(timeout=PATIENCE) for _ in range(5))
    assert all(seconds > 0 for seconds in book.seconds)
    assert sum(book.seconds[:5]) <= time.monotonic() - began


def test_what_is_heard_reaches_the_drawing(animated):
    sink = animated(book := Flipbook())
    heard = [estimate("jazz", jazz=1.0), condition(State.DEAF)]
    assert show_all([sink], heard[0]) == show_all([sink], heard[1]) == [sink]
    assert book.heard == heard


def test_a_dead_animation_is_noticed_and_left_out(animated, caplog):
    sink = animated(book := Flipbook(broken=True))
    assert book.drawn.acquire(timeout=PATIENCE)
    assert ended(frames_of_flipbooks())
    with caplog.at_level(logging.WARNING):
        assert show_all([sink], estimate("jazz", jazz=1.0)) == []
    assert "the wire came off" in caplog.text
    assert book.closed == 1


def test_a_dead_animation_is_noticed_by_a_condition_too(animated):
    sink = animated(Flipbook(broken=True))
    assert ended(frames_of_flipbooks())
    with pytest.raises(LedError, match="the wire came off"):
        sink.show_status(condition(State.DEAF))


def test_no_frame_comes_after_the_end(animated):
    sink = animated(book := Flipbook())
    assert book.drawn.acquire(timeout=PATIENCE)
    sink.close()
    assert ended(frames_of_flipbooks())
    assert book.closed == 1


def test_a_lamp_that_hangs_in_its_driver_does_not_hold_up_the_end(animated):
    sink = animated(book := Flipbook(stuck=True))
    assert book.drawn.acquire(timeout=PATIENCE)
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < PROMPT
    assert all(thread.daemon for thread in frames_of_flipbooks())
    book.pulled.set()
    assert ended(frames_of_flipbooks())
