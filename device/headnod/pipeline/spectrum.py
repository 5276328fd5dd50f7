"""Level and mel spectrum of a stream, five times a second of audio, for the live picture of the page.

No audio can be made of it again: each column is one frame of 64 mel bands in 256 steps. Nothing is computed as long as
nobody looks.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator

import msgspec
import numpy as np

from headnod.audio.blocks import Block, Gap, RateChange
from headnod.features.frontend import Audio, FrontEnd
from headnod.pipeline.level import decibels

COLUMN_SECONDS = 0.2
"""Audio between two columns, in seconds."""

BANDS = 64
"""Mel bands of a column."""

FLOOR_DB, TOP_DB = -60.0, 30.0
"""Mel power, in decibels, that is 0 and 255 in a column: below white noise at -60 dBFS, and near a full-scale tone."""

_FRAME = 2048


class Column(msgspec.Struct, frozen=True):
    """One column of the picture."""

    level: float
    """Level of the last `seconds`, in dBFS."""

    mel: str
    """Mel bands, the lowest first, one byte each (0 is `FLOOR_DB`, 255 is `TOP_DB`), in base64."""

    seconds: float = COLUMN_SECONDS
    """Audio since the column before. Columns arrive in groups, one group per block of the microphone."""


def with_spectrum(
    blocks: Iterable[Block], *, rate: Callable[[], int], watched: Callable[[], bool], send: Callable[[bytes], None]
) -> Iterator[Block]:
    """Pass blocks on unchanged, and send columns of them while `watched`.

    Args:
        blocks: Mono audio, gaps and rate changes.
        rate: Sample rate of the blocks in Hz.
        watched: Whether anybody looks.
        send: Receives columns as JSON.
    """
    for block in blocks:
        if not isinstance(block, Gap | RateChange) and watched():
            for column in columns(block, rate()):
                send(msgspec.json.encode(column))
        yield block


def columns(audio: Audio, rate: int) -> Iterator[Column]:
    """The columns of a block; a rest shorter than a frame gives none.

    Args:
        audio: Mono samples in [-1, 1], shape (n,).
        rate: Samples per second.
    """
    step = max(round(COLUMN_SECONDS * rate), _FRAME)
    front_end = FrontEnd(rate, _FRAME, _FRAME, 1, BANDS, n_mfcc=0, f_max=rate / 2)
    for start in range(0, max(audio.size - _FRAME + 1, 0), step):
        piece = audio[start : start + step]
        mel = front_end.log_mel(piece[-_FRAME:])[0]
        scaled = np.clip((mel - FLOOR_DB) * (255.0 / (TOP_DB - FLOOR_DB)), 0.0, 255.0).astype(np.uint8)
        level = round(decibels(float(piece.std())), 1)
        yield Column(level, base64.b64encode(scaled.tobytes()).decode(), round(piece.size / rate, 3))
