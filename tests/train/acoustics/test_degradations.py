"""Rooms, devices and noises change mel power as they change sound."""

import numpy as np
import pytest

from headnod.features.frontend import FrontEnd
from headnod_train.acoustics import (
    Bands,
    Clipping,
    Hum,
    MeasuredRooms,
    Noise,
    Reverberation,
    Transducer,
    apply_all,
    gains_of,
    to_decibels,
    to_power,
)
from support.signals import music

FRONT_END = FrontEnd()
BANDS = Bands(FRONT_END)
LOUD = FRONT_END.log_mel(music(8.0))[None]

STEPS = [
    Reverberation(), Transducer(), Clipping(), Hum(), Noise("white"), Noise("pink"), Noise("fan"), Noise("babble"),
    MeasuredRooms((np.full((3, FRONT_END.n_mels), 0.3, np.float32),)),
]  # fmt: skip


def bent(step, log_mel=LOUD, seed=0):
    return step.apply(log_mel, BANDS, np.random.default_rng(seed))


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_how_loud_the_music_is_does_not_matter(step):
    soft, loud = bent(step), bent(step, LOUD + np.float32(20))
    seen = soft > soft.max() - FRONT_END.range_db
    assert loud[seen] == pytest.approx(soft[seen] + 20, abs=0.05)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_the_same_seed_gives_the_same_sound_and_nothing_given_is_changed(step):
    given = LOUD.copy()
    assert np.array_equal(bent(step, given), bent(step))
    assert np.array_equal(given, LOUD)


@pytest.mark.parametrize("step", [step for step in STEPS if not isinstance(step, MeasuredRooms)], ids=str)
def test_rows_are_changed_each_in_its_own_way(step):
    one, other = bent(step, np.repeat(LOUD, 2, axis=0))
    assert np.abs(one - other).max() > 0.1


def test_sound_goes_through_one_thing_after_another():
    steps = (Reverberation(), Noise("pink", (10.0, 10.0)))
    rng = np.random.default_rng(0)
    expected = steps[1].apply(steps[0].apply(LOUD, BANDS, rng), BANDS, rng)
    assert np.array_equal(apply_all(steps, LOUD, BANDS, np.random.default_rng(0)), expected)


@pytest.mark.parametrize("decay", [0.4, 1.2])
def test_a_clap_dies_away_at_the_rate_of_the_room(decay):
    clap = np.full((200, 20, FRONT_END.n_mels), -100.0, np.float32)
    clap[:, 2] = 0.0
    room = Reverberation(decay=(decay, decay), direct=(0.0, 0.0), damping=(1.0, 1.0))
    tail = to_decibels(to_power(bent(room, clap)).mean(axis=(0, 2)))
    frames = round(0.3 / BANDS.seconds)
    fallen = tail[4] - tail[4 + frames]
    assert fallen == pytest.approx(60.0 * frames * BANDS.seconds / decay, rel=0.05)


def test_high_tones_die_away_sooner():
    clap = np.full((200, 12, FRONT_END.n_mels), -100.0, np.float32)
    clap[:, 2] = 0.0
    late = to_decibels(to_power(bent(Reverberation((0.8, 0.8), (0.0, 0.0), (0.5, 0.5)), clap))[:, 8].mean(axis=0))
    low, high = late[BANDS.centres < 1000].mean(), late[BANDS.centres > 6000].mean()
    assert low > high + 10


@pytest.mark.parametrize("direct", [-3.0, 6.0])
def test_direct_sound_stands_over_the_rest_as_asked(direct):
    steady = np.zeros((40, 40, FRONT_END.n_mels), np.float32)
    room = Reverberation(decay=(0.5, 0.5), direct=(direct, direct))
    power = to_power(bent(room, steady))[:, 25:].mean()
    assert power == pytest.approx(1 + 10 ** (-direct / 10), rel=0.05)


def test_a_measured_room_does_what_convolution_does():
    rng = np.random.default_rng(0)
    seconds = np.arange(FRONT_END.sample_rate) / FRONT_END.sample_rate
    response = 0.02 * rng.standard_normal(seconds.size) * np.exp(-seconds * 6.9 / 0.5)
    response[0] = 1.0
    dry = rng.standard_normal(6 * FRONT_END.sample_rate) * (
        1 + np.sign(np.sin(6 * np.arange(6 * FRONT_END.sample_rate) / 22050))
    )
    size = dry.size + response.size
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(response, size), size)[: dry.size]
    real = FRONT_END.log_mel(wet.astype(np.float32)).mean(axis=1)
    room = MeasuredRooms((gains_of(response.astype(np.float32), BANDS),))
    said = bent(room, FRONT_END.log_mel(dry.astype(np.float32))[None])[0].mean(axis=1)
    gap = (said - real)[12:]
    assert np.abs(gap - np.median(gap)).mean() < 0.7
    assert np.ptp(real[12:]) > 5


@pytest.mark.parametrize("kind", ["white", "pink", "fan", "babble"])
@pytest.mark.parametrize("snr", [20.0, 0.0])
def test_noise_lies_as_far_under_the_music_as_asked(kind, snr):
    before, after = (BANDS.loudness(to_power(sound)).mean() for sound in (LOUD, bent(Noise(kind, (snr, snr)))))
    assert after / before == pytest.approx(1 + 10 ** (-snr / 10), rel=1e-3)


def test_pink_noise_falls_by_three_decibels_an_octave():
    silence = np.zeros((1, 4000, FRONT_END.n_mels), np.float32) - 60.0
    noise = to_power(bent(Noise("pink", (-40.0, -40.0)), silence)).mean(axis=(0, 1))
    octave = [np.interp(hertz, BANDS.centres, to_decibels(noise)) for hertz in (500.0, 1000.0, 2000.0, 4000.0)]
    assert -np.diff(octave) == pytest.approx([3, 3, 3], abs=0.3)


def test_hum_stands_in_the_lowest_bands():
    added = to_power(bent(Hum((0.0, 0.0)))) - to_power(LOUD)
    low = BANDS.centres < 700
    assert BANDS.loudness(added * low).mean() > 0.9 * BANDS.loudness(added).mean()


def test_a_device_lets_half_the_power_through_at_its_ends():
    plain = Transducer(low=(200.0, 200.0), high=(4000.0, 4000.0), order=(4, 4), resonances=0)
    response = plain.responses(1, BANDS, np.random.default_rng(0))[0]
    assert np.interp([200.0, 900.0, 4000.0], BANDS.centres, response) == pytest.approx([-3, 0, -3], abs=0.3)
    assert np.interp(8000.0, BANDS.centres, response) == pytest.approx(-24, abs=0.3)


def test_clipping_of_coloured_noise_is_what_clipping_its_samples_gives():
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(20 * FRONT_END.sample_rate))
    spectrum[2000 * 20 :] *= 0.01
    noise = np.fft.irfft(spectrum)
    noise = (0.1 * noise / noise.std()).astype(np.float32)
    limit = 0.1 * 10 ** (3 / 20)
    before, real = FRONT_END.log_mel(noise), FRONT_END.log_mel(np.clip(noise, -limit, limit))
    said = bent(Clipping((3.0, 3.0)), before[None])[0]
    change, told = (to_power(real).mean(axis=0), to_power(said).mean(axis=0))
    gap = np.abs(to_decibels(told) - to_decibels(change))
    # Distortion of a higher order than the fifth is counted to the fifth.
    assert gap[BANDS.centres < 5000].max() < 1.5
    assert gap.max() < 5
    assert np.abs(to_decibels(to_power(before).mean(axis=0)) - to_decibels(change)).max() > 15


def test_much_headroom_clips_nothing():
    assert bent(Clipping((40.0, 40.0))) == pytest.approx(LOUD, abs=1e-3)
