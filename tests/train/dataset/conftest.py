"""Small collections of made-up music: tunes that belong to nobody, each unlike every other."""

import numpy as np
import pytest
import soundfile

RATE = 22_050


def tune(seed, seconds=5.0, rate=RATE):
    """A melody with overtones, over chords, in a little hiss."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    audio = 0.003 * rng.standard_normal(n)
    for voice in range(3):
        notes = rng.integers(36 + 14 * voice, 60 + 14 * voice, size=round(4 * seconds) + 2)
        lasting = rng.integers(rate // 8, rate // 2, size=notes.size)
        pitch = np.resize(np.repeat(440.0 * 2.0 ** ((notes - 69) / 12), lasting), n)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        audio += 0.1 * (np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.3 * np.sin(5 * phase))
    return audio.astype(np.float32)


@pytest.fixture
def music(tmp_path):
    """Writes tunes: the file's path below a fresh folder, and the seed of its tune."""
    folder = tmp_path / "music"

    def music(files, *, seconds=5.0, rate=RATE):
        for name, seed in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tune(seed, seconds, rate), rate)
        return folder

    return music


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.npz"
