"""What the degradation does to a waveform, stated as physics."""

import numpy as np
import pytest

from headnod.errors import AudioError
from headnod_train.degradation import (
    DegradationRates,
    Degrader,
    coloured_noise,
    has_ffmpeg,
    in_room,
    synthetic_room,
    through_aac,
    through_codec,
    with_sound,
)

RATE = 22_050


@pytest.fixture
def music(rng):
    seconds = np.arange(4 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hertz * seconds + rng.uniform(0, 6)) for hertz in (220, 277, 330, 1760))
    return (0.1 * chord * (1 + np.sin(2 * np.pi * 2 * seconds))).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("snr", [20.0, 3.0, -5.0])
def test_another_sound_lies_as_far_under_the_music_as_asked(music, rng, snr):
    noise = coloured_noise(music.size, 3.0, rng)
    added = with_sound(music, noise, snr) - music
    measured = 10 * np.log10(np.mean(np.square(music)) / np.mean(np.square(added)))
    assert measured == pytest.approx(snr, abs=0.01)


def test_silence_beside_music_changes_nothing(music):
    assert with_sound(music, np.zeros_like(music), 10.0) is music


def test_a_room_of_direct_sound_alone_changes_nothing(music):
    np.testing.assert_allclose(in_room(music, np.array([1.0], np.float32)), music, atol=1e-6)


def test_an_echo_comes_as_late_as_the_room_says(music):
    response = np.zeros(101, np.float32)
    response[[0, 100]] = 1.0, 0.5
    expected = music.copy()
    expected[100:] += 0.5 * music[:-100]
    np.testing.assert_allclose(in_room(music, response), expected, atol=1e-5)


def test_a_synthetic_room_decays(rng):
    for _ in range(20):
        response = synthetic_room(RATE, rng)
        half = response.size // 2
        early, late = (float(np.sum(np.square(part))) for part in (response[1:half], response[half:]))
        assert response[0] == 1.0
        # Half of the time to -60 dB is -30 dB: a thousandth of the power.
        assert late < 0.01 * early


@pytest.mark.parametrize("slope", [0.0, 3.0, 6.0])
def test_noise_falls_by_its_slope(slope, rng):
    power = np.square(np.abs(np.fft.rfft(coloured_noise(1 << 17, slope, rng))))
    low, high = (10 * np.log10(power[start : 2 * start].mean()) for start in (4096, 16384))
    assert (low - high) / 2 == pytest.approx(slope, abs=0.5)


def test_every_codec_keeps_length_and_time(music, rng):
    for _ in range(9):
        coded = through_codec(music, RATE, rng)
        assert coded.shape == music.shape
        assert np.corrcoef(music, coded)[0, 1] > 0.9


def test_minutes_of_sound_pass_the_codec_that_keeps_a_call_on_its_stack():
    vorbis = np.random.default_rng(1)
    long = np.zeros(180 * RATE, np.float32)
    assert through_codec(long, RATE, vorbis).size == long.size


def test_degrading_keeps_length_and_is_repeatable(music):
    degrader = Degrader(RATE, [np.array([0.0, 1.0, 0.3], np.float32)], [music[:1000]])
    first, again, other = (degrader.degrade(music, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == music.shape
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.abs(first).max() <= 1.0


def test_without_effects_the_music_is_still_filtered_by_devices(music, rng):
    none = DegradationRates(codec=0.0, room=0.0, noise=0.0, clip=0.0, quiet=0.0)
    heard = Degrader(RATE, [], [], none).degrade(music, rng)
    assert np.corrcoef(music, heard)[0, 1] > 0.5
    assert np.abs(heard).max() == pytest.approx(0.7, abs=0.01)


@pytest.mark.skipif(not has_ffmpeg(), reason="needs ffmpeg")
def test_aac_keeps_the_length_and_the_sound_but_not_the_samples():
    time = np.arange(2 * 22_050) / 22_050
    tone = (0.4 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    coded = through_aac(tone, 22_050)
    assert coded.shape == tone.shape
    spectra = [np.abs(np.fft.rfft(each[4096:-4096])) for each in (tone, coded)]
    assert spectra[0].argmax() == spectra[1].argmax()
    assert coded[4096:-4096].std() == pytest.approx(tone.std(), rel=0.05)
    assert not np.array_equal(coded, tone)


@pytest.mark.skipif(not has_ffmpeg(), reason="needs ffmpeg")
def test_an_error_of_ffmpeg_is_named():
    with pytest.raises(AudioError, match="ffmpeg: "):
        through_aac(np.zeros(1000, np.float32), -1)
