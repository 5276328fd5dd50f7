"""What lights show: genres placed on a row of lights, bars that follow the estimates, and a thread that paints them.

GPIO LEDs, strips, WLED lamps and the preview share this, so a genre and a muted
microphone look the same on all of them.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headnod.escaping import SILENCE
from headnod.outputs import colours
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.pipeline.smoothing import EnvelopeFollower

if TYPE_CHECKING:
    from headnod.config.sections import LedsSection, Mode

Heights = Mapping[str, float]
"""Height of the bar of every genre, 0-1."""


class LedFrame(NamedTuple):
    """What a row of lights shows at one moment, in perceived brightness."""

    levels: NDArray[np.float64]
    """Brightness of every light, shape (lights,), 0-1. Half looks half as bright: apply a gamma before a duty cycle."""

    colours: NDArray[np.float64]
    """Colour of every light at full level, shape (lights, 3), sRGB, 0-1."""

    needed: bool = True
    """Whether there is something to show; a lamp that is shared with others is released otherwise."""

    def pixels(self) -> NDArray[np.float64]:
        """Colour times level, shape (lights, 3), sRGB, 0-1."""
        return self.levels[:, np.newaxis] * self.colours


def eight_bits(shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Numbers from 0 to 1 as bytes, rounded."""
    return (shares * 255).round().astype(np.uint8)


Layout = Callable[[Heights, int], LedFrame]
"""Places the bars of all genres on a number of lights."""


def bars(heights: Heights, size: int) -> LedFrame:
    """Gives every genre an equal stretch and lights as much of it as the bar is high.

    The last light of a bar is dimmed to the remaining fraction; lights that do not
    divide evenly stay dark at the end. Fewer lights than genres show the highest
    bars, as `best` does.
    """
    stretch = size // len(heights) if heights else 0
    if stretch == 0:
        return best(heights, size)
    lit = np.clip(np.array(list(heights.values()))[:, np.newaxis] * stretch - np.arange(stretch), 0.0, 1.0)
    frame = dark(size)
    frame.levels[: lit.size] = lit.ravel()
    frame.colours[: lit.size] = np.repeat(_colours(heights, heights), stretch, axis=0)
    return frame


def best(heights: Heights, size: int) -> LedFrame:
    """Shows the highest bars in descending order, one light each."""
    ranked = sorted(heights, key=lambda label: -heights[label])[:size]
    frame = dark(size)
    frame.levels[: len(ranked)] = [_level(heights[label]) for label in ranked]
    frame.colours[: len(ranked)] = _colours(ranked, heights)
    return frame


def mood(heights: Heights, size: int) -> LedFrame:
    """Shows one colour on all lights: the mean of the genres' colours, weighted towards the highest bar."""
    frame = dark(size)
    if any(heights.values()):
        shares = np.array(list(heights.values()))
        frame.levels[:] = _level(shares.max())
        # The fourth power, because a plain mean of ten colours is nearly grey.
        frame.colours[:] = np.average(_colours(heights, heights), axis=0, weights=(shares / shares.max()) ** 4)
    return frame


def one_each(labels: Sequence[str]) -> Layout:
    """A layout that gives each of these genres its own light, in this order."""

    def layout(heights: Heights, size: int) -> LedFrame:
        frame = dark(size)
        frame.levels[: len(labels)] = [_level(heights.get(label, 0.0)) for label in labels]
        frame.colours[: len(labels)] = _colours(labels, heights)
        return frame

    return layout


LAYOUTS: dict[Mode, Layout] = {"bars": bars, "mood": mood}
"""The layout of every mode."""


def dark(size: int) -> LedFrame:
    """A frame in which all lights are off."""
    return LedFrame(np.zeros(size), np.ones((size, 3)))


def _level(height: float) -> float:
    # One third of the probability is high among ten genres, and should not look almost dark.
    return math.sqrt(height)


def _colours(labels: Iterable[str], heights: Heights) -> NDArray[np.float64]:
    # From all labels of the model, so that a genre keeps its colour where only the best are shown.
    chosen = colours(heights, labels)
    return np.array([chosen[label] for label in labels], np.float64).reshape(-1, 3) / 255


RELEASE = 60.0
"""Seconds without music after which lights are not needed."""

RELEASE_PAUSED = 3.0
"""The same while the listener is paused: no song is about to start."""

_AMBER, _RED = (1.0, 0.55, 0.0), (1.0, 0.0, 0.0)
_UNNAMED = 0.5
"""Height of bars, as a share of the probability, while no genre is named."""


class Animation:
    """Frames of one row of lights, computed from the latest estimate or status and the time since.

    Bars of genres while estimates arrive, at half height while no genre is named,
    dark in silence; a pattern that looks like no bar while there are no estimates.
    """

    def __init__(self, layout: Layout, size: int) -> None:
        """Animate `size` lights."""
        self._layout, self._size = layout, size
        self._labels: tuple[str, ...] = ()
        self._follower = EnvelopeFollower(0)
        self._latest: Estimate | StatusEvent | None = None
        self._shown: Estimate | StatusEvent | None = None
        self._age = self._idle = 0.0

    def show(self, latest: Estimate | StatusEvent) -> None:
        """Show this from now on. May be called while another thread computes a frame."""
        self._latest = latest

    def frame(self, seconds: float) -> LedFrame:
        """The frame that is due `seconds` after the last one."""
        latest = self._latest
        self._age = self._age + seconds if latest is self._shown or _same_state(latest, self._shown) else 0.0
        self._shown = latest
        self._idle = 0.0 if isinstance(latest, Estimate) and latest.genre != SILENCE else self._idle + seconds
        if isinstance(latest, Estimate):
            frame = self._layout(self._heights(latest, seconds), self._size)
            return frame._replace(needed=self._idle < RELEASE)
        # The last estimate is out of date, so its bars vanish at once.
        self._follower.reset()
        state = latest.state if latest else State.STARTING
        paused = state is State.PAUSED and self._age >= RELEASE_PAUSED
        return pattern(state, self._size, self._age)._replace(needed=self._idle < RELEASE and not paused)

    def _heights(self, estimate: Estimate, seconds: float) -> dict[str, float]:
        labels = tuple(estimate.scores)
        if labels != self._labels:
            self._labels = labels
            self._follower = EnvelopeFollower(len(labels))
        targets = np.array(list(estimate.scores.values())) * (1.0 if estimate.named else _UNNAMED)
        heights = self._follower.update(targets, seconds)
        return dict(zip(labels, heights.tolist(), strict=True))


def pattern(state: State, size: int, seconds: float) -> LedFrame:
    """The frame of a state without estimates, `seconds` after its beginning.

    Starting: all lights pulse faintly in white. Waiting for a microphone: one amber
    light moves to and fro. Digital silence: odd and even lights alternate in red.
    Every other state is dark.
    """
    turn, place = 2 * np.pi * seconds, np.arange(size)
    frame = dark(size)
    if state is State.STARTING:
        frame.levels[:] = 0.15 * (1 - np.cos(turn / 4))
    elif state is State.WAITING:
        centre = (size - 1) * (1 - np.cos(turn / 4)) / 2
        frame.levels[:] = 0.7 * np.exp(-(((place - centre) / max(0.8, size / 20)) ** 2))
        frame.colours[:] = _AMBER
    elif state is State.DEAF:
        frame.levels[:] = 0.6 * (0.5 + 0.5 * np.sin(turn / 2) * (1 - 2 * (place % 2)))
        frame.colours[:] = _RED
    return frame


def _same_state(one: Estimate | StatusEvent | None, other: Estimate | StatusEvent | None) -> bool:
    # A status that is repeated must not restart its pattern.
    return isinstance(one, StatusEvent) and isinstance(other, StatusEvent) and one.state is other.state


class Lamp(Protocol):
    """A row of lights: LEDs on pins, a strip, or a lamp on the network."""

    @property
    def size(self) -> int:
        """Number of lights."""

    @property
    def layout(self) -> Layout:
        """Places genres on the lights."""

    def paint(self, frame: LedFrame, seconds: float) -> None:
        """Show a frame, `seconds` after the last one.

        Raises:
            LedError: The lights are no longer there.
        """

    def close(self) -> None:
        """Release the lights; may be called twice."""


class Strip:
    """Size and layout of a strip or lamp, from its section of the configuration."""

    _section: LedsSection

    @property
    def size(self) -> int:
        """Number of LEDs."""
        return self._section.count

    @property
    def layout(self) -> Layout:
        """Bars or mood."""
        return LAYOUTS[self._section.mode]


class LedSink:
    """A lamp as a sink; it paints only when `frame` is called."""

    def __init__(self, lamp: Lamp) -> None:
        """Show estimates on a lamp."""
        self._lamp = lamp
        self._animation = Animation(lamp.layout, lamp.size)
        self._open = True

    def show(self, estimate: Estimate) -> None:
        """Move the bars towards the scores."""
        self._animation.show(estimate)

    def show_status(self, status: StatusEvent) -> None:
        """Remove all bars and show the pattern of the state."""
        self._animation.show(status)

    def frame(self, seconds: float) -> None:
        """Paint the frame that is due `seconds` after the last one.

        Raises:
            LedError: The lights are no longer there.
        """
        if self._open:
            self._lamp.paint(self._animation.frame(seconds), seconds)

    def close(self) -> None:
        """Turn the lights off and release the lamp."""
        if not self._open:
            return
        self._open = False
        try:
            self._lamp.paint(dark(self._lamp.size), 0.0)
        finally:
            self._lamp.close()


class AnimatedSink:
    """Calls `frame` of a sink from a thread, so that the listener never waits for a lamp.

    An error of the thread is raised by the next `show`, which takes the sink out of use.
    """

    def __init__(self, sink: LedSink, *, rate: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the thread, at `rate` frames per second; `close` closes the sink too."""
        self._sink = sink
        self._pause, self._clock = 1.0 / rate, clock
        self._stop = threading.Event()
        self._failure: Exception | None = None
        # A daemon thread, because a driver that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"frames of {type(sink).__name__}", daemon=True)
        self._thread.start()

    def show(self, estimate: Estimate) -> None:
        """Move the bars towards the scores.

        Raises:
            Exception: The error that ended the thread.
        """
        self._check()
        self._sink.show(estimate)

    def show_status(self, status: StatusEvent) -> None:
        """Show the pattern of a state.

        Raises:
            Exception: The error that ended the thread.
        """
        self._check()
        self._sink.show_status(status)

    def close(self) -> None:
        """Stop the thread, within a second even if the lamp hangs, and close the sink."""
        self._stop.set()
        self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self._sink.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        last = self._clock()
        try:
            while not self._stop.wait(self._pause):
                now = self._clock()
                self._sink.frame(now - last)
                last = now
        except Exception as failure:
            self._failure = failure
