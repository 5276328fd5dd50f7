"""What the mel bands are as filters agrees with what the front end makes of real samples."""

import numpy as np
import pytest

from headnod.features.frontend import FrontEnd
from headnod_train.acoustics import Bands, to_decibels, to_power

FRONT_END = FrontEnd()
BANDS = Bands(FRONT_END)


def test_grain_scatters_as_the_power_of_real_noise_does():
    noise = np.random.default_rng(1).normal(0, 0.1, 120 * FRONT_END.sample_rate).astype(np.float32)
    power = to_power(FRONT_END.log_mel(noise))
    real = 1 / (power / power.mean(axis=0)).var(axis=0)
    assert np.median(real / BANDS.freedom) == pytest.approx(1.0, abs=0.06)
    assert real == pytest.approx(BANDS.freedom, rel=0.35)


def test_grain_has_a_mean_power_of_one():
    grain = BANDS.grain(2, 2000, np.random.default_rng(0))
    assert grain.mean(axis=(0, 1)) == pytest.approx(np.ones(FRONT_END.n_mels), abs=0.08)


@pytest.mark.parametrize("hertz", [50.0, 440.0, 3000.0, 9000.0])
def test_a_tone_is_spread_over_the_bands_as_the_front_end_spreads_it(hertz):
    seconds = np.arange(FRONT_END.window_samples) / FRONT_END.sample_rate
    real = FRONT_END.log_mel((0.5 * np.sin(2 * np.pi * hertz * seconds)).astype(np.float32)).mean(axis=0)
    said = to_decibels(BANDS.tones(np.array([hertz]))[0])
    loud = real > real.max() - 25
    assert said[loud] - said.max() == pytest.approx(real[loud] - real.max(), abs=0.5)


def test_loudness_is_the_power_of_the_samples_but_for_one_factor():
    rng = np.random.default_rng(0)
    white = rng.normal(0, 0.1, FRONT_END.window_samples).astype(np.float32)
    seconds = np.arange(white.size) / FRONT_END.sample_rate
    tone = (0.1 * np.sqrt(2) * np.sin(2 * np.pi * 2000 * seconds)).astype(np.float32)
    loudness = [BANDS.loudness(to_power(FRONT_END.log_mel(audio))).mean() for audio in (white, tone)]
    assert loudness[0] / loudness[1] == pytest.approx(white.var() / tone.var(), rel=0.1)


def test_a_band_narrower_than_a_bin_hears_the_nearest_bin():
    narrow = Bands(FrontEnd(n_fft=256, hop=256, n_mels=128))
    assert narrow.weights.sum(axis=0) == pytest.approx(np.ones(128))
