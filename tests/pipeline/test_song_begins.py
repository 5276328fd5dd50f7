"""A song that begins after silence, heard by the shipped model."""

import numpy as np
import pytest

from headnod.pipeline.level import dbfs
from headnod.pipeline.listener import ListenerSettings, listen
from headnod.testing import ManualClock
from support.signals import RATE, noise, scaled

BEGINS = 7.4
"""Seconds of silence: 1.4 s into a window, so half of it sounds."""


def heard(model, sound, *, every=3.0):
    return list(listen([sound], model, ListenerSettings(every=every), now=ManualClock().now))


def after_silence(sound, *, room=-75, seconds=BEGINS):
    hush = np.zeros(round(seconds * RATE), np.float32)
    played = np.concatenate([hush, sound])
    return played + noise(played.size / RATE, dbfs=room)[: played.size]


@pytest.mark.parametrize("room", [-75, -45])
@pytest.mark.parametrize(("every", "within"), [(3.0, 3.0), (1.0, 2.0), pytest.param(0.3, 1.3, marks=pytest.mark.long)])
def test_a_song_is_named_as_soon_as_a_third_of_a_window_sounds(model, demo, every, within, room):
    song = demo[5 * RATE : 14 * RATE]
    said = heard(model, after_silence(scaled(song, -18 - dbfs(song)), room=room), every=every)
    before = [each.genre for each in said if each.seconds <= BEGINS]
    named = [each for each in said if each.named]
    assert set(before) == {"silence"}
    assert named[0].seconds - BEGINS <= within
    assert {each.genre for each in named} == {"metal"}


def test_half_a_second_of_a_song_is_silence_still(model, demo):
    said = heard(model, after_silence(demo[5 * RATE : 12 * RATE], seconds=8.4))
    assert [each.genre for each in said[:4]] == ["silence"] * 3 + ["metal"]
    assert said[2].level > -40


@pytest.mark.parametrize("level", [-20, -40])
def test_a_hiss_that_begins_is_no_song(model, level):
    said = heard(model, after_silence(noise(6.0, dbfs=level)), every=0.5)
    assert not any(each.named for each in said)


def test_a_bang_in_silence_is_no_song(model):
    bang = noise(0.5, dbfs=-10) * np.exp(-np.arange(RATE // 2) / 1500).astype(np.float32)
    said = heard(model, after_silence(np.concatenate([bang, np.zeros(6 * RATE, np.float32)])), every=0.5)
    assert not any(each.named for each in said)
