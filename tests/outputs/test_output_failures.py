"""A broken sink does not silence the others."""

import logging

import pytest

from headnod.errors import LedError
from headnod.outputs import close_all, show_all
from headnod.pipeline.estimate import State
from support.estimates import condition, estimate


class Kept:
    """A sink that keeps what it is shown, and fails with an error where it is given one."""

    def __init__(self, error=None, *, closing=None):
        self.shown, self.told, self.closed = [], [], 0
        self._error, self._closing = error, closing

    def show(self, heard):
        self.shown.append(heard)
        if self._error:
            raise self._error

    def show_status(self, why):
        self.told.append(why)
        if self._error:
            raise self._error

    def close(self):
        self.closed += 1
        if self._closing:
            raise self._closing


def test_everything_is_shown_everywhere():
    sinks = [Kept(), Kept()]
    heard, why = estimate("jazz", jazz=0.9), condition(State.WAITING)
    assert show_all(show_all(sinks, heard), why) == sinks
    for sink in sinks:
        assert (sink.shown, sink.told) == ([heard], [why])


def test_a_broken_sink_is_left_out_closed_and_logged_once(caplog):
    good, broken, last = Kept(), Kept(RuntimeError("no more")), Kept()
    heard = estimate("jazz", jazz=0.9)
    left = show_all([good, broken, last], heard)
    assert left == [good, last]
    assert show_all(left, heard) == [good, last]
    assert (len(broken.shown), broken.closed, good.closed) == (1, 1, 0)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "Kept failed and is left out" in caplog.text
    assert "no more" in caplog.text


def test_a_fault_that_somebody_can_mend_is_one_line_without_a_traceback(caplog):
    assert show_all([Kept(LedError("the lamp went away"))], estimate("jazz")) == []
    (record,) = caplog.records
    assert record.getMessage() == "the lamp went away; Kept is left out from now on"
    assert not record.exc_info


def test_a_reader_who_left_is_no_fault(caplog):
    gone = Kept(BrokenPipeError(), closing=BrokenPipeError())
    assert show_all([gone], condition(State.DEAF)) == []
    assert gone.closed == 1
    assert caplog.text == ""


def test_closing_goes_on_after_one_that_cannot_be_closed(caplog):
    sinks = [Kept(closing=OSError("stuck")), Kept()]
    close_all(sinks)
    assert sinks[1].closed == 1
    assert "Kept could not be closed" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(0)])
def test_who_stops_the_listener_is_applied(error):
    with pytest.raises(type(error)):
        show_all([Kept(error)], estimate("jazz"))
