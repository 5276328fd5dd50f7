"""History by a clock that is not synchronised: marked, never pruned by, and dated anew when it is set; one writer."""

import io
import json
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from headnod.outputs.history import HistoryFile, summaries
from headnod.outputs.history.records import print_history, read_estimates, read_songs
from headnod.sqlite import DatabaseError
from support.history_database import START, estimate, expected, listening, remember, times

BEHIND = timedelta(days=-68)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "history.db"


def shown(path, **how):
    out = io.StringIO()
    print_history(path, since=None, out=out, now=START, **how)
    return out.getvalue().splitlines()


def unset(path, numbers, **how):
    """What a listener writes by a clock that is 68 days behind."""
    with listening(path, kept=False, **how) as history:
        history.set_by = BEHIND
        for number in numbers:
            history.record(number)


def test_rows_by_a_clock_that_was_not_synchronised_say_so(path):
    unset(path, range(20))
    assert {past.clock_synchronised for past in [*read_estimates(path), *read_songs(path)]} == {False}
    assert "(clock was not synchronised)" in shown(path, form="table")[1]
    assert json.loads(shown(path, form="json")[0])["clock_synchronised"] is False
    assert shown(path, form="csv", of="estimates")[1].endswith(",false")


def test_rows_by_a_synchronised_clock_say_so_and_need_no_table(path):
    remember(path, range(20))
    assert {past.clock_synchronised for past in [*read_estimates(path), *read_songs(path)]} == {True}
    assert shown(path, form="csv")[1].endswith(",true")
    with closing(sqlite3.connect(path)) as db:
        assert len(db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()) == 3


@pytest.mark.parametrize("kept", [True, False])
def test_rows_get_their_right_dates_when_the_clock_is_set(path, kept):
    with listening(path, kept=False) as history:
        history.set_by = BEHIND
        for number in range(60):
            history.record(number)
        assert times(path)[0] < START + BEHIND + timedelta(hours=1), "written with the date of then"
        history.set_by, history.kept = timedelta(0), kept
        history.record(60)
        assert times(path)[:61] == pytest.approx(expected(range(61)), abs=timedelta(milliseconds=20))
        assert {past.clock_synchronised for past in read_estimates(path)} == {kept}
    (song,) = read_songs(path)
    assert abs(song.start - START) < timedelta(milliseconds=20)
    assert song.clock_synchronised is kept
    with closing(sqlite3.connect(path)) as db:
        (estimates,) = db.execute("SELECT count(*) FROM undated_estimates").fetchone()
        (songs,) = db.execute("SELECT count(*) FROM undated_songs").fetchone()
    assert (estimates, songs) == ((0, 0) if kept else (61, 1))


@pytest.mark.parametrize(("seconds", "left"), [(0.9, 0.9), (1.1, 0.0)])
def test_dates_that_are_less_than_a_second_off_are_not_changed_and_count_as_right(path, seconds, left):
    with listening(path, kept=False) as history:
        history.set_by = timedelta(seconds=-seconds)
        for number in range(60):
            history.record(number)
        history.set_by, history.kept = timedelta(0), True
        history.record(60)
    assert (START - times(path)[0]).total_seconds() == pytest.approx(left, abs=0.01)
    assert {past.clock_synchronised for past in read_estimates(path)} == {True}


def test_songs_that_ended_before_the_clock_was_set_get_their_dates_too(path):
    with listening(path, kept=False) as history:
        history.set_by = BEHIND
        for number in range(130):
            history.record(number, tags={"mellow": 0.8, "guitar": 0.3})
        history.set_by, history.kept = timedelta(0), True
        history.record(130)
    songs = list(read_songs(path))
    assert [song.genre for song in songs] == ["blues", "classical", "country"][: len(songs)]
    assert all(song.clock_synchronised for song in songs)
    assert abs(songs[0].end - estimate(59).time) < timedelta(milliseconds=20)
    assert abs(songs[0].start - estimate(0).time) < timedelta(milliseconds=20)
    assert abs(songs[1].start - estimate(60).time) < timedelta(milliseconds=20)
    whole = summaries.songs(path, START.timestamp(), START.timestamp() + 3600)
    assert [song.tags for song in whole] == [["mellow", "guitar"]] * len(songs)


@pytest.mark.parametrize(("boot", "right"), [("b1", True), ("b2", False)])
def test_the_next_listener_of_the_same_boot_dates_them_and_that_of_another_does_not(path, boot, right):
    unset(path, range(20))
    with listening(path, boot=boot):
        pass
    assert {past.clock_synchronised for past in read_estimates(path)} == {right}
    assert (abs(times(path)[0] - START) < timedelta(seconds=1)) is right


@pytest.mark.parametrize("kept", [False, True])
def test_no_row_is_forgotten_by_a_clock_that_is_not_synchronised(path, kept):
    remember(path, range(40))
    with listening(path, days=1.0, kept=kept) as history:
        history.set_by = timedelta(days=4000)
        for number in range(40, 60):
            history.record(number)
    assert (len(times(path)) == 60) is not kept


def test_rows_without_a_date_outlast_their_age_and_are_not_the_first_to_make_room(path):
    unset(path, range(20), boot="b0")
    with listening(path, days=1.0) as history:
        for number in range(20, 60):
            history.record(number)
    assert len(times(path)) == 60


def test_a_history_of_rows_without_dates_alone_stays_in_its_bounds_too(path):
    unset(path, range(12_000), megabytes=1)
    assert path.stat().st_size <= 1.6 * (1 << 20)
    with closing(sqlite3.connect(path)) as db:
        kept = db.execute("SELECT count(*) FROM estimates").fetchone()[0]
        marked = db.execute("SELECT count(*) FROM undated_estimates").fetchone()[0]
    assert 1_000 < kept < 12_000
    assert marked == kept


def test_two_listeners_do_not_write_one_history(path, caplog):
    with listening(path) as first, listening(path) as second:
        first.show(estimate(0))
        second.show(estimate(1))
        first.show(estimate(30))
        assert times(path) == expected([0, 30])
        assert "another headnod listener writes this history" in caplog.text
        assert "set another history.path" in caplog.text
        first.close()
        second.show(estimate(31))
        assert times(path) == expected([0, 1, 30, 31]), "it goes on where the first has ended"


def test_the_lock_goes_with_the_file_and_readers_need_none(path):
    with closing(HistoryFile(path)):
        with pytest.raises(DatabaseError, match="another headnod listener"):
            HistoryFile(path)
        assert times(path) == []
    HistoryFile(path).close()


def test_two_thousand_dates_are_corrected_with_each_write(path):
    with listening(path, kept=False) as history:
        history.set_by = BEHIND
        for number in range(2_500):
            history.record(number)
        history.set_by, history.kept = timedelta(0), True
        left = []
        for number in (2_500, 2_521):
            history.record(number)
            left.append([past.clock_synchronised for past in read_estimates(path)].count(False))
    # The 2,500th estimate was not written before, and got its right date with the first write.
    assert left == [499, 0]
