"""Samples of any rate become those that a model hears: the tone stays, and nothing folds down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod.audio.processing import Resampler, from_s16
from support.signals import RATE, noise


def resampled(audio, rate, wanted=RATE, *, cuts=()):
    resampler = Resampler(rate, wanted)
    pieces = [resampler.convert(piece) for piece in np.split(audio.astype(np.float32), sorted(cuts))]
    return np.concatenate([*pieces, resampler.finish()])


def tone(hertz, rate, seconds=1.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def decibels(audio):
    return 20 * np.log10(max(float(audio.std()), 1e-9))


@pytest.mark.parametrize("rate", [16_000, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_tone_under_nine_tenths_of_the_band_stays_where_and_as_loud_as_it_was(rate, share):
    hertz = share * min(rate, RATE) / 2
    found = resampled(tone(hertz, rate), rate)[2_000:20_000]
    assert decibels(found) == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.05)
    spectrum = np.abs(np.fft.rfft(found * np.hanning(found.size)))
    assert spectrum.argmax() * RATE / found.size == pytest.approx(hertz, abs=2.0)


@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("hertz", [12_500, 13_500, 15_000])
def test_a_tone_that_the_new_rate_cannot_hold_does_not_fold_down(rate, hertz):
    found = resampled(tone(hertz, rate), rate)[2_000:20_000]
    assert decibels(found) < -9 - 80


def test_the_same_rate_passes_the_very_samples():
    audio = noise(0.1, dbfs=-20)
    assert np.array_equal(resampled(audio, RATE), audio)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
@given(cuts=st.lists(st.integers(0, 9_000), max_size=10))
def test_where_a_stream_was_cut_does_not_matter(rate, cuts):
    audio = noise(0.2, dbfs=-20, rate=45_000)
    assert np.allclose(resampled(audio, rate, cuts=cuts), resampled(audio, rate), atol=1e-6)


def test_sixteen_bits_are_little_endian_and_never_reach_one():
    frames = from_s16(b"\x00\x80\xff\x7f\x01\x00\x00\x40", 1)
    assert frames.dtype == np.float32
    assert frames[:, 0].tolist() == [-1.0, 32767 / 32768, 1 / 32768, 0.5]


def test_interleaved_channels_are_distinguished():
    frames = from_s16(np.array([1, 2, 3, 4, 5, 6], "<i2").tobytes(), 3)
    assert (frames * 32768).tolist() == [[1, 2, 3], [4, 5, 6]]
