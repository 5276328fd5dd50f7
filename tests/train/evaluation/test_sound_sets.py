"""Real sound through the whole listener: level, silence, noise, and music in noise."""

from dataclasses import asdict

import msgspec
import numpy as np
import pytest
import soundfile

from headnod.errors import AudioError
from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import Prediction, softmax
from headnod.testing import FixedModel, fixed_manifest
from headnod_train.evaluation.listener_sounds import CLIPS, estimates, level_flips, matching_clips, not_music
from support.signals import RATE, music, noise, scaled

JAZZ, METAL = (0.9, 0.1), (0.1, 0.9)


class LevelBound:
    """A model that hears the absolute level, as none should: metal from so many decibels on."""

    def __init__(self, decibels):
        self._decibels = decibels
        self.front_end = LevelFrontEnd(**asdict(fixed_manifest().front_end))
        self.manifest = msgspec.structs.replace(fixed_manifest(), front_end=self.front_end)
        self.labels = self.answers = self.manifest.labels

    def predict(self, features, *, single=False):  # noqa: ARG002 - the signature of a model
        return Prediction(self.scores(features))

    def scores(self, features):
        return softmax(np.array([0.0, features.mean() - self._decibels], np.float32))


class LevelFrontEnd(FrontEnd):
    """A front end that does not take the level away."""

    def features(self, mel, out=None):  # noqa: ARG002 - the signature of a front end
        return mel


def counts(found):
    return {sound.name: (sound.named, sound.windows) for sound in found.sounds}


def test_a_model_that_is_free_of_level_never_flips(model):
    clips = [scaled(music(7.0, seed=seed), -12) for seed in (1, 2, 3)]
    found = level_flips(model, clips)
    assert [gain.flips for gain in found.gains] == [0] * 6
    assert {gain.decibels: gain.windows for gain in found.gains}[-6.0] == 6
    assert found.clips == 3


def test_a_model_that_hears_the_level_flips():
    clip = scaled(music(4.0), -12)
    found = level_flips(LevelBound(fixed_manifest().front_end.log_mel(clip).mean() - 12), [clip])
    flips = {gain.decibels: gain.flips for gain in found.gains}
    assert flips[-20.0] > 0
    assert flips[6.0] == 0


def test_windows_that_clip_or_grow_silent_do_not_count():
    loud, soft = (
        {gain.decibels: gain for gain in level_flips(FixedModel(JAZZ), [scaled(music(4.0), level)]).gains}
        for level in (4, -30)
    )
    assert loud[6.0].windows < loud[-6.0].windows
    assert (loud[-6.0].silent, soft[-40.0].windows) == (0, 0)
    assert soft[-40.0].silent > 0


def test_made_noise_is_named_by_nobody_and_hum_by_a_sure_model(model):
    found = counts(not_music(model, None, [], seconds=7))
    for name in ("silence", "white noise", "pink noise", "brown noise"):
        assert found[name][0] == 0, name
    assert {windows for _, windows in found.values()} == {2}


def test_kinds_of_a_folder_are_heard_each(tmp_path):
    for kind, seconds in (("speech", 2.0), ("speech", 2.5), ("tools", 5.0)):
        (tmp_path / kind).mkdir(exist_ok=True)
        soundfile.write(tmp_path / kind / f"{seconds}.wav", music(seconds), RATE)
    found = not_music(FixedModel(JAZZ), tmp_path, [], seconds=7)
    heard = counts(found)
    assert heard["speech (recorded)"][0] == heard["speech (recorded)"][1] > 0
    assert heard["tools (recorded)"][0] == heard["tools (recorded)"][1] > 0
    named, windows = np.sum([list(pair) for pair in heard.values()], axis=0)
    assert found.named == pytest.approx(named / windows, abs=1e-4)


@pytest.mark.parametrize(("threshold", "share"), [(0.5, 0.0), (0.95, 1.0)])
def test_music_that_gets_no_genre_is_refused(threshold, share):
    clips = [scaled(music(4.0, seed=seed), -6) for seed in (1, 2)]
    found = not_music(FixedModel(JAZZ, threshold=threshold), None, clips, seconds=7)
    assert [refusal.snr for refusal in found.music] == [None, 20.0, 10.0]
    assert [refusal.refused / refusal.windows for refusal in found.music] == [share] * 3
    assert {refusal.silent for refusal in found.music} == {0}


def test_music_too_soft_to_be_heard_is_refused_as_silence():
    found = not_music(FixedModel(JAZZ), None, [scaled(music(4.0), -70)], seconds=7)
    clean = found.music[0]
    assert clean.refused == clean.silent == clean.windows > 0


def test_the_listener_forgets_between_two_pieces():
    said = estimates(FixedModel(JAZZ, METAL), [music(0.5), music(0.5)])
    assert [each.genre for each in said] == ["jazz", "metal"]


def test_a_folder_without_audio_is_named(tmp_path):
    with pytest.raises(AudioError, match="contains no audio file"):
        not_music(FixedModel(JAZZ), tmp_path, [], seconds=7)


def test_a_kind_that_holds_nothing_to_hear_is_named(tmp_path):
    soundfile.write(tmp_path / "hush.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="is silent, or shorter than a window"):
        not_music(FixedModel(JAZZ), tmp_path, [], seconds=7)


def test_clips_are_found_by_the_names_of_tracks(tmp_path):
    (tmp_path / "jazz").mkdir()
    soundfile.write(tmp_path / "jazz" / "jazz.1.wav", noise(0.1, dbfs=-20), RATE)
    soundfile.write(tmp_path / "jazz.2.wav", noise(0.2, dbfs=-20), RATE)
    assert [clip.size for clip in matching_clips(tmp_path, {"jazz.1", "jazz.9"}, FixedModel(JAZZ))] == [2205]
    with pytest.raises(AudioError, match="no file has the name of one of the 1 tracks"):
        matching_clips(tmp_path, {"pop.1"}, FixedModel(JAZZ))


def test_of_many_clips_some_are_played(tmp_path):
    names = {f"clip{number:03}" for number in range(CLIPS + 1)}
    for name in names:
        soundfile.write(tmp_path / f"{name}.wav", noise(0.01, dbfs=-20), RATE)
    assert len(matching_clips(tmp_path, names, FixedModel(JAZZ))) == (CLIPS + 2) // 2
