"""The front end computes what librosa computes, frame by frame, at any loudness."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.make import FRONT_ENDS, SIGNALS, STORED, noise, witness
from headnod.features.frontend import FrontEnd, MelSpectrogram, mel_blocks, mel_corners
from headnod.inference.model import chirp
from support.signals import music, scaled

DEFAULT = FrontEnd()
ALIKE = 1e-3


@pytest.fixture(params=FRONT_ENDS)
def name(request):
    return request.param


@pytest.fixture(params=SIGNALS)
def signal(request):
    return request.param


@pytest.fixture(scope="module")
def stored():
    with np.load(STORED) as arrays:
        return dict(arrays)


def test_log_mel_agrees_with_the_golden_numbers(name, signal, stored):
    front_end = FRONT_ENDS[name]
    said = stored[f"{name}, {signal}, log-mel"]
    heard = front_end.log_mel(SIGNALS[signal](front_end))
    assert heard.shape == said.shape == (front_end.frames, front_end.n_mels)
    assert heard.dtype == np.float32
    # Below that a float32 FFT has rounding to tell and little else, and no feature sees it.
    seen = said > said.max() - front_end.range_db
    assert np.abs(heard - said)[seen].max() < ALIKE
    nearly_seen = said > said.max() - front_end.range_db - 30.0
    assert np.abs(heard - said)[nearly_seen].max() < 0.1


def test_mfccs_agree_with_the_golden_numbers(name, signal, stored):
    front_end = FRONT_ENDS[name]
    said = stored[f"{name}, {signal}, cepstra"]
    heard = front_end.mfcc(SIGNALS[signal](front_end))
    assert heard.shape == said.shape == (front_end.frames, front_end.n_features)
    assert heard.dtype == np.float32
    assert np.abs(heard - said).max() < ALIKE


@pytest.mark.long
def test_librosa_still_says_what_is_stored(name, signal, stored):
    pytest.importorskip("librosa", reason="librosa is the witness: scripts/setup test")
    front_end = FRONT_ENDS[name]
    log_mel, cepstra = witness(front_end, SIGNALS[signal](front_end))
    assert np.abs(log_mel - stored[f"{name}, {signal}, log-mel"]).max() < ALIKE
    assert np.abs(cepstra - stored[f"{name}, {signal}, cepstra"]).max() < ALIKE


def test_frames_start_at_multiples_of_the_hop():
    audio = music(2.0)
    whole = DEFAULT.log_mel(audio)
    for place, frame in enumerate(whole):
        start = place * DEFAULT.hop
        assert np.array_equal(frame, DEFAULT.log_mel(audio[start : start + DEFAULT.n_fft])[0])


@pytest.mark.parametrize(
    ("spare", "frames"), [(0, 1), (1, 1), (1707, 1), (1708, 2), (37 * 1708 - 1, 37), (37 * 1708, 38)]
)
def test_no_frame_reaches_past_the_end(spare, frames):
    audio = noise(DEFAULT)[: DEFAULT.n_fft + spare]
    assert DEFAULT.log_mel(audio).shape == (frames, DEFAULT.n_mels)


def test_a_window_has_as_many_samples_as_its_frames_need():
    assert DEFAULT.window_samples == 65_244
    assert DEFAULT.mfcc(noise(DEFAULT)).shape == (38, 40)
    assert len(DEFAULT.log_mel(noise(DEFAULT)[:-1])) == 37


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 37, 48, 49])
def test_a_frame_does_not_depend_on_how_many_are_drawn_at_once(count):
    audio = music(5.0)
    whole = DEFAULT.log_mel(audio)
    start, size = 7 * DEFAULT.hop, (count - 1) * DEFAULT.hop + DEFAULT.n_fft
    assert np.array_equal(DEFAULT.log_mel(audio[start : start + size]), whole[7 : 7 + count])


def test_a_spectrograph_keeps_nothing_of_what_it_drew_before():
    spectrogram, drawn = MelSpectrogram(DEFAULT), np.empty((38, DEFAULT.n_mels), np.float32)
    for audio in (noise(DEFAULT), chirp(DEFAULT), np.zeros(DEFAULT.window_samples, np.float32)):
        spectrogram.compute(audio, drawn)
        assert np.array_equal(drawn, DEFAULT.log_mel(audio))


def test_a_frame_depends_on_no_sample_outside_it():
    audio = noise(DEFAULT)
    changed = audio.copy()
    changed[: 5 * DEFAULT.hop] = 0.9
    changed[5 * DEFAULT.hop + DEFAULT.n_fft :] = -0.9
    assert np.array_equal(DEFAULT.log_mel(audio)[5], DEFAULT.log_mel(changed)[5])


@pytest.mark.parametrize("shape", [(0,), (2047,), (1, 65_244), (65_244, 1)])
def test_audio_that_fills_no_frame_is_refused(shape):
    with pytest.raises(ValueError, match="does not fill a frame of 2048 samples"):
        DEFAULT.log_mel(np.zeros(shape, np.float32))


def test_the_highest_band_reaches_the_last_bin_below_the_nyquist_frequency():
    assert max(bins.stop for bins, _, _ in mel_blocks(DEFAULT)) == DEFAULT.n_fft // 2


def test_silence_lies_on_the_floor_and_has_features_of_zero():
    hush = np.zeros(DEFAULT.window_samples, np.float32)
    assert np.allclose(DEFAULT.log_mel(hush), DEFAULT.floor_db, atol=1e-4)
    assert np.abs(DEFAULT.mfcc(hush)).max() < ALIKE


def test_a_full_scale_sine_of_one_band_has_the_power_of_the_formula():
    # The Hann window's sum is n_fft / 2, so a bin's amplitude is n_fft / 4.
    bin_width = DEFAULT.sample_rate / DEFAULT.n_fft
    corners = mel_corners(DEFAULT.n_mels, DEFAULT.f_min, DEFAULT.f_max)
    band = 100
    place = round(corners[band + 1] / bin_width)
    samples = np.arange(DEFAULT.n_fft)
    sine = np.sin(2.0 * np.pi * place * samples / DEFAULT.n_fft).astype(np.float32)
    hertz = place * bin_width + bin_width * np.array([-1, 0, 1])
    rise = (hertz - corners[band]) / (corners[band + 1] - corners[band])
    fall = (corners[band + 2] - hertz) / (corners[band + 2] - corners[band + 1])
    weights = np.minimum(rise, fall) * 2.0 / (corners[band + 2] - corners[band])
    power = (DEFAULT.n_fft / 4.0) ** 2 * np.array([0.25, 1.0, 0.25])
    assert DEFAULT.log_mel(sine)[0, band] == pytest.approx(10.0 * np.log10(weights @ power), abs=ALIKE)


@given(decibels=st.floats(-40.0, 6.0))
def test_a_gain_does_not_change_the_features(decibels):
    audio = music(3.0)[: DEFAULT.window_samples]
    assert np.abs(DEFAULT.mfcc(scaled(audio, decibels)) - DEFAULT.mfcc(audio)).max() < ALIKE


def test_log_mel_from_elsewhere_gives_the_features_of_the_audio():
    log_mel = DEFAULT.log_mel(noise(DEFAULT))
    assert np.array_equal(DEFAULT.cepstra(log_mel), DEFAULT.mfcc(noise(DEFAULT)))
    assert np.abs(DEFAULT.cepstra(log_mel + np.float32(13.0)) - DEFAULT.mfcc(noise(DEFAULT))).max() < ALIKE


def test_many_windows_at_once_are_each_as_if_alone():
    log_mel = DEFAULT.log_mel(music(8.0))
    several = np.stack([log_mel[start : start + 38] for start in (0, 13, 60)])
    together = DEFAULT.cepstra(several)
    for window, features in zip(several, together, strict=True):
        assert np.allclose(DEFAULT.cepstra(window), features, atol=1e-4)


def test_log_mel_is_not_changed_by_who_reads_it():
    log_mel = DEFAULT.log_mel(chirp(DEFAULT))
    before = log_mel.copy()
    DEFAULT.cepstra(log_mel)
    assert np.array_equal(log_mel, before)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 7_999),
        ("sample_rate", 192_001),
        ("n_fft", 63),
        ("n_fft", 16_385),
        ("hop", 0),
        ("hop", 2049),
        ("frames", 0),
        ("n_mels", 1),
        ("n_mfcc", -1),
        ("n_mfcc", 129),
        ("f_min", -1.0),
        ("f_min", 11_025.0),
        ("f_min", float("nan")),
        ("f_max", 11_025.5),
        ("f_max", float("inf")),
        ("f_max", float("nan")),
        ("floor_db", 1.0),
        ("floor_db", float("nan")),
        ("range_db", 0.0),
    ],
)
def test_a_number_that_makes_no_front_end_is_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field} is {value}, it must lie between"):
        dataclasses.replace(DEFAULT, **{field: value})


def test_an_odd_frame_is_refused_because_its_last_bin_is_no_nyquist_bin():
    with pytest.raises(ValueError, match=r"^n_fft is 2047, it must be even"):
        dataclasses.replace(DEFAULT, n_fft=2047, hop=1000)


@st.composite
def front_ends(draw):
    sample_rate = draw(st.sampled_from((8_000, 11_025, 16_000, 22_050, 44_100, 48_000)) | st.integers(8_000, 192_000))
    n_fft = 2 * draw(st.integers(32, 2048))
    f_max = draw(st.just(sample_rate / 2) | st.floats(1.0, sample_rate / 2))
    f_min = draw(st.just(0.0) | st.floats(0.0, f_max - 1.0))
    n_mels = draw(st.integers(2, 300))
    return FrontEnd(
        sample_rate,
        n_fft,
        n_fft,
        2,
        n_mels,
        f_min,
        f_max,
        n_mfcc=draw(st.sampled_from((0, min(n_mels, 13), n_mels))),
        mel_scale=draw(st.sampled_from(("slaney", "htk"))),
        mel_norm=draw(st.sampled_from(("area", "none"))),
        compression=draw(st.sampled_from(("db", "log10"))),
        level=draw(st.sampled_from(("mean", "power"))),
    )


@given(front_end=front_ends())
def test_every_front_end_that_can_be_had_gives_features(front_end):
    features = front_end.mfcc(noise(front_end))
    assert features.shape == (2, front_end.n_features)
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_rate": 8_000, "f_max": 4_000.0},
        {"sample_rate": 192_000},
        {"n_fft": 64, "hop": 64},
        {"n_fft": 16_384},
        {"hop": 1},
        {"hop": 2_048},
        {"frames": 1},
        {"frames": 4_096},
        {"n_mels": 2, "n_mfcc": 2},
        {"n_mels": 512},
        {"n_mfcc": 0},
        {"n_mfcc": 128},
        {"f_min": 11_024.0},
        {"f_max": 1.0},
        {"floor_db": 0.0},
        {"floor_db": -300.0},
        {"range_db": 1.0},
        {"range_db": 300.0},
        {"level_db": -100.0},
        {"level_db": 100.0},
    ],
    ids=str,
)
def test_a_front_end_is_accepted_up_to_its_limits(changes):
    assert dataclasses.replace(DEFAULT, **changes).window_samples > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frames", 4_097),
        ("n_mels", 513),
        ("f_max", 0.99),
        ("f_min", 11_024.1),
        ("floor_db", 0.01),
        ("floor_db", -300.1),
        ("range_db", 0.99),
        ("range_db", 300.1),
        ("level_db", -100.1),
        ("level_db", 100.1),
    ],
)
def test_a_front_end_is_refused_beyond_its_limits(field, value):
    with pytest.raises(ValueError, match=rf"^{field} is {value}, it must lie between"):
        dataclasses.replace(DEFAULT, **{field: value})
