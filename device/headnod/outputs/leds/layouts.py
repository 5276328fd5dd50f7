"""The scene: what lights show at a moment, whatever lights they are.

Single LEDs, strips, lamps on the network and the preview all show this, so a
genre and a deaf microphone look alike everywhere. It is no sink: it knows the
values that are shown, and neither wires nor clocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.outputs.leds.motion import EnvelopeFollower
from headnod.outputs.palette import colours
from headnod.pipeline.estimate import SILENCE, Estimate, State, StatusEvent

Heights = Mapping[str, float]
"""How high the bar of every genre stands just now, 0-1."""


class LedFrame(NamedTuple):
    """What a row of lights shows at one moment, as an eye sees it."""

    levels: NDArray[np.float64]
    """Brightness of every light, shape (lights,), 0-1. Half looks half as bright: apply a gamma before a duty cycle."""

    colours: NDArray[np.float64]
    """Colour of every light at full level, shape (lights, 3), sRGB, 0-1."""

    needed: bool = True
    """Whether headnod has something to show; a lamp that others use too is released while it has not."""

    def pixels(self) -> NDArray[np.float64]:
        """Colour and level in one, shape (lights, 3), sRGB, 0-1."""
        return self.levels[:, np.newaxis] * self.colours


Layout = Callable[[Heights, int], LedFrame]
"""Puts the bars of all genres on so many lights."""

RELEASE = 60.0
"""Seconds without music after which lights are no longer needed."""

RELEASE_PAUSED = 3.0
"""The same while the listener is paused: somebody asked for it, so that no song is about to follow."""

Mode = Literal["bars", "mood"]
"""How a strip shows genres: a bar for each, or all of it in the colour of the one that is heard."""


def bars(heights: Heights, size: int) -> LedFrame:
    """Every genre has an equal stretch and lights as much of it as it is likely.

    The last light of a bar glows by the fraction that is left; lights that do
    not divide evenly stay dark at the end. Fewer lights than genres show the
    best ones, as `best` does.
    """
    stretch = size // len(heights) if heights else 0
    if stretch == 0:
        return best(heights, size)
    lit = np.clip(np.array(list(heights.values()))[:, np.newaxis] * stretch - np.arange(stretch), 0.0, 1.0)
    light = dark(size)
    light.levels[: lit.size] = lit.ravel()
    light.colours[: lit.size] = np.repeat(_colours(heights, heights), stretch, axis=0)
    return light


def best(heights: Heights, size: int) -> LedFrame:
    """The likeliest genres, highest first, one light each."""
    ranked = sorted(heights, key=lambda label: -heights[label])[:size]
    light = dark(size)
    light.levels[: len(ranked)] = [_level(heights[label]) for label in ranked]
    light.colours[: len(ranked)] = _colours(ranked, heights)
    return light


def mood(heights: Heights, size: int) -> LedFrame:
    """All lights together in the mixture of what is heard: mostly the colour of one genre."""
    light = dark(size)
    if any(heights.values()):
        shares = np.array(list(heights.values()))
        light.levels[:] = _level(shares.max())
        # Sharpened, or ten colours would always mix to something like grey.
        light.colours[:] = np.average(_colours(heights, heights), axis=0, weights=(shares / shares.max()) ** 4)
    return light


def one_each(labels: Sequence[str]) -> Layout:
    """A layout that gives every one of these genres its own light, in this order."""

    def layout(heights: Heights, size: int) -> LedFrame:
        light = dark(size)
        light.levels[: len(labels)] = [_level(heights.get(label, 0.0)) for label in labels]
        light.colours[: len(labels)] = _colours(labels, heights)
        return light

    return layout


LAYOUTS: dict[Mode, Layout] = {"bars": bars, "mood": mood}
"""The layout of every mode."""


def dark(size: int) -> LedFrame:
    """So many lights, all off."""
    return LedFrame(np.zeros(size), np.ones((size, 3)))


class Animation:
    """What one row of lights shows, from what was heard and the time that passes.

    Bars of genres while the listener hears, dimmed while it names none, dark in
    silence; a pattern that cannot be taken for music while it hears nothing.
    """

    def __init__(self, layout: Layout, size: int, *, rise: float = 0.15, fall: float = 0.9) -> None:
        """Show on so many lights; `rise` and `fall` are those of `EnvelopeFollower`."""
        self._layout, self._size = layout, size
        self._rise, self._fall = rise, fall
        self._labels: tuple[str, ...] = ()
        self._motion = EnvelopeFollower(0)
        self._heard: Estimate | StatusEvent | None = None
        self._shown: Estimate | StatusEvent | None = None
        self._age = self._idle = 0.0

    def show(self, heard: Estimate | StatusEvent) -> None:
        """Show this from now on. Another thread may be asking for lights meanwhile."""
        self._heard = heard

    def frame(self, seconds: float) -> LedFrame:
        """What the lights show when so much time has passed since the last call."""
        heard = self._heard
        self._age = self._age + seconds if heard is self._shown or _same(heard, self._shown) else 0.0
        self._shown = heard
        self._idle = 0.0 if _is_music(heard) else self._idle + seconds
        if isinstance(heard, Estimate):
            light = self._layout(self._heights(heard, seconds), self._size)
            return light._replace(needed=self._idle < RELEASE)
        # What was heard before is no longer true: no bar may linger.
        self._motion.reset()
        state = heard.state if heard else State.STARTING
        paused = state is State.PAUSED and self._age >= RELEASE_PAUSED
        return pattern(state, self._size, self._age)._replace(needed=self._idle < RELEASE and not paused)

    def _heights(self, estimate: Estimate, seconds: float) -> dict[str, float]:
        labels = tuple(estimate.scores)
        if labels != self._labels:
            self._labels, self._motion = labels, EnvelopeFollower(len(labels), rise=self._rise, fall=self._fall)
        heights = self._motion.update(_targets(estimate), seconds)
        return dict(zip(labels, heights.tolist(), strict=True))


def pattern(state: State, size: int, seconds: float) -> LedFrame:
    """What lights show while nothing is heard: no bar of a genre looks like it.

    Starting, all breathe faintly in white; waiting for a microphone, one amber
    light wanders to and fro; deaf, odd and even lights take turns in red. Every
    other state is dark.
    """
    turn, place = 2 * np.pi * seconds, np.arange(size)
    light = dark(size)
    if state is State.STARTING:
        light.levels[:] = 0.15 * (1 - np.cos(turn / 4))
    elif state is State.WAITING:
        centre = (size - 1) * (1 - np.cos(turn / 4)) / 2
        light.levels[:] = 0.7 * np.exp(-(((place - centre) / max(0.8, size / 20)) ** 2))
        light.colours[:] = _AMBER
    elif state is State.DEAF:
        light.levels[:] = 0.6 * (0.5 + 0.5 * np.sin(turn / 2) * (1 - 2 * (place % 2)))
        light.colours[:] = _RED
    return light


_AMBER, _RED = (1.0, 0.55, 0.0), (1.0, 0.0, 0.0)
_DOUBT = 0.5


def _level(height: float) -> float:
    # A third of all probability is much among ten genres, and should not look like next to nothing.
    return math.sqrt(height)


def _targets(estimate: Estimate) -> NDArray[np.float64]:
    return np.array(list(estimate.scores.values())) * (1.0 if estimate.named else _DOUBT)


def _is_music(heard: Estimate | StatusEvent | None) -> bool:
    return isinstance(heard, Estimate) and heard.genre != SILENCE


def _same(one: Estimate | StatusEvent | None, other: Estimate | StatusEvent | None) -> bool:
    # A condition that is told again must not start its pattern anew.
    return isinstance(one, StatusEvent) and isinstance(other, StatusEvent) and one.state is other.state


def _colours(labels: Iterable[str], heights: Heights) -> NDArray[np.float64]:
    # All labels of the model together, or a genre would have another colour where only the best are shown.
    chosen = colours(heights, labels)
    return np.array([chosen[label] for label in labels], np.float64).reshape(-1, 3) / 255
