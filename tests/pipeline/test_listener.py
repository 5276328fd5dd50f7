"""The listener: what it says of music, of silence, and of sound that went missing."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest

from headnod.audio.blocks import Gap
from headnod.features.frontend import FrontEnd
from headnod.pipeline.estimate import Estimate, State, StatusEvent
from headnod.pipeline.level import dbfs
from headnod.pipeline.listener import ListenerSettings, listen
from headnod.testing import FixedModel, ManualClock
from support.signals import music, noise, scaled, sine

JAZZ, METAL = (0.9, 0.1), (0.1, 0.9)
WINDOW = 10_240
EVERY = WINDOW / 22_050
TONE = sine(440.0, 1.0)[:WINDOW]
HUSH = np.zeros(WINDOW, np.float32)
AT_NOON = ManualClock().now
GAP = Gap(State.WAITING, "the microphone went away", 2.0)
ALONE = ListenerSettings(every=EVERY, smoothing=0.0)
"""A window is judged by itself, and shares no sample with the next."""


def heard(blocks, model, settings=ALONE, *, now=AT_NOON, **others):
    return list(listen(blocks, model, settings, now=now, **others))


def genres(said):
    return [each.genre if isinstance(each, Estimate) else each.state for each in said]


def test_every_window_gets_the_likeliest_genre():
    assert genres(heard([TONE] * 3, FixedModel(JAZZ, METAL, JAZZ))) == ["jazz", "metal", "jazz"]


def test_an_estimate_carries_all_that_is_known():
    clock = ManualClock()
    clock.seconds = 5.0
    (said,) = heard([TONE], FixedModel(JAZZ), now=clock.now, monotonic=clock.monotonic)
    assert said == Estimate(
        sequence=0, time=clock.now(), monotonic=5.0, seconds=0.464, latency=0.0,
        genre="jazz", confidence=0.9, raw_genre="jazz", raw_confidence=0.9, scores={"jazz": 0.9, "metal": 0.1},
        level=-9.0, peak=-6.0, dropped=0.0, state=State.LISTENING, model="fixed-1.0.0",
    )  # fmt: skip
    assert said.time.utcoffset() == timedelta(0)


def test_what_the_window_alone_says_stands_beside_what_is_smoothed():
    settings = ListenerSettings(every=EVERY, smoothing=60.0)
    said = heard([TONE, TONE, TONE, HUSH], FixedModel(JAZZ, JAZZ, METAL), settings)
    assert [(each.genre, each.raw_genre, each.raw_confidence) for each in said[2:]] == [
        ("jazz", "metal", 0.9),
        ("silence", "silence", 0.0),
    ]


def test_time_is_that_of_the_clock_when_the_window_ended():
    clock = ManualClock()

    def blocks():
        for _ in range(3):
            clock.sleep(EVERY)
            yield TONE

    said = heard(blocks(), FixedModel(JAZZ), now=clock.now)
    began = ManualClock().now()
    assert [(each.time - began).total_seconds() for each in said] == pytest.approx([EVERY, 2 * EVERY, 3 * EVERY])


def test_the_model_hears_the_features_of_the_window():
    model = FixedModel(JAZZ)
    audio = music(2.0)
    heard([audio], model)
    for count, features in enumerate(model.received):
        window = audio[count * WINDOW : (count + 1) * WINDOW]
        assert np.array_equal(features, model.front_end.mfcc(window))


def test_an_estimate_comes_every_so_many_seconds_without_drift():
    settings = ListenerSettings(every=0.7)
    said = heard([noise(60.0, dbfs=-20)], FixedModel(JAZZ), settings)
    ends = np.array([each.seconds for each in said])
    hop = 1024 / 22_050
    assert len(said) == 1 + int((60.0 - EVERY) / 0.7)
    assert (np.abs(ends - EVERY - 0.7 * np.arange(len(said))) <= hop + 1e-3).all()


def test_silence_is_no_genre_and_forgets_the_last_one():
    settings = ListenerSettings(every=EVERY, smoothing=60.0)
    said = heard([TONE, TONE, TONE, HUSH, TONE], FixedModel(JAZZ, JAZZ, JAZZ, METAL), settings)
    assert genres(said) == ["jazz", "jazz", "jazz", "silence", "metal"]
    assert said[3].scores == {"jazz": 0.0, "metal": 0.0}
    assert said[3].confidence == 0.0
    assert not said[3].named
    assert said[4].scores == {"jazz": 0.1, "metal": 0.9}


def test_the_model_is_not_asked_about_silence():
    model = FixedModel(JAZZ)
    heard([HUSH] * 5, model)
    assert model.received == []


def test_an_answer_under_the_certainty_is_unknown_and_keeps_its_scores():
    model = FixedModel((0.7, 0.3), (0.6, 0.4), threshold=0.65)
    said = heard([TONE, TONE], model)
    assert genres(said) == ["jazz", "unknown"]
    assert said[1].scores == {"jazz": 0.6, "metal": 0.4}
    assert said[1].confidence == 0.6
    assert not said[1].named


def test_a_configured_certainty_is_stronger_than_the_models_own():
    settings = ListenerSettings(every=EVERY, smoothing=0.0, threshold=0.5)
    assert genres(heard([TONE], FixedModel((0.6, 0.4), threshold=0.95), settings)) == ["jazz"]


def test_sequence_numbers_have_no_gap_and_go_on_from_the_first():
    said = heard([TONE, GAP, TONE, HUSH, GAP, TONE], FixedModel(JAZZ), first=7)
    assert [each.sequence for each in said if isinstance(each, Estimate)] == [7, 8, 9, 10]


def test_a_new_song_is_named_with_its_third_window_at_the_latest():
    said = heard([music(60.0)], FixedModel(*[JAZZ] * 10, METAL), ListenerSettings())
    assert genres(said)[:10] == ["jazz"] * 10
    assert genres(said)[10:13] == ["jazz", "jazz", "metal"]


def test_genres_that_are_nearly_as_likely_do_not_take_turns():
    doubt = [np.array([0.4, 0.6], np.float32), np.array([0.6, 0.4], np.float32)] * 8
    model = FixedModel(JAZZ, *doubt)
    assert set(genres(heard([music(51.0)], model, ListenerSettings(smoothing=3.0)))) == {"jazz"}
    restless = genres(heard([music(51.0)], FixedModel(JAZZ, *doubt), ListenerSettings(smoothing=3.0, lead=0.0)))
    assert restless.count("metal") > 3


def test_what_was_taken_for_no_music_is_named_when_a_genre_is_clearly_ahead():
    model = FixedModel((0.1, 0.3, 0.6), (0.1, 0.5, 0.4), (0.1, 0.7, 0.2), not_music=True)
    said = heard([music(9.0)], model, ListenerSettings(smoothing=0.0))
    assert genres(said) == ["unknown", "unknown", "metal"]


def begun(share, *, room=-75):
    """A window in a room of so many dBFS, of which the last share is music."""
    audio = noise(1.0, dbfs=room)[:WINDOW]
    sounding = round(share * WINDOW)
    audio[WINDOW - sounding :] += scaled(music(1.0)[:sounding], 0)
    return audio


@pytest.mark.parametrize("room", [-120, -75, -45])
def test_a_song_that_begins_within_a_window_is_heard_as_its_own_repetition(room):
    model, window = FixedModel(JAZZ), begun(0.6, room=room)
    assert genres(heard([window], model)) == ["jazz"]
    (features,) = model.received
    log_mel = model.front_end.log_mel(window)
    # The meter's moments are as long as a frame of the shipped models, and end where the window does.
    moments = -(-round(0.6 * WINDOW) // 1708)
    first = (WINDOW - 1708 * moments) // 1024
    assert np.array_equal(features, model.front_end.cepstra(np.resize(log_mel[first:], log_mel.shape)))


def test_of_sound_that_begins_after_the_last_frame_nothing_is_asked():
    model = FixedModel(JAZZ)
    close = FrontEnd(n_fft=2048, hop=256, frames=33, n_mels=16, n_mfcc=8)
    assert close.window_samples == WINDOW
    model.manifest = msgspec.structs.replace(model.manifest, front_end=close)
    assert genres(heard([begun(0.1)], model)) == ["silence"]
    assert model.received == []


def test_a_loud_moment_makes_no_silence_of_soft_music():
    soft, model = scaled(music(2.0), -26), FixedModel(JAZZ)
    loud = soft[WINDOW : 2 * WINDOW].copy()
    loud[-WINDOW // 8 :] *= 30
    assert genres(heard([soft[:WINDOW], loud], model)) == ["jazz", "jazz"]
    assert np.array_equal(model.received[1], model.front_end.mfcc(loud))


def test_a_word_in_silence_is_no_beginning():
    model, word = FixedModel(JAZZ), begun(0.6)[::-1].copy()
    heard([word], model)
    assert np.array_equal(model.received[0], model.front_end.mfcc(word))


def test_what_is_no_music_is_unknown_and_its_chance_is_missing_from_the_scores():
    model = FixedModel(np.array([0.1, 0.2, 0.7], np.float32), not_music=True)
    said = heard([music(6.0)], model, ListenerSettings())
    assert genres(said) == ["unknown", "unknown"]
    assert said[0].scores == {"jazz": 0.1, "metal": 0.2}
    assert said[0].raw_genre == "unknown"


def test_one_strange_window_does_not_change_the_genre():
    said = heard([music(45.0)], FixedModel(*[JAZZ] * 6, METAL, JAZZ), ListenerSettings())
    assert set(genres(said)) == {"jazz"}


def test_a_hole_is_reported_at_once_and_forgets_the_last_genre():
    clock = ManualClock()
    settings = ListenerSettings(every=EVERY, smoothing=60.0)
    said = heard([TONE, TONE, TONE[:5_000], GAP, TONE], FixedModel(JAZZ, JAZZ, METAL), settings, now=clock.now)
    assert genres(said) == ["jazz", "jazz", State.WAITING, "metal"]
    assert said[2] == StatusEvent(time=clock.now(), state=State.WAITING, message="the microphone went away")
    assert said[3].scores == {"jazz": 0.1, "metal": 0.9}


def test_lost_seconds_add_up():
    said = heard([TONE, GAP, TONE, GAP, GAP, TONE], FixedModel(JAZZ))
    assert [each.dropped for each in said if isinstance(each, Estimate)] == [0.0, 2.0, 6.0]


def full():
    """A model with enough bands that steady noise is always recognised."""
    model = FixedModel(JAZZ)
    model.manifest = msgspec.structs.replace(model.manifest, front_end=FrontEnd())
    return model


def test_a_fan_is_silence_and_music_ten_decibels_over_it_is_not():
    fan, song = noise(60.0, dbfs=-50), music(30.0)
    played = fan.copy()
    played[-song.size :] += scaled(song, -40.0 - dbfs(song))
    said = heard([played], full(), ListenerSettings())
    assert said[0].level == pytest.approx(-50.0, abs=0.2)
    assert said[-1].level == pytest.approx(-40.0, abs=1.5)
    assert set(genres(said)[:9]) == {"silence"}
    assert set(genres(said)[12:]) == {"jazz"}


def test_a_fan_stays_silence_after_the_microphone_was_dead_for_a_moment():
    fan = noise(60.0, dbfs=-50)
    fan[20 * 22_050 : 30 * 22_050] = 0.0
    assert set(genres(heard([fan], full(), ListenerSettings()))) == {"silence"}


@pytest.mark.parametrize(
    "level", [pytest.param(-3, marks=pytest.mark.long), -20, pytest.param(-40, marks=pytest.mark.long)]
)
def test_loud_compressed_music_never_becomes_silence(level):
    # Limited until no moment is quieter than another: as level as a fan, but louder than any.
    song = music(300.0)
    song = song[: song.size // 1708 * 1708].reshape(-1, 1708)
    steady = scaled((song / np.maximum(song.std(axis=1, keepdims=True), 1e-6)).ravel(), level)
    assert set(genres(heard([steady], FixedModel(JAZZ), ListenerSettings()))) == {"jazz"}


def compressed(level):
    """Music without a quiet moment, as level as a fan."""
    song = music(60.0)
    song = song[: song.size // 1708 * 1708].reshape(-1, 1708)
    steady = (song / np.maximum(song.std(axis=1, keepdims=True), 1e-6)).ravel()
    return scaled(steady, level - dbfs(steady))


@pytest.mark.parametrize(("level", "said"), [(-59.0, "jazz"), (-55.0, "jazz"), (-50.0, "jazz"), (-61.0, "silence")])
def test_the_configured_threshold_is_the_threshold_of_steady_music(level, said):
    assert set(genres(heard([compressed(level)], FixedModel(JAZZ), ListenerSettings()))) == {said}


def test_quiet_music_after_a_quiet_room_is_named_and_under_a_fan_it_is_not():
    quiet, song = noise(30.0, dbfs=-75), compressed(-57.0)
    assert genres(heard([np.concatenate([quiet, song])], FixedModel(JAZZ), ListenerSettings()))[-1] == "jazz"
    fan = noise(90.0, dbfs=-55)
    fan[-song.size :] += scaled(song, -3.0)
    assert set(genres(heard([fan], full(), ListenerSettings()))) == {"silence"}


@pytest.mark.parametrize(("threshold", "said"), [(-57.0, "silence"), (-59.0, "jazz")])
def test_sound_under_the_threshold_of_silence_says_nothing(threshold, said):
    settings = ListenerSettings(silence=threshold, above_noise=0.0)
    tone = sine(440.0, 3.0)
    assert genres(heard([scaled(tone, -58 - dbfs(tone))], FixedModel(JAZZ), settings)) == [said]


def test_a_muted_microphone_is_deaf():
    (said,) = heard([HUSH], FixedModel(JAZZ))
    assert (said.state, said.genre, said.level) == (State.DEAF, "silence", -120.0)


def test_an_overdriven_microphone_is_clipping_and_a_mastered_song_is_not():
    overdriven = np.clip(4.0 * TONE, -1.0, 1.0)
    mastered = music(1.0)[:WINDOW].copy()
    mastered[::1_000] = 1.0
    said = heard([overdriven, mastered], FixedModel(JAZZ))
    assert [each.state for each in said] == [State.CLIPPING, State.LISTENING]


@pytest.mark.parametrize(("samples", "state"), [(60, State.LISTENING), (61, State.CLIPPING)])
def test_a_window_is_clipping_with_more_than_one_sample_in_200_at_full_scale(samples, state):
    front_end = FrontEnd(n_fft=2_000, hop=500, frames=21, n_mels=16, n_mfcc=8)
    assert front_end.window_samples == 12_000
    window = music(1.0)[:12_000].copy()
    window[: 100 * samples : 100] = 1.0
    settings = ListenerSettings(every=12_000 / 22_050, smoothing=0.0)
    (said,) = heard([window], FixedModel(JAZZ, front_end=front_end), settings)
    assert said.state == state


def test_a_stream_that_ends_before_its_first_window_says_nothing():
    assert heard([TONE[:-1]], FixedModel(JAZZ)) == []


def test_nothing_is_heard_before_it_is_asked_for():
    def blocks():
        yield TONE
        pytest.fail("the listener ran ahead of whoever pulls it")

    assert next(iter(listen(blocks(), FixedModel(JAZZ), ALONE, now=ManualClock().now))).genre == "jazz"


@pytest.mark.parametrize(("pieces", "said"), [(12, "jazz"), (11, "silence")])
def test_sound_in_three_tenths_of_a_window_is_classified(pieces, said):
    model = FixedModel(JAZZ, front_end=FrontEnd())
    size = model.front_end.window_samples
    window = np.zeros(size, np.float32)
    window[size - pieces * 1708 :] = music(3.0)[: pieces * 1708]
    assert genres(heard([window], model)) == [said]


def test_numbers_of_an_estimate_are_rounded():
    model, times = FixedModel((0.123456, 0.876544)), iter([10.0, 10.0123456])
    said = heard([0.7 * TONE], model, monotonic=lambda: next(times), dropped=1.23456)[0]
    assert (said.confidence, said.raw_confidence, said.scores) == (0.8765, 0.8765, {"jazz": 0.1235, "metal": 0.8765})
    assert (said.monotonic, said.latency, said.seconds, said.dropped) == (10.012, 12.35, 0.464, 1.23)
    assert (said.level, said.peak) == (-12.1, -9.1)


def test_a_window_is_silence_below_the_noise_floor_and_the_margin_above_it():
    room, song = noise(5.0, dbfs=-70), sine(440.0, 5.0)
    for level, said in [(-64.5, "silence"), (-63.5, "jazz")]:
        settings = ListenerSettings(every=EVERY, silence=-69.0, above_noise=6.0)
        played = np.concatenate([room, scaled(song, level - dbfs(song))])
        assert genres(heard([played], FixedModel(JAZZ), settings))[-1] == said
