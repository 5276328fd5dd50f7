"""Faults of the microphone that leave sound, but not music: each is told, and no genre is claimed for nothing.

Here a program stands for the microphone, as `microphone.command` allows, so that minutes pass in seconds.
"""

import json
import logging
import sys

import numpy as np
import pytest
import soundfile
import soxr

from headnod.audio.audio_file import audio_file
from headnod.audio.audio_process import AudioProcess
from headnod.audio.microphone import microphone_blocks
from headnod.config import MicrophoneSection
from headnod.errors import AudioError
from headnod.factory import MICROPHONE, source
from headnod.pipeline.estimate import Estimate, State, utc_now
from headnod.pipeline.listener import ListenerSettings, listen
from headnod.resources import demo_clip
from support import signals
from support.signals import RATE


@pytest.fixture
def hear(model, tmp_path, monkeypatch):
    """What the listener says of sound that a microphone hears."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))

    def hear(sound):
        path = tmp_path / "sound.raw"
        path.write_bytes(s16(sound))
        section = MicrophoneSection(command=("cat", str(path)), rate=RATE)
        with source(MICROPHONE, section, RATE, None) as blocks:
            said = []
            for each in listen(blocks, model, ListenerSettings(), now=utc_now):
                if not isinstance(each, Estimate):
                    return said
                said.append(each)
        raise AssertionError

    return hear


def s16(sound):
    return np.clip(np.rint(sound * 32768.0), -32768, 32767).astype("<i2").tobytes()


def test_m15_digital_silence_names_no_genre_in_a_thousand_windows(model, tmp_path):
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(RATE * 3001, np.int16), RATE)
    with audio_file(path, RATE) as blocks:
        said = list(listen(blocks, model, ListenerSettings(), now=utc_now))
    assert len(said) >= 1000
    assert {(each.genre, each.state) for each in said} == {("silence", State.DEAF)}


def test_m16_a_muted_microphone_is_deaf_also_after_music(hear, demo):
    said = hear(np.concatenate([demo[: 6 * RATE] + np.float32(0.1), np.zeros(9 * RATE, np.float32)]))
    assert said[0].state is State.LISTENING
    assert (said[-1].genre, said[-1].state) == ("silence", State.DEAF)


def test_m17_an_overdriven_microphone_is_reported(hear, demo):
    assert {each.state for each in hear(demo)} == {State.LISTENING}
    assert {each.state for each in hear(8.0 * demo)} == {State.CLIPPING}


@pytest.mark.parametrize("constant", [0.05, 0.5])
def test_m18_a_constant_in_the_sound_changes_nothing(hear, demo, constant):
    plain, shifted = hear(0.4 * demo), hear(0.4 * demo + constant)
    furthest = max(
        abs(one.scores[label] - two.scores[label])
        for one, two in zip(plain, shifted, strict=True)
        for label in one.scores
    )
    logging.getLogger(__name__).info("scores differ by %.4f at most", furthest)
    assert [each.genre for each in shifted] == [each.genre for each in plain]
    assert furthest < 0.02
    assert [each.level for each in shifted] == [each.level for each in plain]


@pytest.mark.parametrize("dbfs", [-40.0, -25.0, -10.0])
def test_m19_white_noise_is_no_genre(hear, dbfs):
    assert not [each for each in hear(signals.noise(30.0, dbfs=dbfs)) if each.named]


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_m20_a_microphone_of_another_rate_gives_the_features_of_the_file(model, demo, tmp_path, rate):
    song, own = soundfile.read(demo_clip(), dtype="float32", always_2d=True)
    frames = soxr.resample(song, own, rate) if rate != own else song
    (tmp_path / "header").write_text(json.dumps({"device": "stand-in", "rate": rate, "channels": 2}) + "\n")
    (tmp_path / "samples").write_bytes(s16(frames[:, [0, -1]]))
    command = ["cat", str(tmp_path / "header"), str(tmp_path / "samples")]
    blocks = microphone_blocks(lambda: AudioProcess(command), RATE)
    heard, count = [], 0
    while count < 20 * RATE:
        heard.append(next(blocks))
        count += heard[-1].size
    blocks.close()
    live, size = np.concatenate(heard), model.front_end.window_samples
    pairs = [(live[start : start + size], demo[start : start + size]) for start in range(0, 20 * RATE - size, size)]
    features = [np.abs(model.front_end.mfcc(one) - model.front_end.mfcc(two)) for one, two in pairs]
    scores = [
        np.abs(model.scores(model.front_end.mfcc(one)) - model.scores(model.front_end.mfcc(two))) for one, two in pairs
    ]
    logging.getLogger(__name__).info(
        "%d Hz: coefficients differ by %.3f, scores by %.4f at most", rate, np.max(features), np.max(scores)
    )
    assert np.max(features) < 0.2
    assert np.max(scores) < 0.05


@pytest.mark.parametrize("error", ["Device unavailable", "Invalid sample rate"])
def test_m21_a_microphone_that_is_busy_or_too_slow_is_reported_and_waited_for(error):
    command = [sys.executable, "-c", "import sys; print(sys.argv[1])", json.dumps({"error": error})]
    with pytest.raises(AudioError, match=f"{error.lower()} .is it held by another program"):
        AudioProcess(command)
    blocks = microphone_blocks(lambda: AudioProcess(command), RATE, sleep=lambda _seconds: None)
    holes = [next(blocks) for _ in range(3)]
    blocks.close()
    assert {hole.state for hole in holes} == {State.WAITING}
    assert error.lower() in holes[0].message
