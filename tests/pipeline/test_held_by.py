"""Every estimate names what held a genre back, and carries the tags and the energy of its model."""

import numpy as np
import pytest
from msgspec.structs import replace

from headnod.audio.blocks import Gap
from headnod.features.frontend import FrontEnd
from headnod.inference.manifest import Prediction, Tags
from headnod.pipeline.estimate import HeldBy, State
from headnod.pipeline.listener import ListenerSettings, listen
from headnod.testing import FixedModel, ManualClock
from support.bundles import TAGGER
from support.signals import music, noise, scaled

JAZZ, METAL, SPEECH = (0.8, 0.15, 0.05), (0.15, 0.8, 0.05), (0.1, 0.1, 0.8)
WINDOW = 10_240
EVERY = WINDOW / 22_050
NAMES = ("mellow", "loud", "guitar", "Hip-Hop", "80s", "sad", "happy")


class Tagging(FixedModel):
    """A model with tags, an energy and an embedding."""

    def __init__(self, *answers, tags, energy=0.25, **others):
        super().__init__(*answers, **others)
        ones, zeros = (1.0,) * len(NAMES), (0.0,) * len(NAMES)
        self.manifest = replace(self.manifest, tags=Tags(NAMES, ones, zeros))
        self._tags, self._energy = iter(tags), energy

    def predict(self, features, *, single=False):
        said = super().predict(features, single=single)
        return Prediction(said.scores, np.array(next(self._tags), np.float32), self._energy, np.zeros(3, np.float32))


def heard(blocks, model, **settings):
    return list(listen(blocks, model, ListenerSettings(every=EVERY, **settings), now=ManualClock().now))


def held(blocks, *answers, model=None, **settings):
    model = model or FixedModel(*answers, not_music=True)
    return [(each.genre, each.held_by) for each in heard(blocks, model, **settings)]


def windows(count, level=0.0):
    return scaled(music(6.0)[: count * WINDOW], level)


def test_nothing_holds_back_a_genre_that_is_likeliest():
    assert held([windows(2)], JAZZ) == [("jazz", HeldBy.NONE)] * 2


def test_silence_is_named():
    assert held([np.zeros(WINDOW, np.float32)], JAZZ) == [("silence", HeldBy.SILENCE)]
    # Louder than the floor of silence, and not louder than the room, once its noise is known.
    _, *known = held([noise(10.0, dbfs=-52)], JAZZ)
    assert set(known) == {("silence", HeldBy.SILENCE), ("silence", HeldBy.STEADY_NOISE)}


def test_steady_noise_is_named():
    model = FixedModel(JAZZ, not_music=True)
    model.manifest = replace(model.manifest, front_end=FrontEnd(n_mfcc=20))
    said = held([noise(6.2, dbfs=-20)], model=model, silence=-60.0)
    assert set(said) == {("silence", HeldBy.STEADY_NOISE)}
    assert model.received == []


def test_a_sound_that_is_no_music_is_named():
    assert held([windows(1)], SPEECH) == [("unknown", HeldBy.NOT_MUSIC)]


@pytest.mark.parametrize(("threshold", "expected"), [(0.79, HeldBy.NONE), (0.81, HeldBy.THRESHOLD)])
def test_the_threshold_is_named(threshold, expected):
    ((genre, held_by),) = held([windows(1)], JAZZ, threshold=threshold)
    assert held_by == expected
    assert genre == ("jazz" if expected == HeldBy.NONE else "unknown")


def test_not_music_under_the_threshold_is_the_threshold():
    assert held([windows(1)], SPEECH, threshold=0.9) == [("unknown", HeldBy.THRESHOLD)]


def test_the_lead_is_named_while_it_keeps_a_genre_and_not_after():
    said = held([windows(4)], JAZZ, METAL, METAL, METAL, smoothing=1.0, lead=0.35)
    assert said[0] == ("jazz", HeldBy.NONE)
    assert ("jazz", HeldBy.LEAD) in said
    assert said[-1] == ("metal", HeldBy.NONE)
    assert ("metal", HeldBy.LEAD) not in said


def test_the_lead_is_named_where_it_keeps_speech():
    said = held([windows(3)], SPEECH, JAZZ, JAZZ, smoothing=1.0, lead=0.9)
    assert said[1:] == [("unknown", HeldBy.LEAD)] * 2


def test_a_sound_that_just_began_is_starting():
    begun = np.zeros(WINDOW, np.float32)
    begun[-WINDOW // 8 :] = music(1.0)[: WINDOW // 8]
    assert held([begun], JAZZ) == [("silence", HeldBy.STARTING)]


def test_the_five_surest_tags_are_reported_the_surest_first():
    model = Tagging(JAZZ, tags=[(0.1, 0.9, 0.3, 0.7, 0.2, 0.5, 0.4)])
    (said,) = heard([windows(1)], model)
    assert list(said.tags.items()) == [("loud", 0.9), ("Hip-Hop", 0.7), ("sad", 0.5), ("happy", 0.4), ("guitar", 0.3)]
    assert said.energy == 0.25


def test_tags_are_averaged_as_the_genre_is_and_forgotten_with_it():
    calm, loud = np.eye(7)[0], np.eye(7)[1]
    model = Tagging(JAZZ, tags=[calm, loud, loud])
    gap = Gap(State.WAITING, "away", 1.0)
    first, second, _, third = heard([windows(1), windows(1), gap, windows(1)], model, smoothing=60.0)
    assert first.tags["mellow"] == 1.0
    assert second.tags == pytest.approx({"loud": 0.504, "mellow": 0.496, "guitar": 0, "Hip-Hop": 0, "80s": 0}, abs=0.01)
    assert third.tags["loud"] == 1.0


def test_without_smoothing_tags_are_those_of_the_window():
    model = Tagging(JAZZ, tags=[np.eye(7)[0], np.eye(7)[1]])
    said = heard([windows(2)], model, smoothing=0.0)
    assert [next(iter(each.tags)) for each in said] == ["mellow", "loud"]


def test_tags_can_be_turned_off_and_energy_stays():
    (said,) = heard([windows(1)], Tagging(JAZZ, tags=[np.eye(7)[0]]), tags=False)
    assert said.tags == {}
    assert said.energy == 0.25


def test_silence_has_neither_tags_nor_energy():
    (said,) = heard([np.zeros(WINDOW, np.float32)], Tagging(JAZZ, tags=[]))
    assert (said.tags, said.energy) == ({}, None)


class Embedding(FixedModel):
    """A model with an embedding, the same for every window."""

    def predict(self, features, *, single=False):
        return super().predict(features, single=single)._replace(embedding=np.ones(3, np.float32))


def test_a_passage_within_a_song_is_held_by_the_lead():
    scores = [JAZZ] * 4 + [METAL] * 4
    said = held([windows(8)], model=Embedding(*scores), smoothing=2.0)
    assert {genre for genre, _ in said} == {"jazz"}
    assert held([windows(8)], *scores, smoothing=2.0)[-1] == ("metal", HeldBy.NONE)


def test_a_model_without_tags_says_none():
    (said,) = heard([windows(1)], FixedModel(JAZZ))
    assert (said.tags, said.energy) == ({}, None)


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_song_that_begins_within_a_window_is_repeated_by_the_tagger_s_front_end_too(share):
    model, size = FixedModel(JAZZ, not_music=True), TAGGER.window_samples
    model.manifest = replace(model.manifest, front_end=TAGGER)
    window = noise(4.0, dbfs=-75)[:size]
    sounding = round(share * size)
    window[size - sounding :] += music(4.0)[:sounding]
    (said,) = listen([window], model, ListenerSettings(every=EVERY), now=ManualClock().now)
    assert (said.genre, said.held_by) == ("jazz", HeldBy.NONE)
    (features,) = model.received
    # Moments are as long as at 22,050 Hz, and end where the window does.
    moment = round(1708 * 16_000 / 22_050)
    first = (size - moment * -(-sounding // moment)) // TAGGER.hop
    mel = TAGGER.mel(window)
    assert np.array_equal(features, TAGGER.features(np.resize(mel[first:], mel.shape)))


def test_silence_and_noise_are_detected_by_the_tagger_s_front_end_too():
    model = FixedModel(JAZZ, not_music=True)
    model.manifest = replace(model.manifest, front_end=TAGGER)
    rain, size = noise(7.0, dbfs=-20), TAGGER.window_samples
    begun = np.zeros(size, np.float32)
    begun[-size // 8 :] = music(1.0)[: size // 8]
    for blocks, expected in (
        ([np.zeros(size, np.float32)], HeldBy.SILENCE),
        ([rain[:size]], HeldBy.STEADY_NOISE),
        ([begun], HeldBy.STARTING),
    ):
        (said,) = listen(blocks, model, ListenerSettings(), now=ManualClock().now)
        assert said.held_by == expected
    assert model.received == []


def test_the_confidence_is_that_of_the_genre_that_is_shown():
    said = heard([windows(2)], FixedModel(JAZZ, METAL, not_music=True), smoothing=0.0, lead=0.9)
    assert [(each.genre, each.confidence) for each in said] == [("jazz", 0.8), ("jazz", 0.15)]
    (doubtful,) = heard([windows(1)], FixedModel(SPEECH, not_music=True), smoothing=0.0)
    assert (doubtful.genre, doubtful.confidence) == ("unknown", 0.1), "that of the best genre"
