"""Real sound through the whole listener: clips of music, and what is no music.

Here alone an evaluation hears audio, not an archive: the gates for silence and
for steady noise work on samples. Holes between clips make the listener forget.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from headnod.audio.audio_file import audio_file
from headnod.audio.blocks import Block, Gap
from headnod.errors import AudioError
from headnod.features.frontend import Audio
from headnod.inference.model import GenreModel
from headnod.pipeline.estimate import Estimate, State
from headnod.pipeline.listener import ListenerSettings, listen

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".au"})

CLIPS = 150
"""Most clips that are played."""

NEVER = datetime(2026, 1, 1, tzinfo=UTC)


def audio_files(folder: Path) -> list[Path]:
    """Every audio file in a folder and those in it, in order.

    Raises:
        AudioError: There is none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        message = f"{folder}: holds no audio file ({', '.join(sorted(SUFFIXES))})"
        raise AudioError(message)
    return found


def read(path: Path, model: GenreModel) -> Audio:
    """All of a file, mono, at the model's rate.

    Raises:
        AudioError: It cannot be read.
    """
    with audio_file(path, model.front_end.sample_rate) as blocks:
        return np.concatenate([np.zeros(0, np.float32), *blocks])


def estimates(
    model: GenreModel, pieces: Iterable[Audio], *, settings: ListenerSettings | None = None
) -> list[Estimate]:
    """What the listener says of pieces of sound, forgetting between one and the next."""
    said = listen(_apart(pieces), model, settings or ListenerSettings(), now=lambda: NEVER, monotonic=lambda: 0.0)
    return [each for each in said if isinstance(each, Estimate)]


def as_16_bit(audio: Audio) -> Audio:
    """Sound as a microphone of 16 bits gives it: in steps, and cut off at full scale."""
    return (np.clip(np.rint(audio * np.float32(32_768.0)), -32_768, 32_767) / np.float32(32_768.0)).astype(np.float32)


def _apart(pieces: Iterable[Audio]) -> Iterator[Block]:
    for piece in pieces:
        yield piece
        yield Gap(State.LISTENING, "the next piece")


def clips_of(folder: Path, tracks: Collection[str], model: GenreModel) -> list[Audio]:
    """Clips whose file is called as one of some tracks, at most `CLIPS` of them, spread evenly.

    Raises:
        AudioError: There is none, or one cannot be read.
    """
    found = [path for path in audio_files(folder) if path.stem in tracks]
    if not found:
        message = f"{folder}: no file in it is called as one of the {len(tracks)} tracks"
        raise AudioError(message)
    chosen = found[:: -(-len(found) // CLIPS)]
    return [read(path, model) for path in chosen]
