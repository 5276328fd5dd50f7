"""A whole file is judged by all of its windows, and a short one by what there is of it."""

import numpy as np
import pytest

from headnod.errors import AudioError
from headnod.pipeline.listener import classify
from headnod.testing import SMALL_FRONT_END as SMALL
from headnod.testing import FixedModel
from support.signals import RATE, music, noise, sine

WINDOW = SMALL.window_samples
JAZZ, METAL = (0.8, 0.2), (0.2, 0.8)


def judged(audio, *answers, pieces=1):
    model = FixedModel(*(answers or (JAZZ,)))
    return classify("song.wav", np.array_split(audio, pieces), model), model


def test_a_file_is_the_mean_of_its_windows():
    verdict, model = judged(music(10.0)[: round(9.6 * RATE)], JAZZ, METAL, METAL)
    assert len(model.received) == 4
    expected = np.exp(np.log([JAZZ, METAL, METAL, METAL]).mean(axis=0))
    assert list(verdict.scores.values()) == pytest.approx(expected / expected.sum(), abs=1e-3)
    assert (verdict.genre, verdict.seconds, verdict.short) == ("metal", 9.6, False)
    assert verdict.confidence == verdict.scores["metal"]


def test_windows_start_every_three_seconds_and_the_rest_is_heard_too():
    audio = music(8.0)
    _, model = judged(audio)
    starts = [0, 3 * RATE // 1024 * 1024, 6 * RATE // 1024 * 1024, audio.size - WINDOW]
    for start, features in zip(starts, model.received, strict=True):
        assert np.array_equal(features, SMALL.mfcc(audio[start : start + WINDOW]))


def test_the_end_is_whole_where_a_block_begins_one_sample_before_it():
    audio = music(7.0)
    model, last = FixedModel(JAZZ), audio.size - WINDOW
    classify("song.wav", [audio[: last - 999], audio[last - 999 : last + 1], audio[last + 1 :]], model)
    assert np.array_equal(model.received[-1], SMALL.mfcc(audio[last:]))


@pytest.mark.parametrize("pieces", [1, 3, 100])
def test_how_a_file_is_decoded_makes_no_difference(pieces):
    audio = music(7.0)
    whole, heard = judged(audio)
    cut, again = judged(audio, pieces=pieces)
    assert cut == whole
    assert all(np.array_equal(one, other) for one, other in zip(heard.received, again.received, strict=True))


@pytest.mark.parametrize("seconds", [0.01, 0.04, 0.1, 0.3, 0.46])
def test_a_short_clip_is_heard_as_its_frames_repeated_and_marked(seconds):
    audio = music(1.0)[: round(seconds * RATE)]
    verdict, model = judged(audio, METAL)
    assert (verdict.genre, verdict.short, verdict.seconds) == ("metal", True, seconds)
    (features,) = model.received
    log_mel = SMALL.log_mel(audio if audio.size >= SMALL.n_fft else np.resize(audio, SMALL.n_fft))
    assert np.array_equal(features, SMALL.cepstra(np.resize(log_mel, (SMALL.frames, SMALL.n_mels))))


def test_a_clip_of_one_window_is_not_short():
    verdict, model = judged(music(1.0)[:WINDOW])
    assert not verdict.short
    assert len(model.received) == 1


@pytest.mark.parametrize(("more", "windows"), [(RATE // 2, 1), (RATE // 2 + 1, 2)])
def test_a_rest_of_half_a_second_is_left_out(more, windows):
    assert len(judged(music(2.0)[: WINDOW + more])[1].received) == windows


@pytest.mark.parametrize(("dbfs", "windows"), [(-59.5, 1), (-60.5, 0)])
def test_a_short_file_is_silent_under_the_listeners_threshold(dbfs, windows):
    quiet = music(1.0)[: WINDOW // 2]
    audio = quiet * np.float32(10.0 ** (dbfs / 20.0) / quiet.std())
    assert len(judged(audio)[1].received) == windows


def test_silent_windows_have_no_say():
    hush = np.zeros(9 * RATE, np.float32)
    verdict, model = judged(np.concatenate([hush, music(3.0)]), METAL)
    assert verdict.genre == "metal"
    assert 1 <= len(model.received) <= 2


@pytest.mark.parametrize("audio", [np.zeros(5 * RATE, np.float32), noise(5.0, dbfs=-75), np.zeros(100, np.float32)])
def test_a_silent_file_is_silence(audio):
    verdict, model = judged(audio)
    assert (verdict.genre, verdict.confidence, verdict.scores) == ("silence", 0.0, {"jazz": 0.0, "metal": 0.0})
    assert model.received == []


@pytest.mark.parametrize("blocks", [[], [np.zeros(0, np.float32)] * 3])
def test_a_file_of_no_length_is_refused(blocks):
    with pytest.raises(AudioError, match=r"^song\.wav: holds no sound"):
        classify("song.wav", blocks, FixedModel(JAZZ))


def test_the_whole_file_is_never_held():
    kept = []

    def blocks():
        for _ in range(2_000):
            kept.append(np.broadcast_to(sine(441.0, 0.01), 220).copy())
            yield kept[-1]
            if len(kept) > 200:
                kept.pop(0)[:] = np.nan  # what was given long ago may be overwritten

    assert classify("long.wav", blocks(), FixedModel(JAZZ)).seconds == pytest.approx(20.0, abs=0.1)


def test_the_demo_clip_is_metal(demo, model):
    verdict = classify("demo", [demo], model)
    assert verdict.genre == "metal"
    assert 0.9 < sum(verdict.scores.values()) < 1.002


def test_numbers_of_a_file_are_rounded():
    verdict, _ = judged(music(1.0)[: round(0.7654 * RATE)], (0.123456, 0.876544))
    assert (verdict.seconds, verdict.confidence) == (0.77, 0.8765)
    assert verdict.scores == {"jazz": 0.1235, "metal": 0.8765}
