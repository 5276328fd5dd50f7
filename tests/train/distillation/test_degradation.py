"""What the degradation does to a waveform, stated as physics."""

import subprocess

import numpy as np
import pytest

from headnod.errors import AudioError
from headnod_train.degradation import (
    DegradationRates,
    Degrader,
    coloured_noise,
    has_ffmpeg,
    in_room,
    read_all,
    simulated_room,
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


def early_over_late(response):
    """C50: power of the first 50 ms over that of the rest, in decibels."""
    power = np.square(response.astype(np.float64))
    edge = round(0.05 * RATE)
    return 10 * np.log10(power[:edge].sum() / power[edge:].sum())


def test_a_simulated_room_decays_from_its_direct_sound_on(rng):
    for _ in range(10):
        response = simulated_room(RATE, rng)
        quarters = [float(np.sum(np.square(part, dtype=np.float64))) for part in np.array_split(response, 4)]
        assert sum(quarters) == pytest.approx(1.0, abs=1e-3)
        assert quarters == sorted(quarters, reverse=True)
        assert quarters[3] < 1e-3


def test_simulated_rooms_are_as_dry_and_as_reverberant_as_furnished_and_empty_rooms(rng):
    clarity = [early_over_late(simulated_room(RATE, rng)) for _ in range(40)]
    assert np.percentile(clarity, 10) < 5.0
    assert np.percentile(clarity, 90) > 10.0


def test_reflections_come_within_the_first_milliseconds_and_later_than_the_direct_sound(rng):
    response = simulated_room(RATE, rng)
    direct = int(np.abs(response[: RATE // 1000]).argmax())
    between = response[direct + RATE // 1000 : direct + RATE // 20]
    assert direct < RATE // 1000
    assert 10 * np.log10(np.sum(np.square(between)) / np.sum(np.square(response))) > -25.0


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


def plays_modules():
    return (
        has_ffmpeg()
        and b"libopenmpt" in subprocess.run(["ffmpeg", "-demuxers"], capture_output=True, check=True).stdout
    )


@pytest.mark.skipif(not plays_modules(), reason="needs ffmpeg with libopenmpt")
def test_a_tracker_module_is_played(tmp_path):
    """One looped square wave of 32 samples at 8,287 Hz, played at its own pitch."""
    loop = (0).to_bytes(2, "big") + (16).to_bytes(2, "big")
    samples = bytes(22) + (16).to_bytes(2, "big") + bytes([0, 64]) + loop + 30 * (bytes(28) + b"\0\1")
    note = bytes([428 >> 8, 428 & 255, 0x10, 0]) + bytes(64 * 16 - 4)
    (tmp_path / "a.mod").write_bytes(
        bytes(20) + samples + bytes([1, 127]) + bytes(128) + b"M.K." + note + 16 * b"\x40" + 16 * b"\xc0"
    )
    audio = read_all(tmp_path / "a.mod", RATE)
    loudest = int(np.abs(np.fft.rfft(audio[RATE : 2 * RATE])).argmax())
    assert loudest == pytest.approx(8287 / 32, abs=3)
