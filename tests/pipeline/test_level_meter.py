"""What a microphone hears of a room, and what that proposes."""

import numpy as np
import pytest

from headnod.pipeline.level import SILENT_DBFS
from headnod.pipeline.level_meter import LevelMeter
from support import signals
from support.signals import RATE


def heard(*sounds):
    room = LevelMeter(RATE)
    for sound in sounds:
        room.update(sound)
    return room.report()


def test_a_room_is_as_loud_as_its_loud_moments_and_as_quiet_as_its_quiet_ones():
    report = heard(signals.noise(5.0, dbfs=-65), signals.noise(5.0, dbfs=-25))
    assert report.noise_floor == pytest.approx(-65.0, abs=1.0)
    assert report.loud == pytest.approx(-25.0, abs=1.0)
    assert report.seconds == 10.0


@pytest.mark.parametrize("size", [1, 777, 1024, 50_000])
def test_a_room_does_not_depend_on_how_the_sound_was_cut(size):
    sound = signals.music(3.0)
    cut = [sound[start : start + size] for start in range(0, sound.size, size)] if size > 1 else [sound[:1], sound[1:]]
    assert heard(*cut) == heard(sound)


def test_the_proposed_silence_is_a_little_over_the_noise_floor():
    report = heard(signals.noise(5.0, dbfs=-65), signals.music(5.0))
    assert report.noise_floor < report.silence <= report.noise_floor + 7.0


def test_where_music_never_pauses_no_silence_is_proposed():
    assert heard(signals.noise(10.0, dbfs=-20)).silence is None
    assert heard(signals.sine(440.0, 10.0)).silence is None


def test_the_demo_clip_has_no_quiet_moment(demo):
    assert heard(demo).silence is None


def test_a_very_quiet_room_is_not_taken_for_digital_silence():
    assert heard(signals.noise(5.0, dbfs=-95), signals.music(5.0)).silence == -80.0


def test_a_muted_microphone_is_dead_and_proposes_nothing():
    report = heard(np.zeros(3 * RATE, np.float32))
    assert report.dead
    assert report.silence is None
    assert report.gain == 0.0
    assert report.peak == SILENT_DBFS


def test_a_constant_is_as_dead_as_zeros():
    assert heard(np.full(RATE, 0.25, np.float32)).dead


def test_one_click_is_life():
    click = np.zeros(RATE, np.float32)
    click[100] = 0.001
    assert not heard(click).dead


def test_nothing_heard_is_no_crash():
    report = heard(np.empty(0, np.float32))
    assert report.seconds == 0.0
    assert report.peak == SILENT_DBFS


def test_a_clipped_microphone_shall_be_turned_down():
    report = heard(np.clip(8.0 * signals.music(5.0), -1.0, 1.0))
    assert report.clipped > 0.01
    assert report.peak == 0.0
    assert report.gain <= -6.0


def test_a_soft_microphone_shall_be_turned_up_to_about_twenty_below_full_scale():
    report = heard(signals.noise(5.0, dbfs=-70), signals.noise(5.0, dbfs=-50))
    assert report.gain == pytest.approx(30.0, abs=2.0)


def test_a_gain_that_suits_is_left_alone():
    assert heard(signals.noise(5.0, dbfs=-65), signals.noise(5.0, dbfs=-20)).gain == 0.0


def test_a_constant_in_the_sound_is_not_loud():
    report = heard(signals.noise(3.0, dbfs=-60) + np.float32(0.3))
    assert report.loud == pytest.approx(-60.0, abs=1.0)
