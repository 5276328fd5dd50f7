"""A log-mel archive of tones: three genres that belong to nobody, thirteen seconds a track."""

from pathlib import Path

import numpy as np

from headnod.features.frontend import Audio, FrontEnd

GENRES = ("high", "low", "noisy")
SECONDS = 13


def tone(genre: str, number: int, front_end: FrontEnd) -> Audio:
    rng = np.random.default_rng((GENRES.index(genre), number))
    seconds = np.arange(SECONDS * front_end.sample_rate) / front_end.sample_rate
    hiss = rng.standard_normal(seconds.size)
    if genre == "noisy":
        return (0.1 * hiss).astype(np.float32)
    pitch = rng.uniform(2000, 3000) if genre == "high" else rng.uniform(100, 300)
    return (0.3 * np.sin(2 * np.pi * pitch * seconds) + 0.003 * hiss).astype(np.float32)


def tone_arrays(front_end: FrontEnd, *, train: int = 4, valid: int = 2) -> dict[str, np.ndarray]:
    tracks = [
        (f"{genre}.{number}", genre, "train" if number < train else "valid", tone(genre, number, front_end))
        for genre in GENRES
        for number in range(train + valid)
    ]
    log_mel = np.stack([front_end.log_mel(audio) for *_, audio in tracks])
    top = log_mel.max(axis=(1, 2))
    levels = np.clip((log_mel - (top - 80)[:, None, None]) * (256 / 80), 0, 255).astype(np.uint8)
    return {
        "levels": levels,
        "floor_db": (top - 80).astype(np.float32),
        "range_db": np.full(len(tracks), 80, np.float32),
        "track": np.array([name for name, *_ in tracks]),
        "genre": np.array([genre for _, genre, *_ in tracks]),
        "split": np.array([split for _, _, split, _ in tracks]),
        "artist": np.arange(len(tracks), dtype=np.int32),
        "first_sample": np.tile(np.arange(levels.shape[1], dtype=np.int32) * front_end.hop, (len(tracks), 1)),
    }


def write_tones(path: Path, front_end: FrontEnd, **changed: np.ndarray | None) -> Path:
    arrays = {**tone_arrays(front_end), **changed}
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path
