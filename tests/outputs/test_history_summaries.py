"""Limits of summaries of the history and of requests for them, on both sides of each."""

import contextlib
import threading
from contextlib import closing
from datetime import UTC, timedelta

import msgspec
import pytest
from msgspec import structs

from headnod.outputs.history import HistoryFile
from headnod.outputs.history.records import write
from headnod.outputs.history.summaries import HistoryQueryError, HistoryRequests, SongSummary, buckets, runs, songs
from headnod.pipeline.estimate import Song
from support.command_line import PATIENCE
from support.history_database import START
from support.history_database import estimate as numbered

NOON = START.timestamp()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.sqlite"


def at(seconds, genre="jazz", **changes):
    """An estimate at so many seconds after noon."""
    changed = structs.replace(numbered(0, genre=genre), time=START + timedelta(seconds=seconds), **changes)
    return structs.replace(changed, sequence=round(1000 * seconds))


def song(start, seconds, genre="jazz", **changes):
    first = START + timedelta(seconds=start)
    made = Song(start=first, end=first + timedelta(seconds=seconds), genre=genre, stability=0.9, estimates=9)
    return structs.replace(made, **changes)


def keep(path, estimates=(), songs=()):
    with closing(HistoryFile(path)) as file, file.transaction() as db:
        write(db, estimates, songs)


def relative(found):
    return [(begin - NOON, end - NOON, genre) for begin, end, genre in found]


@pytest.mark.parametrize(("seconds", "found"), [(60.0, [(0, 63, "jazz")]), (60.1, [(0, 3, "jazz"), (63, 63, "jazz")])])
def test_a_run_continues_after_a_minute_without_an_estimate(path, seconds, found):
    keep(path, [at(0.0), at(3.0), at(3.0 + seconds)])
    assert relative(runs(path, NOON, NOON + 600)) == found


def test_a_run_of_another_genre_begins_where_the_former_ends(path):
    keep(path, [at(0.0), at(3.0), at(6.0, "metal"), at(9.0, "metal")])
    assert relative(runs(path, NOON, NOON + 600)) == [(0, 3, "jazz"), (3, 9, "metal")]


def test_songs_that_touch_are_one_run_and_others_are_not(path):
    keep(path, songs=[song(0, 20), song(20, 20), song(41, 20)])
    assert relative(runs(path, NOON, NOON + 600)) == [(0, 40, "jazz"), (41, 61, "jazz")]


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(0.0, 3.0, 1), (0.0, 3.001, 2), (0.001, 3.001, 1), (-9.0, 0.0, 0), (-9.0, 0.001, 1)],
)
def test_a_timeline_has_the_estimates_from_its_beginning_to_before_its_end(path, first, last, found):
    keep(path, [at(0.0, "jazz"), at(3.0, "metal")])
    assert len(runs(path, NOON + first, NOON + last)) == found


@pytest.mark.parametrize(("runs_written", "found"), [(4_000, 4_000), (4_001, 0)])
def test_a_timeline_of_more_than_4000_runs_is_without_the_short_ones(path, runs_written, found):
    keep(path, [at(4.0 * number, ("jazz", "metal")[number % 2]) for number in range(runs_written)])
    assert len(runs(path, NOON, NOON + 1e5)) == found


@pytest.mark.parametrize(("six", "left"), [(3_990, {6, 12}), (3_991, {12})])
def test_runs_shorter_than_five_seconds_are_left_out_first_and_then_those_shorter_than_ten(path, six, left):
    estimates, time = [], 0.0
    for number, length in enumerate([4.0] * 100 + [6.0] * six + [12.0] * 10):
        estimates += [at(time, str(number)), at(time + length, str(number))]
        time += length + 61.0
    keep(path, estimates)
    assert {end - begin for begin, end, _ in runs(path, NOON, NOON + 1e6)} == left


@pytest.mark.parametrize(
    ("first", "last", "after", "found"),
    [
        (20.0, 99.0, 0.0, 1),
        (20.001, 99.0, 0.0, 0),
        (-9.0, 0.0, 0.0, 0),
        (-9.0, 0.001, 0.0, 1),
        (0.0, 99.0, NOON + 20.0, 0),
        (0.0, 99.0, NOON + 19.999, 1),
    ],
)
def test_a_song_is_listed_in_every_time_that_it_overlaps(path, first, last, after, found):
    keep(path, songs=[song(0, 20)])
    assert len(songs(path, NOON + first, NOON + last, after=after)) == found


@pytest.mark.parametrize(("limit", "found"), [(None, 500), (501, 501)])
def test_500_songs_are_listed_by_default(path, limit, found):
    keep(path, songs=[song(30.0 * number, 20) for number in range(600)])
    chosen = {} if limit is None else {"limit": limit}
    assert len(songs(path, NOON, NOON + 1e6, **chosen)) == found


def test_the_confidence_of_a_song_has_four_digits(path):
    keep(path, [at(0.0, confidence=0.12344), at(3.0, confidence=0.12348), at(4.0, "pop")], [song(0, 20)])
    (listed,) = songs(path, NOON, NOON + 60)
    assert (listed.start, listed.end, listed.confidence) == (NOON, NOON + 20.0, 0.1235)


def test_sums_have_a_tenth_of_a_second_and_count_songs_where_they_begin(path):
    keep(path, songs=[song(-0.04, 20.1), song(3_590, 20.06), song(3_700, 30, "pop")])
    first, second = buckets(path, NOON, NOON + 7_200, "hour", zone=UTC)
    assert (first.start, first.seconds, first.songs) == (NOON, {"jazz": 30.1}, 1)
    assert (second.start, second.seconds, second.songs) == (NOON + 3_600, {"pop": 30.0, "jazz": 10.1}, 1)


def answer(path, room=1 << 16, **query):
    """The page of a request, or the reason why there is none."""
    requests, found, done = HistoryRequests(lambda: path), [], threading.Event()

    def answered(page, reason):
        found.append(page or reason)
        done.set()

    try:
        requests.submit(query, room, answered)
    except HistoryQueryError as error:
        return str(error)
    finally:
        requests.close()
    assert done.wait(PATIENCE)
    return found[0]


DAY = 86_400.0


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"part": "hours", "start": 1.0, "end": 1.0 + 62 * DAY}, ""),
        ({"part": "hours", "start": 1.0, "end": 1.1 + 62 * DAY}, "at most 62 days"),
        ({"part": "days", "start": 1.0, "end": 1.0 + 373 * DAY}, ""),
        ({"part": "days", "start": 1.0, "end": 1.1 + 373 * DAY}, "at most 373 days"),
        ({"part": "timeline", "start": 1.0, "end": 1.0 + 8 * DAY}, ""),
        ({"part": "timeline", "start": 1.0, "end": 1.1 + 8 * DAY}, "at most 8 days"),
        ({"part": "songs", "start": 0.0, "end": 4e9}, ""),
        ({"part": "songs", "start": 0.0, "end": 4.000001e9}, "<= 4000000000.0"),
        ({"part": "songs", "start": -0.1}, ">= 0.0"),
        ({"part": "songs", "start": 10.0, "end": 10.0}, "10 to 10 is not a time"),
        ({"part": "songs", "after": 4.000001e9}, "<= 4000000000.0"),
        ({"part": "songs", "rows": 1}, ""),
        ({"part": "songs", "rows": 500}, ""),
        ({"part": "songs", "rows": 501}, "<= 500"),
        ({"part": "songs", "rows": 0}, ">= 1"),
        ({"part": "songs", "bytes": 512}, ""),
        ({"part": "songs", "bytes": 511}, ">= 512"),
        ({"part": "songs", "bytes": 61_440}, ""),
        ({"part": "songs", "bytes": 61_441}, "<= 61440"),
        ({"part": "songs", "room": 512}, ""),
        ({"part": "songs", "room": 511}, "too small for a history"),
    ],
)
def test_a_request_is_accepted_up_to_its_limits(path, query, reason):
    keep(path, songs=[song(0, 20)])
    found = answer(path, **query)
    assert reason in found if reason else isinstance(found, dict), found


@pytest.mark.parametrize(("spare", "rows"), [(0, 3), (-1, 2)])
def test_a_page_is_as_large_as_its_rows_and_their_brackets(path, spare, rows):
    keep(path, songs=[song(100.0 * number, 20, genre="g" * 64, tags=("a" * 32,) * 3) for number in range(3)])
    whole = answer(path, part="songs")["rows"]
    size = len(msgspec.json.encode(whole)) + 1 + spare
    assert len(answer(path, part="songs", bytes=size)["rows"]) == rows
    assert len(answer(path, part="songs", room=size)["rows"]) == rows


def test_a_row_that_is_larger_than_the_page_is_refused(path):
    keep(path, songs=[song(0, 20, genre="g" * 64, tags=tuple(letter * 64 for letter in "abcdef"))])
    assert answer(path, part="songs", bytes=512) == "a row has more than the 512 bytes that are accepted"


@pytest.mark.parametrize(("rows", "following"), [(1, NOON + 20.0), (2, None)])
def test_a_page_names_the_next_one_where_it_is_full(path, rows, following):
    keep(path, songs=[song(0, 20)])
    assert answer(path, part="songs", rows=rows).get("next") == following


@pytest.mark.parametrize(("rows", "after", "following"), [(1, 0, 1), (2, 0, None), (1, 1, None)])
def test_a_page_of_sums_counts_its_rows(path, rows, after, following):
    keep(path, songs=[song(0, 20), song(3_600, 20)])
    page = answer(path, part="hours", start=NOON, end=NOON + 7_200, rows=rows, after=after)
    assert (len(page["rows"]), page.get("next")) == (min(rows, 2 - after), following)


def test_four_requests_wait_at_once(path):
    keep(path, songs=[song(0, 20)])
    requests, go = HistoryRequests(lambda: path), threading.Event()
    for _ in range(4):
        requests.submit({"part": "firsts"}, 1 << 16, lambda _page, _reason: go.wait(PATIENCE))
    try:
        with pytest.raises(HistoryQueryError, match="4 requests for the history are in progress"):
            requests.submit({"part": "firsts"}, 1 << 16, lambda _page, _reason: None)
    finally:
        go.set()
        requests.close()


SUMMARY = {"start": 0.0, "end": 4e9, "genre": "x", "confidence": 1.0, "stability": 0.0, "tags": ["a"] * 5}


@pytest.mark.parametrize(
    ("changes", "valid"),
    [
        ({}, True),
        ({"genre": "x" * 64, "confidence": 0.0, "stability": 1.0, "tags": ["a" * 64]}, True),
        ({"start": -0.1}, False),
        ({"end": 4.000001e9}, False),
        ({"genre": ""}, False),
        ({"genre": "x" * 65}, False),
        ({"confidence": 1.1}, False),
        ({"stability": -0.1}, False),
        ({"tags": ["a"] * 6}, False),
    ],
)
def test_a_song_of_another_listener_is_accepted_up_to_its_limits(changes, valid):
    with contextlib.nullcontext() if valid else pytest.raises(msgspec.ValidationError):
        msgspec.convert(SUMMARY | changes, SongSummary)
