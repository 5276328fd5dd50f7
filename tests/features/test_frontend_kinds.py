"""The front end of the tagger: 16 kHz, log10 of mel power, its level set for each window."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.make import noise
from headnod.features.windows import FrameCache, Window
from headnod.pipeline.level import dbfs
from headnod_train.distillation.tagging import FRONT_END, loudness
from support.bundles import TAGGER
from support.signals import music, scaled

ALIKE = 1e-3
WHOLE = dataclasses.replace(TAGGER, n_mfcc=TAGGER.n_mels)


@pytest.fixture(scope="module")
def audio():
    return music(4.0)[: TAGGER.window_samples]


def test_the_features_are_those_that_the_tagger_was_trained_on(audio):
    level = TAGGER.level_db - 10.0 * np.log10(np.mean(10.0 ** (FRONT_END.log_mel(audio).astype(np.float64) / 10.0)))
    heard = TAGGER.mfcc(audio)
    assert heard.shape == (187, 96)
    assert np.abs(heard - loudness(FRONT_END.log_mel(scaled(audio, level)))).max() < ALIKE


def test_the_mean_mel_power_of_a_window_is_the_level(audio):
    power = (10.0 ** TAGGER.mfcc(audio).astype(np.float64) - 1.0) / 10_000.0
    assert 10.0 * np.log10(power.mean()) == pytest.approx(TAGGER.level_db, abs=0.01)


@given(decibels=st.floats(-20.0, 6.0))
def test_a_gain_does_not_change_the_features(decibels):
    audio = music(4.0)[: TAGGER.window_samples]
    assert np.abs(TAGGER.mfcc(scaled(audio, decibels)) - TAGGER.mfcc(audio)).max() < ALIKE


def test_music_at_the_edge_of_silence_keeps_what_is_soft_in_it(audio):
    """Cells that a floor of -60 dB would hide still differ from each other."""
    quiet = scaled(audio, -60.0 - dbfs(audio))
    assert np.abs(TAGGER.mfcc(quiet) - TAGGER.mfcc(audio)).mean() < 0.01
    hidden = dataclasses.replace(TAGGER, floor_db=-60.0)
    assert np.abs(hidden.mfcc(quiet) - hidden.mfcc(audio)).mean() > 0.5


def test_the_whole_transform_can_be_inverted(audio):
    place = (np.arange(96)[:, None] + 0.5) * np.pi / 96
    dct = np.cos(place * np.arange(96)) * np.sqrt(2.0 / 96)
    dct[:, 0] /= np.sqrt(2.0)
    assert np.abs(WHOLE.mfcc(audio) @ dct.T - TAGGER.mfcc(audio)).max() < ALIKE


def test_decibels_of_an_archive_give_the_features_of_the_audio(audio):
    several = np.stack([TAGGER.log_mel(audio), TAGGER.log_mel(noise(TAGGER))])
    features = TAGGER.cepstra(several)
    for window, expected in zip(features, (audio, noise(TAGGER)), strict=True):
        assert np.abs(window - TAGGER.mfcc(expected)).max() < ALIKE


@pytest.mark.parametrize("first", [0, 1, 95, 96, 191, 192, 300])
@pytest.mark.parametrize("count", [1, 8, 97, 187, 193])
def test_a_frame_is_the_same_wherever_it_lies_in_a_batch(first, count):
    long = music(10.0, rate=TAGGER.sample_rate)
    part = long[first * TAGGER.hop :][: (count - 1) * TAGGER.hop + TAGGER.n_fft]
    assert np.array_equal(TAGGER.mel(part), TAGGER.mel(long)[first : first + count])


def test_frames_of_a_stream_are_shared_between_windows():
    stream, cache = music(8.0), FrameCache(TAGGER)
    for start in (0, 3 * 256, 100 * 256, 186 * 256, 500 * 256 + 7):
        window = stream[start : start + TAGGER.window_samples]
        assert np.array_equal(cache.features(Window(window, start)), TAGGER.mfcc(window))


def test_features_can_be_written_into_an_array_that_is_there(audio):
    for front_end in (TAGGER, WHOLE, dataclasses.replace(TAGGER, compression="db")):
        out = np.empty((187, front_end.n_features), np.float32)
        mel = front_end.mel(audio)
        before = mel.copy()
        assert front_end.features(mel, out=out) is out
        assert np.array_equal(out, front_end.mfcc(audio))
        assert np.array_equal(mel, before)


@pytest.mark.parametrize("field", ["mel_scale", "mel_norm", "compression", "level"])
def test_a_choice_that_is_none_is_named(field):
    with pytest.raises(ValueError, match=rf"^{field} is 'other', it must be \w+ or \w+"):
        dataclasses.replace(TAGGER, **{field: "other"})


@pytest.mark.parametrize("value", [-101.0, 101.0, float("nan")])
def test_a_level_out_of_bounds_is_named(value):
    with pytest.raises(ValueError, match=r"^level_db is"):
        dataclasses.replace(TAGGER, level_db=value)
