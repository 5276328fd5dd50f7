"""What lights show over time: bars that follow the estimates, and patterns for the listener's states.

GPIO LEDs, strips, WLED lamps and the preview share this, so a genre and a muted
microphone look the same on all of them. The terminal uses the envelope follower.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headnod.outputs.leds.layouts import Layout, LedFrame, dark
from headnod.pipeline.estimate import SILENCE, Estimate, State, StatusEvent

RISE, FALL = 0.15, 0.9
"""Time constants of bars upwards and downwards, in seconds."""

RELEASE = 60.0
"""Seconds without music after which lights are not needed."""

RELEASE_PAUSED = 3.0
"""The same while the listener is paused: no song is about to start."""

_AMBER, _RED = (1.0, 0.55, 0.0), (1.0, 0.0, 0.0)
_UNNAMED = 0.5
"""Height of bars, as a share of the probability, while no genre is named."""


class EnvelopeFollower:
    """Bar heights that approach their targets exponentially: fast upwards, slowly downwards.

    The result does not depend on the step length: two steps of half a second are one of a second.

    >>> follower = EnvelopeFollower(2, rise=0.15, fall=0.9)
    >>> follower.update([1.0, 0.0], 0.3).round(2).tolist()
    [0.86, 0.0]
    >>> follower.update([0.0, 0.0], 0.3).round(2).tolist()
    [0.62, 0.0]
    """

    def __init__(self, size: int, *, rise: float = RISE, fall: float = FALL) -> None:
        """Start with all bars at 0.

        Args:
            size: Number of bars.
            rise: Time constant upwards in seconds: after it, 63 % of the way is done. 0 jumps.
            fall: Time constant downwards in seconds. 0 jumps.
        """
        self._rise, self._fall = rise, fall
        self._heights = np.zeros(size)

    @property
    def heights(self) -> NDArray[np.float64]:
        """Current heights, shape (size,)."""
        return self._heights.copy()

    def update(self, targets: ArrayLike, seconds: float) -> NDArray[np.float64]:
        """Advance by a time step.

        Args:
            targets: Heights to approach, shape (size,).
            seconds: Length of the step; 0 or less changes nothing.

        Returns:
            The new heights, shape (size,).
        """
        goals = np.asarray(targets, np.float64)
        share = np.where(goals > self._heights, _share(seconds, self._rise), _share(seconds, self._fall))
        self._heights = self._heights + (goals - self._heights) * share
        return self.heights

    def reset(self) -> None:
        """Set all bars to 0 at once."""
        self._heights = np.zeros_like(self._heights)


class Animation:
    """Frames of one row of lights, computed from the latest estimate or status and the time since.

    Bars of genres while estimates arrive, at half height while no genre is named,
    dark in silence; a pattern that looks like no bar while there are no estimates.
    """

    def __init__(self, layout: Layout, size: int, *, rise: float = RISE, fall: float = FALL) -> None:
        """Animate `size` lights; `rise` and `fall` are those of `EnvelopeFollower`."""
        self._layout, self._size = layout, size
        self._rise, self._fall = rise, fall
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
            self._follower = EnvelopeFollower(len(labels), rise=self._rise, fall=self._fall)
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


def _share(seconds: float, constant: float) -> float:
    if seconds <= 0:
        return 0.0
    return 1.0 - float(np.exp(-seconds / constant)) if constant > 0 else 1.0
