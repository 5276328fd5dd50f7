"""Steady noise is told from music by how each band fluctuates."""

import numpy as np
import pytest
import soxr

from headnod.features.frontend import FrontEnd
from headnod.pipeline.level import SteadyNoiseDetector
from support.bundles import TAGGER
from support.signals import RATE, music, noise, scaled, sine

FRONT_END = FrontEnd()


@pytest.fixture(params=[FRONT_END, TAGGER], ids=["decibels", "power"], scope="module")
def detect(request):
    """Whether steady noise detect the first window of sound at 22,050 Hz, by either kind of front end."""
    front_end, steady = request.param, SteadyNoiseDetector(request.param)

    def detect(audio):
        if front_end.sample_rate != RATE:
            audio = soxr.resample(audio.astype(np.float32), RATE, front_end.sample_rate)
        return steady.detect(front_end.mel(audio[: front_end.window_samples]))

    return detect


def coloured(slope, seed):
    """Noise whose power falls by so many decibels an octave."""
    spectrum = np.fft.rfft(noise(4.0, dbfs=-20, seed=seed))
    spectrum[1:] *= np.arange(1, spectrum.size) ** (-slope / 6.02)
    return np.fft.irfft(spectrum)[2048:].astype(np.float32)


@pytest.mark.parametrize("slope", [-3, 0, 3, 6])
@pytest.mark.parametrize("seed", range(10))
def test_noise_of_any_colour_is_noise(detect, slope, seed):
    assert detect(coloured(slope, seed))


@pytest.mark.parametrize("mains", [50.0, 60.0])
@pytest.mark.parametrize("hiss", [-90, -60])
def test_the_hum_of_the_mains_is_noise(detect, mains, hiss):
    tones = sum(sine(mains * number, 4.0) / number for number in range(1, 25))
    assert detect(scaled(tones, -30) + noise(4.0, dbfs=hiss))


def test_a_bass_line_is_not_hum(detect):
    notes = np.concatenate([sine(pitch, 0.5) for pitch in (55.0, 65.4, 73.4, 82.4, 55.0, 98.0, 110.0, 82.4)])
    assert not detect(notes)


@pytest.mark.parametrize("level", [-60, -30, 0])
def test_its_level_does_not_matter(detect, level):
    assert detect(scaled(noise(4.0, dbfs=-10), level))


@pytest.mark.parametrize("seed", range(10))
def test_music_is_not_noise(detect, seed):
    assert not detect(music(4.0, seed=seed))


def test_music_ten_decibels_over_noise_is_not_noise(detect):
    song = music(4.0)
    assert not detect(song + noise(4.0, dbfs=20 * np.log10(song.std()) - 10))


def test_a_held_tone_is_not_noise(detect):
    assert not detect(sine(440.0, 4.0))


@pytest.mark.parametrize("mel_norm", ["area", "none"])
@pytest.mark.parametrize(("share", "hum"), [(0.68, False), (0.72, True)])
def test_what_stands_still_is_hum_if_seven_tenths_of_its_power_are_bass(mel_norm, share, hum):
    front_end = FrontEnd(mel_norm=mel_norm)
    corners = front_end.corners
    widths = corners[2:] - corners[:-2] if mel_norm == "area" else np.ones(front_end.n_mels)
    bass = corners[1:-1] < 250.0
    power = np.where(bass, share / bass.sum(), (1.0 - share) / (~bass).sum()) / widths
    mel = np.tile(10.0 * np.log10(power), (front_end.frames, 1)).astype(np.float32)
    assert SteadyNoiseDetector(front_end).detect(mel) == hum


@pytest.mark.parametrize(("scatter", "noise_like"), [(0.66, False), (0.74, True), (1.3, True), (1.5, False)])
def test_a_band_of_noise_scatters_seven_tenths_to_one_and_four_tenths_of_what_white_noise_does(scatter, noise_like):
    rng = np.random.default_rng(0)
    # More windows than the detector takes, and other noise: its own figures are some percent away.
    hisses = [rng.random(FRONT_END.window_samples, np.float32) - np.float32(0.5) for _ in range(200)]
    variation = np.mean([FRONT_END.mel(hiss).std(axis=0) for hiss in hisses], axis=0)
    turns = np.where(np.arange(FRONT_END.frames) % 2, 1.0, -1.0)[:, None]
    # Most power is above the bass, so that it is no hum.
    mel = (np.linspace(-60.0, -20.0, FRONT_END.n_mels) + scatter * turns * variation).astype(np.float32)
    assert SteadyNoiseDetector(FRONT_END).detect(mel) == noise_like


@pytest.mark.parametrize(("varied", "expected"), [(0, True), (3, True), (4, False), (8, False)])
def test_noise_may_vary_in_three_of_32_bands_in_the_middle_too(varied, expected):
    mel = TAGGER.mel(noise(TAGGER.window_samples / RATE, dbfs=-20, seed=3))
    mel[:, 36 : 36 + 3 * varied] *= 10.0 ** np.sin(np.arange(len(mel))[:, None])
    assert SteadyNoiseDetector(TAGGER).detect(mel) is expected


def test_digital_silence_is_not_called_noise(detect):
    assert not detect(np.zeros(FRONT_END.window_samples, np.float32))


def spread(scatter, varied):
    """Bands of which the last `varied` vary three times as much as white noise, and the others `scatter` times."""
    rng = np.random.default_rng(0)
    hisses = [rng.random(FRONT_END.window_samples, np.float32) - np.float32(0.5) for _ in range(20)]
    variation = np.mean([FRONT_END.mel(hiss).std(axis=0) for hiss in hisses], axis=0)
    turns = np.where(np.arange(FRONT_END.frames) % 2, 1.0, -1.0)[:, None]
    factors = np.where(np.arange(FRONT_END.n_mels) < FRONT_END.n_mels - varied, scatter, 3.0)
    return factors * turns * variation


@pytest.mark.parametrize(("varied", "expected"), [(12, True), (13, False)])
def test_nine_tenths_of_128_bands_must_vary_like_noise(varied, expected):
    # Most power is above the bass, so that it is no hum.
    mel = np.linspace(-60.0, -20.0, FRONT_END.n_mels) + spread(1.0, varied)
    assert SteadyNoiseDetector(FRONT_END).detect(mel.astype(np.float32)) is expected


@pytest.mark.parametrize(("varied", "expected"), [(8, True), (9, False)])
def test_93_of_100_bands_of_hum_must_be_still(varied, expected):
    mel = np.linspace(-20.0, -290.0, FRONT_END.n_mels) + spread(0.1, varied)
    assert SteadyNoiseDetector(FRONT_END).detect(mel.astype(np.float32)) is expected


@pytest.mark.parametrize(("above", "expected"), [(False, True), (True, False)])
def test_bass_ends_at_250_hertz(above, expected):
    place = int(np.count_nonzero(FRONT_END.corners[1:-1] < 250.0)) - 1 + above
    assert 0.0 < abs(FRONT_END.corners[1:-1][place] - 250.0) < 20.0
    mel = np.full((FRONT_END.frames, FRONT_END.n_mels), -100.0, np.float32)
    mel[:, place] = -20.0
    assert SteadyNoiseDetector(FRONT_END).detect(mel) is expected
