"""Smooth motion between estimates that are seconds apart.

A sink that can draw a frame gets a thread that asks for one many times a
second, so the listener never waits for light. The thread cannot die unnoticed:
what killed it is raised from the next `show`, and the sink is left out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from headnod.outputs import Sink
from headnod.pipeline.estimate import Estimate, StatusEvent


class FrameSink(Sink, Protocol):
    """A sink that can draw what it shows at any moment."""

    def frame(self, seconds: float) -> None:
        """Draw what is due so many seconds after the last frame."""


class AnimatedSink:
    """A sink that moves by itself."""

    def __init__(self, drawing: FrameSink, *, rate: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask for so many frames a second until it is closed.

        Args:
            drawing: What is drawn; closing this closes it too.
            rate: Frames a second.
            clock: A monotonic clock in seconds.
        """
        self._drawing = drawing
        self._pause, self._clock = 1.0 / rate, clock
        self._stop = threading.Event()
        self._failure: Exception | None = None
        # A daemon: a lamp that hangs in its driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"frames of {type(drawing).__name__}", daemon=True)
        self._thread.start()

    def show(self, estimate: Estimate) -> None:
        """Move towards what was heard.

        Raises:
            Exception: Whatever stopped the motion since.
        """
        self._check()
        self._drawing.show(estimate)

    def show_status(self, condition: StatusEvent) -> None:
        """Show why nothing is heard.

        Raises:
            Exception: Whatever stopped the motion since.
        """
        self._check()
        self._drawing.show_status(condition)

    def close(self) -> None:
        """Stop moving, within a second even when the lamp hangs, and close what was drawn."""
        self._stop.set()
        self._thread.join(timeout=1.0)
        if not self._thread.is_alive():
            self._drawing.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        last = self._clock()
        try:
            while not self._stop.wait(self._pause):
                now = self._clock()
                self._drawing.frame(now - last)
                last = now
        except Exception as failure:
            self._failure = failure
