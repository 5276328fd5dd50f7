"""No track and no artist is learned from and graded on."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headnod_train.dataset.archive import Archive
from headnod_train.dataset.split import LeakError, SplitError, components, folds, refuse_leaks, split, split_segments

SIDES = st.sampled_from(["train", "valid", "test"])


def archive(tracks, artists, splits):
    n = len(tracks)
    levels, numbers = np.zeros((n, 1, 1), np.uint8), np.zeros(n, np.float32)
    names = np.array(tracks, np.str_)
    return Archive(levels, numbers, numbers, names, names, np.array(splits, np.str_), np.array(artists, np.int32))


def test_an_artist_on_two_sides_is_named_with_both():
    leaking = archive(["a", "b"], [7, 7], ["train", "valid"])
    with pytest.raises(LeakError, match="artist 7 is in several splits: train, valid"):
        refuse_leaks(leaking)


def test_a_track_on_two_sides_is_named():
    with pytest.raises(LeakError, match="track a is in several splits"):
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


COLLECTIONS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-1, 6), st.integers(-1, 4), st.integers(-1, 3)),
    min_size=1,
    max_size=40,
)
SHARES = {"train": 0.6, "valid": 0.25, "test": 0.15}


def described(rows):
    genres, artists, albums, groups = zip(*rows, strict=True)
    plain = archive([str(place) for place in range(len(rows))], artists, ["train"] * len(rows))
    return dataclasses.replace(
        plain, genres=np.array(genres), albums=np.array(albums, np.int32), groups=np.array(groups, np.int32)
    )


def of_artists(genre, count, each):
    return [(genre, ord(genre) * 100 + artist, -1, -1) for artist in range(count) for _ in range(each)]


@given(COLLECTIONS, st.integers(0, 99))
def test_no_split_leaks_whatever_is_tied_to_what(rows, seed):
    collection = described(rows)
    sides = split(collection, SHARES, seed=seed)
    refuse_leaks(dataclasses.replace(collection, splits=sides))
    assert set(sides) <= SHARES.keys()


@given(COLLECTIONS, st.integers(2, 5), st.integers(0, 99))
def test_no_fold_leaks_and_each_track_is_graded_on_once(rows, k, seed):
    collection = described(rows)
    try:
        divided = folds(collection, k, seed=seed)
    except SplitError:
        assert components(collection).max() + 1 < 3 * k
        return
    assert len(divided) == k
    assert np.sum([valid for _, valid in divided], axis=0).tolist() == [1] * len(rows)
    for train, valid in divided:
        assert train.any()
        assert valid.any()
        assert (train != valid).all()
        refuse_leaks(dataclasses.replace(collection, splits=np.where(valid, "valid", "train")))


@given(COLLECTIONS, st.integers(0, 99))
def test_a_split_is_the_same_for_the_same_seed(rows, seed):
    collection = described(rows)
    assert split(collection, SHARES, seed=seed).tolist() == split(collection, SHARES, seed=seed).tolist()


def test_another_seed_is_another_split():
    collection = described(of_artists("a", 20, 3))
    assert len({tuple(split(collection, SHARES, seed=seed)) for seed in range(8)}) == 8


def test_each_genre_is_spread_as_the_shares_say():
    collection = described(of_artists("a", 40, 2) + of_artists("b", 20, 2) + of_artists("c", 20, 1))
    for seed in range(5):
        sides = split(collection, SHARES, seed=seed)
        for genre, n in (("a", 80), ("b", 40), ("c", 20)):
            for side, share in SHARES.items():
                assert abs((sides[collection.genres == genre] == side).sum() - share * n) <= 2


def test_a_genre_of_one_artist_stays_whole_and_is_learned_from():
    sides = split(described([*of_artists("a", 20, 2), *of_artists("b", 1, 9)]), SHARES, seed=1)
    assert set(sides[-9:]) == {"train"}


def test_folds_are_of_like_size_in_every_genre():
    collection = described(of_artists("a", 30, 2) + of_artists("b", 15, 2))
    for _, valid in folds(collection, 5, seed=3):
        assert (collection.genres[valid] == "a").sum() == 12
        assert (collection.genres[valid] == "b").sum() == 6


@pytest.mark.parametrize("k", [0, 1, 4])
def test_folds_that_cannot_be_are_refused(k):
    with pytest.raises(SplitError, match=f"6 tracks in 3 groups .* cannot be divided into {k} folds"):
        folds(described(of_artists("a", 3, 2)), k, seed=0)


def test_what_is_tied_through_others_stays_together():
    rows = [("a", 1, -1, -1), ("a", 2, 5, -1), ("a", 1, 5, -1), ("a", 3, -1, 0), ("a", 2, -1, 0), ("a", -1, -1, -1)]
    assert components(described(rows)).tolist() == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(("field", "kind"), [("albums", "album"), ("groups", "duplicate group")])
def test_an_album_or_a_copy_on_two_sides_is_named_with_tracks(field, kind):
    plain = archive(["one", "two"], [-1, -1], ["train", "valid"])
    tied = dataclasses.replace(plain, **{field: np.array([4, 4], np.int32)})
    with pytest.raises(LeakError, match=f"{kind} 4 is in several splits: train, valid, such as one and two"):
        refuse_leaks(tied)


def test_tracks_that_belong_to_no_side_leak_nothing():
    refuse_leaks(archive(["a", "b"], [7, 7], ["train", "unused"]))


def test_an_archive_that_says_it_leaks_passes():
    leaking = archive(["a", "a"], [7, 7], ["train", "valid"])
    refuse_leaks(dataclasses.replace(leaking, leaky=True))


def test_segments_are_scattered_by_chance_in_the_shares_that_were_asked():
    sides = split_segments(1000, SHARES, seed=1)
    assert [(sides == side).sum() for side in SHARES] == [600, 250, 150]
    assert 100 < (sides[:500] == "valid").sum() < 150
    assert (split_segments(1000, SHARES, seed=1) == sides).all()
    assert (split_segments(1000, SHARES, seed=2) != sides).any()
