"""What a microphone hears of a room, and what that proposes."""

import base64

import numpy as np
import pytest
from msgspec.structs import replace

from headnod.audio.blocks import Gap
from headnod.features.frontend import FrontEnd
from headnod.pipeline.estimate import State
from headnod.pipeline.level import SILENT_DBFS
from headnod.pipeline.level_meter import (
    BANDS,
    COLUMN_SECONDS,
    LevelMeter,
    LevelReport,
    PlacementMeter,
    QuietMusic,
    columns,
    with_spectrum,
)
from support import signals
from support.estimates import estimate
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


@pytest.mark.parametrize("samples", [1, 11_025])
def test_every_sample_counts_in_the_duration(samples):
    room = LevelMeter(RATE)
    room.update(np.zeros(samples, np.float32))
    assert room.seconds == samples / RATE


def report(**values):
    return LevelReport(
        **{"seconds": 9.0, "noise_floor": -60.0, "loud": -20.0, "peak": -3.0, "clipped": 0.0, "dead": False} | values
    )


@pytest.mark.parametrize(
    ("floor", "silence"), [(-40.0, -34.0), (-39.9, None), (-85.9, -79.0), (-86.0, -80.0), (-90.0, -80.0)]
)
def test_silence_is_six_decibels_over_a_floor_of_minus_40_at_most_and_never_under_minus_80(floor, silence):
    assert report(noise_floor=floor).silence == silence


@pytest.mark.parametrize(
    ("values", "gain"),
    [
        ({"loud": -42.0}, 0.0),
        ({"loud": -42.1}, 23.0),
        ({"loud": -3.0}, 0.0),
        ({"loud": -2.9}, -18.0),
        ({"clipped": 0.001}, 0.0),
        ({"clipped": 0.0011}, -6.0),
        ({"clipped": 0.0011, "loud": -10.0}, -10.0),
        ({"loud": -90.0, "dead": True}, 0.0),
    ],
)
def test_the_gain_is_changed_from_the_limits_on(values, gain):
    assert report(**values).gain == gain


@pytest.mark.parametrize(
    ("seconds", "level", "missing"),
    [(30.0, -47.6, 23.0), (29.9, -47.6, None), (30.0, -47.5, None), (60.0, -47.6, 23.0), (60.1, -47.6, None)],
)
def test_quiet_music_is_reported_after_half_a_minute_and_forgotten_after_one(seconds, level, missing):
    music = QuietMusic()
    for at in (0.0, seconds):
        found = music.update(replace(estimate("jazz", jazz=0.8), seconds=at, level=level))
    assert found == missing


def test_a_constant_in_the_sound_is_not_loud():
    report = heard(signals.noise(3.0, dbfs=-60) + np.float32(0.3))
    assert report.loud == pytest.approx(-60.0, abs=1.0)


def test_columns_of_the_spectrum_reach_up_to_half_the_sample_rate():
    for hertz, least, most in [(100.0, 0, 3), (0.49 * RATE, BANDS - 2, BANDS - 1)]:
        found = list(columns(signals.sine(hertz, 1.0), RATE))
        assert [each.seconds for each in found] == [COLUMN_SECONDS] * 5
        assert all(each.level == pytest.approx(found[0].level, abs=0.2) for each in found)
        for each in found:
            assert least <= np.frombuffer(base64.b64decode(each.mel), np.uint8).argmax() <= most


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_clipped_share_of_a_room_is_that_of_all_its_samples(share):
    audio = np.tile(np.float32([0.5, -0.5]), 4_000)
    audio[: round(share * audio.size)] = 1.0
    assert heard(audio[:3_000], audio[3_000:]).clipped == share


def placement(*runs):
    meter = PlacementMeter()
    for genre, level, count in runs:
        for _ in range(count):
            meter.update(replace(estimate(genre), level=level, peak=level + 12.0))
    return meter.report()


@pytest.mark.parametrize(("music", "advice"), [(9, "play music for half a minute"), (10, "placed well")])
def test_the_place_of_a_microphone_is_judged_from_ten_estimates_of_music_on(music, advice):
    assert placement(("silence", -60.0, 20), ("jazz", -25.0, music))["advice"].startswith(advice)


@pytest.mark.parametrize(("level", "advice"), [(-45.1, "music is hardly louder"), (-45.0, "placed well")])
def test_music_that_is_15_decibels_over_the_room_is_well_placed(level, advice):
    assert placement(("silence", -60.0, 20), ("jazz", level, 40))["advice"].startswith(advice)


@pytest.mark.parametrize(("later", "floor"), [(197, -60.0), (198, None)])
def test_the_last_200_estimates_count_for_the_place(later, floor):
    assert placement(("silence", -60.0, 3), ("jazz", -25.0, later))["noise_floor"] == floor


def test_the_loud_moments_of_music_are_those_of_one_window_in_twenty():
    found = placement(("silence", -60.0, 3), ("jazz", -30.0, 94), ("jazz", -25.0, 6))
    assert (found["level"], found["peak"], found["loud"]) == (-25.0, -13.0, -19.5)
    assert placement(("silence", -60.0, 3), ("jazz", -30.0, 96), ("jazz", -25.0, 4))["loud"] == -24.5


def test_another_microphone_starts_without_levels():
    meter = PlacementMeter()
    meter.update(estimate("jazz", jazz=0.8))
    meter.reset()
    assert meter.report() == {}


def test_columns_need_a_frame_and_have_the_length_of_their_audio():
    rate = 22_050
    assert list(columns(np.ones(2_047, np.float32), rate)) == []
    lengths = [column.seconds for column in columns(signals.noise(1.0, dbfs=-20.0), rate)]
    assert lengths == [0.2, 0.2, 0.2, 0.2, 0.2]
    (only,) = columns(signals.noise(1.0, dbfs=-20.0)[:2_048], rate)
    assert (only.seconds, only.level) == (0.093, pytest.approx(-20.0, abs=0.5))


@pytest.mark.parametrize(("dbfs", "byte"), [(-95.0, 0), (30.0, 255)])
def test_the_spectrum_ends_at_its_limits(dbfs, byte):
    (column,) = columns(signals.noise(1.0, dbfs=dbfs)[:2_048], 22_050)
    assert set(base64.b64decode(column.mel)) == {byte}


def test_the_spectrum_is_sent_while_it_is_watched_and_audio_passes_unchanged():
    sent, watched = [], iter([False, True, True])
    blocks = [signals.noise(0.2, dbfs=-20.0), Gap(State.WAITING, "gone", 1.0), signals.noise(0.4, dbfs=-20.0)]
    passed = with_spectrum(iter(blocks), rate=lambda: 22_050, watched=lambda: next(watched), send=sent.append)
    assert [id(block) for block in passed] == [id(block) for block in blocks]
    assert len(sent) == 2


def alternating(amplitude, samples):
    return (amplitude * np.where(np.arange(samples) % 2, 1.0, -1.0)).astype(np.float32)


def test_levels_are_reported_to_a_tenth_and_shares_to_five_digits():
    room = LevelMeter(RATE)
    room.update(alternating(0.123, round(1.26 * RATE)))
    report = room.report()
    assert (report.seconds, report.noise_floor, report.loud, report.peak) == (1.3, -18.2, -18.2, -18.2)
    room.update(alternating(1.0, round(0.63 * RATE)))
    assert room.report().clipped == 0.33334


@pytest.mark.parametrize(("pieces", "loud"), [(5, -36.8), (6, -20.0)])
def test_loud_pieces_are_one_in_twenty(pieces, loud):
    room = LevelMeter(RATE)
    room.update(alternating(0.01, (100 - pieces) * 1024))
    room.update(alternating(0.1, pieces * 1024))
    assert room.report().loud == loud


@pytest.mark.parametrize(("pieces", "quiet"), [(5, False), (6, True)])
def test_quiet_pieces_are_one_in_twenty(pieces, quiet):
    room = LevelMeter(RATE)
    room.update(alternating(0.01, pieces * 1024))
    room.update(alternating(0.1, (100 - pieces) * 1024))
    assert (room.report().noise_floor == -40.0) is quiet


def test_music_before_a_restart_of_the_stream_does_not_count():
    music = QuietMusic()
    missing = None
    for seconds, level in [(1000.0, -20.0), (0.0, -55.0), (30.0, -55.0)]:
        missing = music.update(replace(estimate("jazz", jazz=0.8), seconds=seconds, level=level))
    assert missing == 30.0


def test_a_clipping_microphone_is_too_loud():
    meter = PlacementMeter()
    for _ in range(20):
        meter.update(replace(estimate("jazz"), level=-25.0, state=State.CLIPPING))
    assert meter.report()["gain"] == -6.0
    assert meter.report()["advice"] == "too loud: lower the gain by about 6 dB (alsamixer, then F4)"


def test_soft_music_is_too_quiet():
    found = placement(("silence", -80.0, 20), ("jazz", -50.0, 20))
    assert found["gain"] == 25.0
    assert found["advice"] == "too quiet: raise the gain by about 25 dB (alsamixer, then F4)"


def test_without_music_only_the_noise_is_measured():
    found = placement(("silence", -60.25, 20))
    assert (found["noise_floor"], found["loud"], found["gain"]) == (-60.2, None, 0.0)


def test_a_column_has_a_frame_at_least():
    found = list(columns(signals.noise(1.0, dbfs=-20.0, rate=8_000), 8_000))
    assert [column.seconds for column in found] == [0.256] * 3


def test_a_column_is_the_mel_power_of_its_last_frame_from_minus_60_to_30_decibels():
    audio = signals.noise(0.2, dbfs=-20.0)
    (column,) = columns(audio, RATE)
    mel = FrontEnd(RATE, 2048, 2048, 1, 64, n_mfcc=0).log_mel(audio[-2048:])[0]
    assert list(base64.b64decode(column.mel)) == [int((power + 60.0) * 255.0 / 90.0) for power in mel]
    assert column.level == round(float(20.0 * np.log10(audio.std())), 1)
