import numpy as np
import pytest

from headnod.errors import LedError
from headnod.outputs import show_all
from headnod.outputs.leds import LedSink, one_each
from headnod.pipeline.estimate import State
from support.estimates import condition, estimate

GENRES = ("jazz", "rock")


class Board:
    size = 2
    layout = staticmethod(one_each(GENRES))

    def __init__(self):
        self.painted, self.closed = [], 0

    def paint(self, light, _seconds):
        self.painted.append(light.levels.round(2).tolist())

    def close(self):
        self.closed += 1


class UnpluggedBoard(Board):
    def paint(self, _light, _seconds):
        message = "the board went away"
        raise LedError(message)


def test_bars_grow_frame_by_frame():
    lights = LedSink(board := Board())
    lights.show(estimate("jazz", jazz=1.0))
    for _ in range(3):
        lights.frame(0.1)
    assert board.painted == [[0.7, 0.0], [0.86, 0.0], [0.93, 0.0]]


def test_nothing_is_painted_before_a_frame_is_due():
    lights = LedSink(board := Board())
    lights.show(estimate("jazz", jazz=1.0))
    lights.show_status(condition(State.DEAF))
    assert board.painted == []


def test_lights_are_dark_in_the_end_and_closed_once():
    lights = LedSink(board := Board())
    lights.show(estimate("jazz", jazz=1.0))
    lights.frame(1.0)
    lights.close()
    lights.close()
    lights.frame(1.0)
    assert board.painted[-1] == [0.0, 0.0]
    assert len(board.painted) == 2
    assert board.closed == 1


def test_a_board_that_went_away_is_let_go_of_all_the_same():
    lights = LedSink(board := UnpluggedBoard())
    with pytest.raises(LedError):
        lights.close()
    assert board.closed == 1
    lights.close()


def test_a_condition_is_shown_like_an_estimate():
    lights = LedSink(board := Board())
    assert show_all([lights], condition(State.DEAF)) == [lights]
    lights.frame(0.0)
    lights.frame(0.5)
    assert board.painted[-1] == pytest.approx(np.array([0.6, 0.0]))
