"""A music collection that belongs to nobody, for imports and trainings: each track unlike every other."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.material import RATE
from headnod.features.frontend import Audio

GENRES = 4
SECONDS = 30.0
"""Of each track, as in the collections that such networks learn from."""

SOLD = 44_100
"""Samples per second that music is sold with."""

_STEREO = np.array([1.0, 0.8], np.float32)
_SINE = np.sin(2.0 * np.pi * np.arange(4096) / 4096).astype(np.float32)


def tune(seed: int, seconds: float = SECONDS) -> Audio:
    """Three voices with an overtone each, in a little hiss: mono at `SOLD`, within [-1, 1]."""
    rng, size = np.random.default_rng(seed), round(seconds * SOLD)
    audio = rng.normal(0.0, 0.01, size).astype(np.float32)
    for voice in range(3):
        notes = rng.integers(36 + 14 * voice, 60 + 14 * voice, size=round(5 * seconds) + 2)
        lasting = rng.integers(SOLD // 8, SOLD // 2, size=notes.size)
        pitch = np.resize(np.repeat(440.0 * 2.0 ** ((notes - 69) / 12), lasting), size)
        phase = np.cumsum(pitch * (4096 / SOLD)).astype(np.int64)
        audio += np.float32(0.15) * (_SINE[phase & 4095] + np.float32(0.4) * _SINE[(3 * phase) & 4095])
    return audio


def collection(folder: Path, count: int) -> list[Path]:
    """So many tunes of four genres, as music is sold: Ogg Vorbis, 44.1 kHz, stereo."""
    made = []
    for number in range(count):
        place = folder / f"genre{number % GENRES}" / f"track{number:04}.ogg"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, tune(number)[:, None] * _STEREO, SOLD)
        made.append(place)
    return made


def hisses(folder: Path, count: int) -> Path:
    """So many pieces of noise, which are no music."""
    place = folder / "noise"
    place.mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).normal(0.0, 0.05 + 0.01 * number, round(SECONDS * RATE))
        soundfile.write(place / f"hiss{number}.ogg", np.clip(noise, -1.0, 1.0), RATE)
    return folder


def linked(folder: Path, tracks: list[Path]) -> Path:
    """The same tracks in a folder of their own."""
    for track in tracks:
        place = folder / track.parent.name / track.name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(track, place)
    return folder
