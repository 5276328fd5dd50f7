"""A file becomes a row of an archive: the device's audio path, the device's front end, 8 bits.

Alone because this function, and nothing else of an import, runs in other
processes and on other machines: it takes and returns plain values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.audio.audio_file import audio_file, promised_seconds
from headnod.errors import AudioError
from headnod.features.frontend import Audio, FrontEnd, LogMel
from headnod_train.dataset import precomputed
from headnod_train.dataset.tracks import CollectionError

RANGE_DB = 80.0
"""How far under its loudest cell a track is kept, in 256 steps of 0.31 dB."""


@dataclass(frozen=True)
class TrackFeatures:
    """A row of an archive."""

    levels: NDArray[np.uint8]
    """Decibels in 256 steps, shape (frames, mels)."""

    floor_db: float
    """Decibels of level 0."""

    range_db: float
    """Decibels that the 256 levels span."""

    first_samples: NDArray[np.int32]
    """Where in the audio each frame starts, shape (frames,)."""


@dataclass(frozen=True)
class Rejected:
    """A file that gives no row."""

    reason: str
    """Why, in words for a person, without the file's name."""


def extract(path: Path, front_end: FrontEnd, seconds: float) -> TrackFeatures | Rejected:
    """The middle of a piece of music, as an archive keeps it.

    Args:
        path: Audio, or an npz file of precomputed log-mel.
        front_end: What makes the features.
        seconds: How much of the audio is heard; all of it where it is shorter,
            and all of a precomputed file.
    """
    try:
        if path.suffix.lower() == ".npz":
            log_mel, first_sample = precomputed.read_track(path, front_end), 0
        else:
            first_sample, audio = middle(path, front_end.sample_rate, seconds)
            if audio.size < front_end.window_samples:
                window = front_end.window_samples / front_end.sample_rate
                return Rejected(f"lasts {audio.size / front_end.sample_rate:.1f} s, a window needs {window:.1f} s")
            log_mel = front_end.log_mel(audio)
    except (AudioError, CollectionError) as error:
        return Rejected(str(error).removeprefix(f"{path}: "))
    if log_mel.max() <= front_end.floor_db:
        return Rejected("holds nothing but silence")
    levels, floor_db = as_levels(log_mel)
    starts = first_sample + front_end.hop * np.arange(len(levels), dtype=np.int32)
    return TrackFeatures(levels, floor_db, RANGE_DB, starts)


def middle(path: Path, rate: int, seconds: float) -> tuple[int, Audio]:
    """The middle of a file: where it starts, in samples, and mono samples in [-1, 1].

    Raises:
        AudioError: The file cannot be read up to there.
    """
    wanted, length = round(seconds * rate), promised_seconds(path)
    if length is None:
        # Its length is known only when it was decoded, and a long one does not fit into memory.
        with audio_file(path, rate) as blocks:
            length = sum(block.size for block in blocks) / rate
    with audio_file(path, rate) as blocks:
        start = max(int(length * rate) - wanted, 0) // 2
        kept, place = [], 0
        for block in blocks:
            kept.append(block[max(start - place, 0) :])
            place += block.size
            if place >= start + wanted:
                break
    return start, np.concatenate(kept)[:wanted]


def as_levels(log_mel: LogMel) -> tuple[NDArray[np.uint8], float]:
    """Decibels in 256 steps below the loudest cell, and the decibels of level 0.

    Level v stands for all from floor + v / 256 * RANGE_DB to the next; what is
    under the floor is level 0.
    """
    floor_db = np.float32(log_mel.max() - RANGE_DB)
    levels = np.floor((log_mel - floor_db) * np.float32(256.0 / RANGE_DB))
    return np.clip(levels, 0, 255).astype(np.uint8), float(floor_db)
