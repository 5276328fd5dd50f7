"""The one sink for every kind of lights.

What is shown is the scene's matter, and how it gets into wires or onto the
network is the lamp's; this joins the two and leaves them dark in the end.
"""

from __future__ import annotations

from typing import Protocol

from headnod.outputs.leds.layouts import Animation, Layout, LedFrame, dark
from headnod.pipeline.estimate import Estimate, StatusEvent


class Lamp(Protocol):
    """Lights that can be lit: LEDs on pins, a strip, something on the network."""

    @property
    def size(self) -> int:
        """How many lights it has."""

    @property
    def layout(self) -> Layout:
        """How genres are put on its lights."""

    def paint(self, light: LedFrame, seconds: float) -> None:
        """Show this, so many seconds after the last call.

        Raises:
            LedError: The lights went away.
        """

    def close(self) -> None:
        """Let go of the lights; may be called twice."""


class LedSink:
    """A lamp as a sink. It moves only when it is asked for a frame."""

    def __init__(self, lamp: Lamp, *, rise: float = 0.15, fall: float = 0.9) -> None:
        """Show estimates on a lamp; `rise` and `fall` are those of `EnvelopeFollower`."""
        self._lamp = lamp
        self._scene = Animation(lamp.layout, lamp.size, rise=rise, fall=fall)
        self._open = True

    def show(self, estimate: Estimate) -> None:
        """Let the bars move towards what was heard."""
        self._scene.show(estimate)

    def show_status(self, condition: StatusEvent) -> None:
        """Drop all bars and show the pattern of the condition."""
        self._scene.show(condition)

    def frame(self, seconds: float) -> None:
        """Show what is due so many seconds after the last frame.

        Raises:
            LedError: The lights went away.
        """
        if self._open:
            self._lamp.paint(self._scene.frame(seconds), seconds)

    def close(self) -> None:
        """Go dark, and let go of the lamp."""
        if not self._open:
            return
        self._open = False
        try:
            self._lamp.paint(dark(self._lamp.size), 0.0)
        finally:
            self._lamp.close()
