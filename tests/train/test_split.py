"""No track and no artist is learned from and graded on."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod_train.archive import Archive
from headnod_train.split import LeakError, refuse_leaks

SIDES = st.sampled_from(["train", "valid", "test"])


def archive(tracks, artists, splits):
    n = len(tracks)
    levels, numbers = np.zeros((n, 1, 1), np.uint8), np.zeros(n, np.float32)
    names = np.array(tracks, np.str_)
    return Archive(levels, numbers, numbers, names, names, np.array(splits, np.str_), np.array(artists, np.int32))


def test_an_artist_on_two_sides_is_named_with_both():
    leaking = archive(["a", "b"], [7, 7], ["train", "valid"])
    with pytest.raises(LeakError, match="artist 7 stands on two sides: train, valid"):
        refuse_leaks(leaking)


def test_a_track_on_two_sides_is_named():
    with pytest.raises(LeakError, match="track a stands on two sides"):
        refuse_leaks(archive(["a", "a"], [-1, -1], ["train", "valid"]))


def test_unknown_artists_may_stand_on_any_side():
    refuse_leaks(archive(["a", "b"], [-1, -1], ["train", "valid"]))


@given(st.lists(st.tuples(st.integers(0, 4), SIDES), min_size=1, max_size=12))
def test_a_split_passes_exactly_when_every_artist_stays_on_one_side(rows):
    artists, splits = zip(*rows, strict=True)
    split = archive([str(place) for place in range(len(rows))], artists, splits)
    leaks = any(len({side for who, side in rows if who == artist}) > 1 for artist in artists)
    if leaks:
        with pytest.raises(LeakError):
            refuse_leaks(split)
    else:
        refuse_leaks(split)


@given(st.dictionaries(st.integers(0, 9), SIDES, min_size=2), st.data())
def test_moving_one_track_of_an_artist_to_another_side_is_always_caught(sides, data):
    artists = [artist for artist in sides for _ in range(2)]
    splits = [sides[artist] for artist in artists]
    whole = archive([str(place) for place in range(len(artists))], artists, splits)
    refuse_leaks(whole)
    moved = data.draw(st.integers(0, len(artists) - 1))
    splits[moved] = data.draw(SIDES.filter(lambda side: side != splits[moved]))
    with pytest.raises(LeakError, match=f"artist {artists[moved]} "):
        refuse_leaks(dataclasses.replace(whole, splits=np.array(splits)))
