"""How genres are placed on a row of lights: pure functions from bar heights to levels and colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headnod.outputs.palette import colours

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


Layout = Callable[[Heights, int], LedFrame]
"""Places the bars of all genres on a number of lights."""

Mode = Literal["bars", "mood"]
"""How a strip shows genres: a bar for each, or all lights in the colour of the current genre."""


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
