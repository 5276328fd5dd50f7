"""What is listened to, and the bundles that listen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from headnod.audio.audio_file import audio_file
from headnod.features.frontend import Audio, FrontEnd
from headnod.resources import demo_clip, models

RATE = 22_050
SECONDS = 3.0
WINDOW = int(RATE * SECONDS)
_BLOCKS = 4
"""Blocks in a second, as the microphone's process gives them."""


def bundles() -> dict[str, Path]:
    """The newest of each shipped model, by name, such as `genre` and `genre-small`."""
    return {path.name.rpartition("-")[0]: path for path in models()}


def music(rate: int = RATE) -> Audio:
    """The demo clip, mono, at a sample rate."""
    with audio_file(demo_clip(), rate) as blocks:
        return np.concatenate([block.copy() for block in blocks])


def music_window(front_end: FrontEnd) -> Audio:
    """A window from the middle of the demo clip, at the front end's rate."""
    first = 10 * front_end.sample_rate
    return music(front_end.sample_rate)[first : first + front_end.window_samples].copy()


def endless(audio: Audio, rate: int = RATE) -> Iterator[Audio]:
    """The same audio again and again, in blocks as a microphone gives them."""
    size = rate // _BLOCKS
    blocks = [audio[start : start + size] for start in range(0, audio.size, size)]
    yield from itertools.cycle(blocks)


def write_wav(path: Path, seconds: float) -> Path:
    """So much of the demo clip as a file."""
    soundfile.write(path, np.resize(music(), int(seconds * RATE)), RATE, subtype="PCM_16")
    return path
