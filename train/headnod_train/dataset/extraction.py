"""One audio file becomes one row of an archive, through the device's decoder and front end.

Runs in worker processes and on other machines, so it takes and returns plain values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headnod.audio.audio_file import audio_file, header_duration
from headnod.errors import AudioError
from headnod.features.frontend import Audio, FrontEnd, LogMel
from headnod_train.dataset.tracks import CollectionError
from headnod_train.storage import open_npz

RANGE_DB = 80.0
"""Dynamic range that is kept below the loudest cell of a track: 256 steps of 0.31 dB."""


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
    """First sample of each frame in the audio, shape (frames,)."""


@dataclass(frozen=True)
class Rejected:
    """A file that cannot become a row."""

    reason: str
    """Error message without the file's name."""


def extract(path: Path, front_end: FrontEnd, seconds: float) -> TrackFeatures | Rejected:
    """Features of the middle of a track.

    Args:
        path: Audio, or an npz file of precomputed log-mel, which is used whole.
        front_end: Computes the features.
        seconds: Length of the excerpt; shorter audio is used whole.
    """
    try:
        if path.suffix.lower() == ".npz":
            log_mel, first_sample = _precomputed(path, front_end), 0
        else:
            first_sample, audio = middle(path, front_end.sample_rate, seconds)
            if audio.size < front_end.window_samples:
                window = front_end.window_samples / front_end.sample_rate
                return Rejected(f"lasts {audio.size / front_end.sample_rate:.1f} s, a window needs {window:.1f} s")
            log_mel = front_end.log_mel(audio)
    except (AudioError, CollectionError) as error:
        return Rejected(str(error).removeprefix(f"{path}: "))
    if log_mel.max() <= front_end.floor_db:
        return Rejected("contains only silence")
    levels, floor_db = as_levels(log_mel)
    starts = first_sample + front_end.hop * np.arange(len(levels), dtype=np.int32)
    return TrackFeatures(levels, floor_db, RANGE_DB, starts)


def middle(path: Path, rate: int, seconds: float) -> tuple[int, Audio]:
    """The middle of a file: its first sample, and mono samples in [-1, 1].

    Raises:
        AudioError: The file cannot be read up to there.
    """
    wanted, length = round(seconds * rate), header_duration(path)
    if length is None:
        # The length is known only after decoding, and a long file does not fit into memory.
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

    Level v covers floor + v / 256 * RANGE_DB up to the next level; values below the floor are level 0.
    """
    floor_db = np.float32(log_mel.max() - RANGE_DB)
    levels = np.floor((log_mel - floor_db) * np.float32(256.0 / RANGE_DB))
    return np.clip(levels, 0, 255).astype(np.uint8), float(floor_db)


def _precomputed(path: Path, front_end: FrontEnd) -> LogMel:
    """The array `log_mel` of an npz file: decibels, shape (frames, mels)."""
    with open_npz(path, "an npz file with an array log_mel of decibels", CollectionError) as arrays:
        log_mel = np.asarray(arrays["log_mel"]).astype(np.float32, casting="same_kind")
    if log_mel.ndim != 2 or log_mel.shape[1] != front_end.n_mels or len(log_mel) < front_end.frames:  # noqa: PLR2004
        least = f"({front_end.frames} or more, {front_end.n_mels})"
        message = f"{path}: log_mel has shape {log_mel.shape}, it must be {least}"
        raise CollectionError(message)
    if not np.isfinite(log_mel).all():
        message = f"{path}: log_mel has values that are not decibels"
        raise CollectionError(message)
    return log_mel
