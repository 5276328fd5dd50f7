"""The sink for every kind of lights: estimates become frames, a thread paints them on a lamp."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from headnod.outputs.leds.animation import FALL, RISE, Animation
from headnod.outputs.leds.layouts import Layout, LedFrame, dark
from headnod.pipeline.estimate import Estimate, StatusEvent


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


class LedSink:
    """A lamp as a sink; it paints only when `frame` is called."""

    def __init__(self, lamp: Lamp, *, rise: float = RISE, fall: float = FALL) -> None:
        """Show estimates on a lamp; `rise` and `fall` are those of `EnvelopeFollower`."""
        self._lamp = lamp
        self._animation = Animation(lamp.layout, lamp.size, rise=rise, fall=fall)
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
        """Start the thread.

        Args:
            sink: What is animated; `close` closes it too.
            rate: Frames per second.
            clock: A monotonic clock in seconds.
        """
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
