"""Several channels become one without losing the sound, on both sides of every threshold."""

import numpy as np
import pytest

from headnod.audio.processing import ChannelMixer
from support.signals import RATE, music, noise, scaled, sine

SONG = music(20.0)
OTHER = music(20.0, seed=7)
NOTHING = np.zeros_like(SONG)
MOMENT = round(0.02 * RATE)
BOTH, LEFT, RIGHT = (0, 1), (0,), (1,)


def mixed(*channels, block=MOMENT * 12, mixer=None):
    frames = np.stack(channels, axis=1).astype(np.float32)
    mixer = mixer or ChannelMixer(RATE, len(channels))
    pieces = [mixer.mix(frames[start : start + block]) for start in range(0, len(frames), block)]
    return np.concatenate(pieces), mixer


@pytest.mark.parametrize("block", [RATE // 10, RATE // 4, 16_384, 10 * RATE])
@pytest.mark.parametrize(("channels", "used"), [((NOTHING, SONG), RIGHT), ((SONG, NOTHING), LEFT)])
def test_sound_on_one_side_is_heard_as_loud_as_it_is(channels, used, block):
    mono, mixer = mixed(*channels, block=block)
    assert mixer.used == used
    assert np.array_equal(mono, SONG)


def test_two_sides_that_live_are_averaged():
    mono, mixer = mixed(SONG, OTHER)
    assert mixer.used == BOTH
    assert np.allclose(mono, (SONG + OTHER) / 2, atol=1e-6)


def test_one_channel_passes_as_it_is():
    mono, _ = mixed(SONG)
    assert np.array_equal(mono, SONG)


@pytest.mark.parametrize(("decibels", "used"), [(-19.5, BOTH), (-20.5, LEFT)])
def test_a_side_is_left_out_when_it_is_much_quieter(decibels, used):
    assert mixed(SONG, scaled(SONG, decibels))[1].used == used


@pytest.mark.parametrize(("decibels", "used"), [(-11.0, BOTH), (-13.0, LEFT)])
def test_a_side_that_was_left_out_comes_back_when_it_is_nearly_as_loud(decibels, used):
    _, mixer = mixed(SONG, NOTHING)
    assert (
        mixed(*(scaled(channel, decibels * side) for side, channel in enumerate((SONG, SONG))), mixer=mixer)[1].used
        == used
    )


def correlated(share):
    """Two channels whose mean has this share of their mean power."""
    own, common = noise(20.0, dbfs=-20), noise(20.0, dbfs=-20, seed=1)
    return np.sqrt(share) * common + np.sqrt(1 - share) * own, np.sqrt(share) * common - np.sqrt(1 - share) * own


@pytest.mark.parametrize(("share", "cancels"), [(0.08, True), (0.12, False)])
def test_channels_that_cancel_are_not_averaged(share, cancels):
    mono, mixer = mixed(*correlated(share))
    assert (mixer.used != BOTH) == cancels
    assert mono.std() > 0.7 * 0.1 * np.sqrt(share if not cancels else 1.0)


@pytest.mark.parametrize(("share", "cancels"), [(0.22, True), (0.28, False)])
def test_channels_that_cancelled_are_averaged_again_when_they_clearly_do_not(share, cancels):
    _, mixer = mixed(SONG, -SONG)
    assert mixed(*correlated(share), mixer=mixer)[1].used == (BOTH if not cancels else mixer.used)
    assert (mixer.used == BOTH) != cancels


def test_opposite_channels_give_the_song():
    mono, _ = mixed(SONG, -SONG)
    assert np.array_equal(np.abs(mono), np.abs(SONG))


@pytest.mark.parametrize("dbfs", [-40.0, -25.0, -10.0])
def test_a_capsule_that_only_hisses_is_left_out(dbfs):
    mono, mixer = mixed(noise(20.0, dbfs=dbfs), scaled(SONG, -6.0))
    assert mixer.used == RIGHT
    assert np.array_equal(mono[2 * RATE :], scaled(SONG, -6.0)[2 * RATE :])


def test_a_capsule_that_only_hums_is_left_out():
    hum = sum(sine(50.0 * overtone, 20.0, amplitude=0.1 / overtone) for overtone in range(1, 8))
    assert mixed(SONG, hum + noise(20.0, dbfs=-70))[1].used == LEFT


def scattering(decibels):
    """Noise whose level scatters by so many decibels from moment to moment."""
    steps = np.random.default_rng(3).choice([-decibels, decibels], 20 * RATE // MOMENT + 1)
    return noise(20.0, dbfs=-20) * (10.0 ** (np.repeat(steps, MOMENT)[: 20 * RATE] / 20.0)).astype(np.float32)


@pytest.mark.parametrize(("decibels", "used"), [(0.55, LEFT), (0.9, BOTH)])
def test_a_channel_counts_as_noise_when_its_level_stands_still(decibels, used):
    assert mixed(SONG, scattering(decibels))[1].used == used


@pytest.mark.parametrize(("decibels", "used"), [(1.2, LEFT), (1.7, BOTH)])
def test_a_channel_that_was_noise_comes_back_when_it_is_lively(decibels, used):
    _, mixer = mixed(SONG, noise(20.0, dbfs=-20))
    assert mixed(SONG, scattering(decibels), mixer=mixer)[1].used == used


def test_noise_on_both_sides_is_averaged():
    assert mixed(noise(20.0, dbfs=-40), noise(20.0, dbfs=-45, seed=2))[1].used == BOTH


def test_crosstalk_far_below_a_tone_is_no_reason_to_drop_the_tone():
    assert mixed(sine(440.0, 20.0), scaled(SONG, -60.0))[1].used == LEFT


def test_silence_between_songs_changes_no_choice():
    _, mixer = mixed(NOTHING, SONG)
    mixed(NOTHING, NOTHING, mixer=mixer)
    assert mixer.used == RIGHT
    mixed(noise(5.0, dbfs=-70), noise(5.0, dbfs=-70, seed=1), mixer=ChannelMixer(RATE, 2))


def test_a_change_makes_no_click():
    _, mixer = mixed(SONG, NOTHING)
    tone = sine(110.0, 20.0)
    mono, _ = mixed(tone, tone * np.float32(0.6), mixer=mixer)
    assert mixer.used == BOTH
    assert np.abs(np.diff(mono)).max() < 1.2 * np.abs(np.diff(tone)).max()


def test_a_change_fades_from_the_former_mix_to_the_new_one():
    _, mixer = mixed(SONG, NOTHING)
    frames = np.stack([SONG, 0.6 * OTHER], axis=1).astype(np.float32)
    for start in range(0, len(frames), 4_096):
        block, before = frames[start : start + 4_096], mixer.used
        mono = mixer.mix(block)
        if mixer.used != before:
            break
    assert (before, mixer.used) == (LEFT, BOTH)
    assert mono[0] == pytest.approx(block[0, 0], abs=1e-6)
    mean = block.mean(axis=1)
    faded = np.flatnonzero(np.abs(mono - mean) > 1e-6)
    assert MOMENT - 3 <= faded[-1] < MOMENT
    halfway = MOMENT // 2
    assert mono[halfway] == pytest.approx((block[halfway, 0] + mean[halfway]) / 2, abs=2e-3)


def test_a_constant_on_one_side_is_no_sound():
    assert mixed(np.full_like(SONG, 0.3), SONG)[1].used == RIGHT


def test_of_six_channels_those_with_sound_are_averaged():
    mono, mixer = mixed(NOTHING, SONG, NOTHING, SONG, scaled(SONG, -40.0), NOTHING)
    assert mixer.used == (1, 3)
    assert np.allclose(mono, SONG, atol=1e-6)


def test_channels_are_compared_over_five_seconds():
    """A channel that becomes as loud as the other comes within 12 dB of it in 0.33 s of an average over 5 s."""
    tenth, mixer = RATE // 10, ChannelMixer(RATE, 2)
    beat = np.repeat([0.2, 0.02], tenth // 2)
    sound = np.random.default_rng(3).normal(0.0, 1.0, beat.size) * beat
    quiet, loud = (np.stack([sound, gain * sound], axis=1).astype(np.float32) for gain in (0.01, 1.0))
    for _ in range(100):
        mixer.mix(quiet)
    assert mixer.used == LEFT
    loud, step, steps = np.tile(loud, (20, 1)), RATE // 50, 0
    while mixer.used == LEFT and steps < 90:
        mixer.mix(loud[steps * step : (steps + 1) * step])
        steps += 1
    assert steps == 16


@pytest.mark.parametrize(("decibels", "used"), [(-37.0, RIGHT), (-46.0, LEFT)])
def test_music_replaces_a_steady_tone_unless_it_is_40_decibels_quieter(decibels, used):
    tone = sine(440.0, 20.0)
    quieter = scaled(SONG, decibels + 20.0 * np.log10(tone.std() / SONG.std()))
    assert mixed(tone, quieter)[1].used == used


@pytest.mark.parametrize(("dbfs", "used"), [(-99.0, RIGHT), (-101.0, BOTH)])
def test_channels_are_compared_while_one_of_them_is_louder_than_100_decibels_below_full_scale(dbfs, used):
    assert mixed(NOTHING, noise(1.0, dbfs=dbfs)[: NOTHING.size].repeat(20)[: NOTHING.size])[1].used == used


def test_a_constant_in_one_channel_does_not_make_the_other_a_quiet_one():
    assert mixed(SONG + np.float32(0.5), scaled(SONG, -10.0))[1].used == BOTH
