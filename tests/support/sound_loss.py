"""Sound that a microphone loses and finds again, and how long both take."""

import logging
import time
from itertools import pairwise
from pathlib import Path

import soundfile

from support import signals
from support.bundles import WINDOW
from support.listener_process import is_estimate, is_waiting

LONG_WINDOW = 2.96
"""Seconds that the shipped model hears at once."""
LOUD, SOFT = -6.0, -30.0
BETWEEN = -18.0


def tone(folder: Path, peak: float) -> Path:
    path = folder / f"tone{peak:.0f}.wav"
    soundfile.write(path, signals.sine(440.0, 120.0, amplitude=10.0 ** (peak / 20.0), rate=48_000), 48_000)
    return path


def measured(what: str, value: object) -> None:
    logging.getLogger(__name__).info("%s: %s", what, value)


def lag(estimate):
    """How old its sound was when it was made, but for a constant."""
    return estimate["monotonic"] - estimate["seconds"] - estimate["dropped"]


def goes_on(estimates):
    """Whether the sound of each estimate follows the one before; what a busy machine drops is counted."""
    return all(
        0.0 < after["seconds"] - before["seconds"] < 0.35 or after["dropped"] > before["dropped"]
        for before, after in pairwise(estimates)
    )


def is_loud(said):
    return is_estimate(said) and said["peak"] > BETWEEN


def lose(listening, fault) -> tuple[dict, float]:
    """The last estimate before a fault, and how many seconds it took until the sound counted as lost."""
    before = listening.until(is_loud)
    began = time.monotonic()
    fault()
    said = listening.everything_until(is_waiting)
    return [before, *filter(is_estimate, said)][-1], said[-1]["at"] - began


def find(listening, before, cure, window=WINDOW) -> tuple[dict, float]:
    """The first estimate after a cure, which shares no sound with the last before, and how long it took."""
    listening.clear()
    cure()
    began = time.monotonic()
    after = listening.until(is_estimate)
    assert after["sequence"] == before["sequence"] + 1
    assert after["seconds"] - before["seconds"] > window - 0.01, "the window holds sound from before"
    return after, after["monotonic"] - began
