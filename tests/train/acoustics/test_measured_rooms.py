"""Real clips in real rooms and under clipping, beside what mel power alone predicts.

The figures show with `--log-cli-level=info`.
"""

import logging
from pathlib import Path

import numpy as np
import pytest

from headnod.audio.audio_file import audio_file
from headnod.features.frontend import FrontEnd
from headnod_train.acoustics import Bands, Clipping, MeasuredRooms, Noise, gains_of

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "rooms").is_dir(), reason=f"no rooms and no music at {DATA}")

FRONT_END = FrontEnd()
BANDS = Bands(FRONT_END)
_log = logging.getLogger(__name__)


def sound(path):
    with audio_file(path, FRONT_END.sample_rate) as blocks:
        return np.concatenate(list(blocks))


@pytest.fixture(scope="module")
def clips():
    return [sound(path) for path in sorted((DATA / "gtzan" / "audio").glob("*/*.flac"))[::18]]


def residual(real, said):
    """Median difference over what a network sees, whatever the level."""
    seen = real > real.max() - FRONT_END.range_db
    gap = (said - real)[seen]
    return float(np.median(np.abs(gap - np.median(gap))))


def told(name, residuals, before):
    _log.info("%s: %.2f dB median residual, %.2f dB before", name, np.median(residuals), np.median(before))
    return float(np.median(residuals)), float(np.median(before))


def test_rooms(clips):
    residuals, before = [], []
    for path in sorted((DATA / "rooms").iterdir())[::3]:
        response = sound(path)
        room = MeasuredRooms((gains_of(response, BANDS),))
        peak = int(np.abs(response).argmax())
        for clip in clips:
            size = 1 << (clip.size + response.size).bit_length()
            wet = np.fft.irfft(np.fft.rfft(clip, size) * np.fft.rfft(response, size), size)[peak : peak + clip.size]
            dry, real = FRONT_END.log_mel(clip), FRONT_END.log_mel(wet.astype(np.float32))
            residuals.append(residual(real, room.apply(dry[None], BANDS, np.random.default_rng(0))[0]))
            before.append(residual(real, dry))
    found, was = told("rooms", residuals, before)
    assert found < 2.6 < was + 0.4


def test_noise(clips):
    rng, residuals, before = np.random.default_rng(0), [], []
    for clip in clips:
        noise = rng.standard_normal(clip.size) * clip.std() * 10 ** (-10 / 20)
        dry, real = FRONT_END.log_mel(clip), FRONT_END.log_mel((clip + noise).astype(np.float32))
        said = Noise("white", (10.0, 10.0)).apply(dry[None], BANDS, np.random.default_rng(1))[0]
        residuals.append(residual(real, said))
        before.append(residual(real, dry))
    found, was = told("white noise at 10 dB", residuals, before)
    assert found < 1.5 < was


def test_clipping(clips):
    residuals, before = [], []
    for clip in clips:
        limit = clip.std() * 10 ** (3 / 20)
        dry, real = FRONT_END.log_mel(clip), FRONT_END.log_mel(np.clip(clip, -limit, limit))
        residuals.append(residual(real, Clipping((3.0, 3.0)).apply(dry[None], BANDS, np.random.default_rng(0))[0]))
        before.append(residual(real, dry))
    found, was = told("clipped 3 dB over the root mean square", residuals, before)
    assert found < was
    assert found < 1.0
