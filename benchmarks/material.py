"""What is listened to, and the bundles that listen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from headnod.audio.audio_file import audio_file
from headnod.features.frontend import Audio
from headnod.resources import demo_clip, models

RATE = 22_050
SECONDS = 3.0
WINDOW = int(RATE * SECONDS)
BLOCK = RATE // 4
"""Samples in a block, as many as the microphone's process gives at once."""


def bundles() -> dict[str, Path]:
    """The newest of each shipped model, by name, such as `genre` and `genre-small`."""
    return {path.name.rpartition("-")[0]: path for path in models()}


def music() -> Audio:
    """The demo clip, mono, at the models' rate."""
    with audio_file(demo_clip(), RATE) as blocks:
        return np.concatenate([block.copy() for block in blocks])


def endless(audio: Audio) -> Iterator[Audio]:
    """The same again and again, in blocks as a microphone gives them."""
    blocks = [audio[start : start + BLOCK] for start in range(0, audio.size, BLOCK)]
    yield from itertools.cycle(blocks)


def write_wav(path: Path, seconds: float) -> Path:
    """So much of the demo clip as a file."""
    soundfile.write(path, np.resize(music(), int(seconds * RATE)), RATE, subtype="PCM_16")
    return path
