from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headnod.escaping import SILENCE, UNKNOWN
from headnod.pipeline.estimate import Song, SongSegmenter, SongSettings, State, StatusEvent
from headnod.pipeline.smoothing import Smoother
from support.estimates import estimate

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
LABELS = ("blues", "jazz", "metal")
ANYTHING = (*LABELS, SILENCE, UNKNOWN)


def heard(genre, index, **other):
    when = {"time": START + timedelta(seconds=3 * index), "seconds": 3.0 * index, "monotonic": 100 + 3.0 * index}
    return structs.replace(estimate(genre, jazz=0.8), sequence=index, **(when | other))


def songs(*runs, settings=None):
    """What is told of runs of (genre, estimates), and what was still going on."""
    genres = [genre for genre, count in runs for _ in range(count)]
    cutter = SongSegmenter(settings or SongSettings())
    told = [cutter.update(heard(genre, index)) for index, genre in enumerate(genres)]
    return [song for song in [*told, cutter.finish()] if song]


def test_a_song_has_the_tags_that_were_most_probable_while_its_genre_was_named():
    cutter = SongSegmenter(SongSettings())
    for index in range(10):
        cutter.update(heard("jazz", index, tags={"mellow": 0.5, f"rare {index}": 0.6}))
    cutter.update(heard(UNKNOWN, 10, tags={"loud": 99.0}))
    song = cutter.finish()
    assert (len(song.tags), song.tags[0]) == (5, "mellow")
    assert "loud" not in song.tags


def genres(*runs):
    return [song.genre for song in songs(*runs)]


def of_times(*named):
    """Genres of the songs of estimates at these seconds."""
    cutter = SongSegmenter(SongSettings())
    when = [
        heard(genre, index, seconds=at, monotonic=100.0 + at, time=START + timedelta(seconds=at))
        for index, (at, genre) in enumerate(named)
    ]
    return [song.genre for song in [*map(cutter.update, when), cutter.finish()] if song]


@pytest.mark.parametrize(("hold", "split"), [(7.9, ["jazz"]), (8.0, ["jazz", "jazz"])])
def test_another_genre_that_held_for_eight_seconds_was_another_song(hold, split):
    first, other = [(0.0, "jazz"), (20.0, "jazz")], [(40.0, "metal"), (40.0 + hold, "metal")]
    assert of_times(*first, *other, (48.5, "jazz"), (60.0, "jazz"), (70.0, "jazz")) == split


@pytest.mark.parametrize(("pause", "split"), [(7.0, ["jazz"]), (7.1, ["jazz", "jazz"])])
def test_silence_of_more_than_seven_seconds_ends_a_song(pause, split):
    first, second = [(0.0, "jazz"), (20.0, "jazz")], [(20.5 + pause, "jazz"), (40.5 + pause, "jazz")]
    assert of_times(*first, (20.0 + pause, SILENCE), *second) == split


@pytest.mark.parametrize(("doubt", "split"), [(60.0, ["jazz"]), (60.1, ["jazz", "jazz"])])
def test_a_minute_without_its_genre_does_not_end_a_song_and_more_does(doubt, split):
    first, second = [(0.0, "jazz"), (20.0, "jazz")], [(80.5, "jazz"), (100.0, "jazz")]
    assert of_times(*first, (20.0 + doubt, UNKNOWN), *second) == split


@pytest.mark.parametrize(("seconds", "told"), [(14.9, []), (15.0, ["jazz"])])
def test_a_song_of_fifteen_seconds_is_reported(seconds, told):
    assert of_times((0.0, "jazz"), (seconds, "jazz")) == told


def test_a_tag_is_as_probable_as_all_its_estimates_together():
    cutter = SongSegmenter(SongSettings())
    for index, tags in enumerate([{"often": 0.3}, {"often": 0.3}, {"late": 0.5}] + [{}] * 4):
        cutter.update(heard("jazz", index, tags=tags))
    assert cutter.finish().tags == ("often", "late")


def test_a_song_runs_from_the_first_to_the_last_estimate_that_names_it():
    (song,) = songs((UNKNOWN, 3), ("jazz", 10), (UNKNOWN, 1), ("jazz", 9), (UNKNOWN, 5))
    assert song == Song(
        start=START + timedelta(seconds=9),
        end=START + timedelta(seconds=66),
        genre="jazz",
        stability=0.95,
        estimates=20,
        sequence=3,
        seconds=57.0,
        started_monotonic=109.0,
        ended_monotonic=166.0,
    )


def test_a_new_song_begins_where_the_new_genre_was_first_named():
    jazz, metal = songs(("jazz", 10), ("metal", 10))
    assert (jazz.genre, jazz.end) == ("jazz", START + timedelta(seconds=27))
    assert (metal.genre, metal.start) == ("metal", START + timedelta(seconds=30))


def test_a_song_is_reported_as_soon_as_the_next_has_held():
    cutter = SongSegmenter(SongSettings(hold=8.0))
    told = [cutter.update(heard(genre, index)) for index, genre in enumerate(["jazz"] * 10 + ["metal"] * 10)]
    assert [index for index, song in enumerate(told) if song] == [13]


@pytest.mark.parametrize("stray", [1, 2, 3])
def test_a_few_stray_estimates_do_not_split_a_song(stray):
    (song,) = songs(("jazz", 20), ("metal", stray), ("jazz", 20))
    assert song.stability == pytest.approx(40 / (40 + stray), abs=1e-4)


def test_strays_of_different_genres_do_not_add_up_to_a_change():
    assert genres(("jazz", 10), ("metal", 3), ("blues", 3), ("jazz", 10)) == ["jazz"]


def test_strays_of_one_genre_do_not_add_up_while_the_song_goes_on():
    assert genres(("jazz", 10), *[("metal", 2), ("jazz", 3)] * 5) == ["jazz"]


def test_doubt_between_namings_does_not_hinder_a_change():
    assert genres(("jazz", 10), ("metal", 2), (UNKNOWN, 1), ("metal", 7)) == ["jazz", "metal"]


def test_unknown_continues_a_song():
    assert genres(("jazz", 10), (UNKNOWN, 15), ("jazz", 10)) == ["jazz"]


def test_doubt_without_end_does_not():
    first, second = songs(("jazz", 10), (UNKNOWN, 1000), ("jazz", 10))
    assert first.estimates == second.estimates == 10


def test_a_genre_that_only_flickers_gives_way_after_a_while():
    assert genres(("jazz", 10), *[("metal", 2), ("blues", 2)] * 6, ("blues", 10)) == ["jazz", "blues"]


@pytest.mark.parametrize(("hush", "told"), [(1, 1), (2, 1), (3, 2), (30, 2)])
def test_silence_of_more_than_two_estimates_ends_a_song(hush, told):
    assert len(songs(("jazz", 10), (SILENCE, hush), ("jazz", 10))) == told


def test_a_short_song_is_not_told():
    settings = SongSettings(shortest=15.0)
    assert not songs(("jazz", 5), settings=settings)
    assert songs(("jazz", 6), settings=settings)


def test_a_lost_microphone_ends_a_song_and_dropped_samples_do_not():
    cutter = SongSegmenter(SongSettings())
    for index in range(10):
        cutter.update(heard("jazz", index))
    assert cutter.interrupt(StatusEvent(time=START, state=State.BEHIND, message="")) is None
    assert cutter.interrupt(StatusEvent(time=START, state=State.WAITING, message="")).estimates == 10
    assert cutter.interrupt(StatusEvent(time=START, state=State.WAITING, message="")) is None


@pytest.mark.parametrize("jump", [timedelta(days=68), timedelta(seconds=50), -timedelta(hours=1)])
def test_a_clock_that_is_set_neither_ends_a_song_nor_changes_its_length(jump):
    cutter = SongSegmenter(SongSettings())
    for index in range(20):
        set_by = jump if index >= 10 else timedelta(0)
        assert cutter.update(heard("jazz", index, time=START + timedelta(seconds=3 * index) + set_by)) is None
    song = cutter.finish()
    assert (song.seconds, song.estimates) == (57.0, 20)
    assert (song.start, song.end) == (START + jump, START + jump + timedelta(seconds=57)), "by the clock that is right"


@pytest.mark.parametrize(("late", "songs_told"), [(60.0, 1), (60.1, 2), (-3.1, 2)])
def test_a_song_does_not_reach_across_a_minute_that_nobody_listened_to(late, songs_told):
    cutter = SongSegmenter(SongSettings())
    told = [
        cutter.update(heard("jazz", index, monotonic=100 + 3.0 * index + (late if index >= 10 else 0.0)))
        for index in range(20)
    ]
    assert len([song for song in [*told, cutter.finish()] if song]) == songs_told


@pytest.mark.parametrize("from_", [5, 20])
def test_the_dates_of_a_song_are_believed_if_the_clock_was_right_at_its_end(from_):
    cutter = SongSegmenter(SongSettings())
    for index in range(10):
        cutter.update(heard("jazz", index, clock_synchronised=index >= from_))
    assert cutter.finish().clock_synchronised is (from_ == 5)


def test_lengths_are_those_of_the_audio_when_a_file_is_heard_in_a_blink():
    cutter = SongSegmenter(SongSettings())
    blink = ({"time": START + timedelta(milliseconds=each), "monotonic": 100 + each / 1000} for each in range(10))
    hurried = (heard("jazz", index, **times) for index, times in enumerate(blink))
    assert [cutter.update(quick) for quick in hurried] == [None] * 10
    song = cutter.finish()
    assert (song.estimates, song.seconds) == (10, 27.0)


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_of_doubtful_windows_split_a_song_at_most_twice(seed):
    rng = np.random.default_rng(seed)
    smoother, cutter = Smoother(seconds=12.0, every=3.0), SongSegmenter(SongSettings())
    told, wrong = [], 0
    for index in range(200):
        scores = rng.dirichlet((1.0, 2.5, 1.0)).astype(np.float32)
        wrong += scores.argmax() != 1
        smooth = smoother.update(scores)
        told.append(cutter.update(heard(LABELS[smooth.argmax()] if smooth.max() > 0.45 else UNKNOWN, index)))
    told.append(cutter.finish())
    assert wrong > 30
    assert len([song for song in told if song]) <= 3


RUNS = st.lists(st.tuples(st.sampled_from(ANYTHING), st.integers(1, 30)), max_size=20)


@given(RUNS)
def test_songs_are_in_order_and_never_overlap(runs):
    told = songs(*runs)
    assert all(song.start < song.end for song in told)
    assert all(before.end < after.start for before, after in pairwise(told))


@given(RUNS)
def test_a_song_begins_and_ends_where_its_genre_was_named_and_counts_what_is_between(runs):
    all_heard = [genre for genre, count in runs for _ in range(count)]
    for song in songs(*runs):
        first, last = ((time - START) // timedelta(seconds=3) for time in (song.start, song.end))
        inside = all_heard[first : last + 1]
        assert inside[0] == inside[-1] == song.genre
        assert song.estimates == len(inside)
        assert song.stability == pytest.approx(inside.count(song.genre) / len(inside), abs=1e-4)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ANYTHING),
            st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
            st.floats(0, 1e6),
            st.floats(0, 1e6),
        ),
        max_size=40,
    )
)
def test_no_clock_makes_a_song_end_before_it_begins(all_heard):
    cutter = SongSegmenter(SongSettings(shortest=0.0))
    told = [
        cutter.update(heard(genre, index, time=time, seconds=seconds, monotonic=monotonic))
        for index, (genre, time, seconds, monotonic) in enumerate(all_heard)
    ]
    assert all(song.start <= song.end for song in [*told, cutter.finish()] if song)


@pytest.mark.parametrize(("step", "told"), [(0.0, 1), (-0.001, 0)])
def test_a_monotonic_clock_that_stands_continues_a_song_and_one_that_steps_back_ends_it(step, told):
    """Ten estimates of one song, each `step` seconds after the one before by the monotonic clock."""
    cutter = SongSegmenter(SongSettings())
    said = [cutter.update(heard("jazz", index, monotonic=100.0 + step * index)) for index in range(10)]
    assert len([song for song in [*said, cutter.finish()] if song]) == told


def test_numbers_of_a_song_are_rounded():
    cutter = SongSegmenter(SongSettings())
    for index, genre in enumerate(["jazz", UNKNOWN, "jazz"]):
        cutter.update(heard(genre, index, seconds=10.00049 * index))
    song = cutter.finish()
    assert (song.stability, song.seconds) == (0.6667, 20.001)
