"""Levels in dBFS, and the room's noise floor while music plays."""

import numpy as np
import pytest

from headnod.pipeline.level import SILENT_DBFS, LoudnessMeter, NoiseFloor, clipped_share, dbfs, decibels, is_dead
from support.signals import RATE, music, noise, scaled, sine

WINDOW = 65_244


@pytest.mark.parametrize(
    ("audio", "level", "peak"),
    [
        (sine(441, 3.0, amplitude=1.0), -3.01, 0.0),
        (sine(441, 3.0, amplitude=0.1), -23.01, -20.0),
        (np.tile([0.5, -0.5], WINDOW // 2), -6.02, -6.02),
        (np.tile([0.6, 0.4], WINDOW // 2), -20.0, -4.44),
        (np.zeros(WINDOW), SILENT_DBFS, SILENT_DBFS),
        (np.full(WINDOW, 0.5), SILENT_DBFS, -6.02),
    ],
)
def test_level_is_about_the_mean_and_peak_is_not(audio, level, peak):
    audio = np.asarray(audio, np.float32)[:WINDOW]
    assert dbfs(audio) == pytest.approx(level, abs=0.02)
    assert LoudnessMeter(WINDOW).measure(audio).peak == pytest.approx(peak, abs=0.02)


def test_the_clipped_share_counts_both_ends():
    audio = np.array([1.0, -1.0, 0.9995, 0.99, 0.0, 0.5, -0.5, 0.1], np.float32)
    assert clipped_share(audio) == pytest.approx(3 / 8)


@pytest.mark.parametrize(("sample", "share"), [(0.999, 0.5), (0.9985, 0.0)])
def test_full_scale_begins_at_0_999(sample, share):
    assert clipped_share(np.array([sample, 0.0])) == share


def test_only_samples_that_never_change_are_dead():
    assert is_dead(np.zeros(10, np.float32))
    assert is_dead(np.full(10, -0.2, np.float32))
    assert not is_dead(noise(0.1, dbfs=-90))


@pytest.mark.parametrize(
    "audio",
    [
        noise(3.0, dbfs=-20)[:WINDOW],
        scaled(noise(3.0, dbfs=0)[:WINDOW], 12.0).clip(-1.0, 1.0),
        (noise(3.0, dbfs=-60)[:WINDOW] + np.float32(0.3)),
        np.full(WINDOW, 0.25, np.float32),
        np.zeros(WINDOW, np.float32),
    ],
    ids=["hiss", "clipped", "beside zero", "stuck", "silent"],
)
def test_the_meter_reads_what_each_measure_says_alone(audio):
    meter = LoudnessMeter(audio.size)
    meter.measure(noise(3.0, dbfs=-3)[:WINDOW])
    said = meter.measure(audio)
    assert said.level == pytest.approx(dbfs(audio), abs=0.001)
    assert said.peak == decibels(float(np.abs(audio).max()))
    assert said.clipped == clipped_share(audio)
    assert said.dead == is_dead(audio)


def test_a_piece_that_is_stuck_beside_the_mean_is_no_quiet_moment():
    audio = noise(3.0, dbfs=-40)[:WINDOW]
    audio[20_000:40_000] = 0.5
    assert LoudnessMeter(WINDOW).measure(audio).quietest == pytest.approx(-40, abs=0.5)


def floor_after(windows, *, every=3.0):
    noise_floor = NoiseFloor(every=every)
    for window in windows:
        noise_floor.update(LoudnessMeter(window.size).measure(window).quietest)
    return noise_floor.floor


def test_nothing_is_known_of_a_room_at_first():
    assert NoiseFloor(every=3.0).floor == SILENT_DBFS


def test_a_steady_noise_is_the_floor():
    assert floor_after([noise(3.0, dbfs=-62, seed=seed) for seed in range(3)]) == pytest.approx(-62, abs=0.5)


def test_the_floor_is_found_between_the_notes():
    hiss = noise(3.0, dbfs=-65)
    played = music(3.0)
    gated = np.where(np.arange(played.size) % (RATE // 2) < RATE // 4, played, 0.0).astype(np.float32)
    assert floor_after([gated + hiss]) == pytest.approx(-65, abs=0.7)


def test_no_room_is_called_noisier_than_the_ceiling():
    assert floor_after([noise(3.0, dbfs=-20)]) == NoiseFloor.CEILING


def test_dead_audio_tells_nothing_of_the_room():
    hiss = noise(3.0, dbfs=-58)
    assert floor_after([hiss, np.zeros(WINDOW, np.float32), hiss]) == pytest.approx(-58, abs=0.5)
    assert floor_after([np.zeros(WINDOW, np.float32)]) == SILENT_DBFS


def test_a_moment_of_digital_silence_within_a_window_is_no_noise_floor():
    gap = noise(3.0, dbfs=-58)
    gap[21_246:41_246] = 0.0
    # Pieces that are partly alive count as what they are.
    assert floor_after([gap]) == pytest.approx(-58, abs=3.0)


def test_a_quiet_moment_is_forgotten_after_ten_minutes():
    quiet, louder = noise(3.0, dbfs=-80), noise(3.0, dbfs=-60)
    assert floor_after([quiet, *[louder] * 199]) == pytest.approx(-80, abs=0.5)
    assert floor_after([quiet, *[louder] * 200]) == pytest.approx(-60, abs=0.5)
    assert floor_after([quiet, *[louder] * 200], every=1.5) == pytest.approx(-80, abs=0.5)


def test_a_gain_moves_the_floor_as_far():
    hiss = noise(3.0, dbfs=-70)
    assert floor_after([scaled(hiss, -9)]) - floor_after([hiss]) == pytest.approx(-9, abs=0.01)


@pytest.mark.parametrize("gain", [-40, 0])
@pytest.mark.parametrize("begins", [0, 5, 20, 37])
def test_a_meter_finds_where_sound_begins_at_any_level(begins, gain):
    audio = noise(3.0, dbfs=-60)[:WINDOW]
    audio[begins * 1708 :] += sine(440.0, 3.0)[: WINDOW - begins * 1708]
    onset = LoudnessMeter(WINDOW).measure(scaled(audio, gain)).onset
    assert max(begins - 1, 0) * 1708 <= onset <= begins * 1708


@pytest.mark.parametrize("last", [1, 100, 1000])
def test_even_the_newest_samples_are_heard(last):
    audio = noise(3.0, dbfs=-90)[:WINDOW]
    audio[-last:] += 0.9 * (-1.0) ** np.arange(last)
    assert LoudnessMeter(WINDOW).measure(audio).onset == WINDOW - 1708


@pytest.mark.parametrize("audio", [np.zeros(WINDOW, np.float32), noise(3.0, dbfs=-30)[:WINDOW]])
def test_what_is_alike_throughout_begins_at_once(audio):
    assert LoudnessMeter(WINDOW).measure(audio).onset == 0


def test_sound_that_is_over_has_no_beginning():
    audio = np.zeros(WINDOW, np.float32)
    audio[10 * 1708 : 20 * 1708] = sine(440.0, 1.0)[: 10 * 1708]
    assert LoudnessMeter(WINDOW).measure(audio).onset == 0


@pytest.mark.parametrize(("level", "floor"), [(-54.0, -55.0), (-56.0, -56.0)])
def test_the_noise_floor_is_at_most_55_decibels_below_full_scale(level, floor):
    assert floor_after([noise(3.0, dbfs=level)]) == pytest.approx(floor, abs=0.3)


@pytest.mark.parametrize(("decibels", "onset"), [(-19.9, 0), (-20.1, WINDOW % 1708 + 20 * 1708)])
def test_a_piece_20_decibels_below_the_loudest_is_before_the_onset(decibels, onset):
    audio = np.tile([0.5, -0.5], WINDOW // 2).astype(np.float32)
    audio[: WINDOW % 1708 + 20 * 1708] *= 10.0 ** (decibels / 20.0)
    assert LoudnessMeter(WINDOW).measure(audio).onset == onset


@pytest.mark.parametrize(("start", "quietest"), [(0, -6.02), (340, -60.0), (WINDOW - 1708, -60.0)])
def test_pieces_are_aligned_to_the_end_of_the_window(start, quietest):
    audio = np.tile([0.5, -0.5], WINDOW // 2).astype(np.float32)
    audio[start : start + (1708 if start else 340)] *= 0.002
    assert LoudnessMeter(WINDOW).measure(audio).quietest == pytest.approx(quietest, abs=0.01)


def test_the_peak_may_be_a_negative_sample():
    audio = np.tile([0.2, -0.5], WINDOW // 2).astype(np.float32)
    assert LoudnessMeter(WINDOW).measure(audio).peak == pytest.approx(-6.02, abs=0.01)
