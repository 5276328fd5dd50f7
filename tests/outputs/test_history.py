import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import structs

from headnod.escaping import SILENCE
from headnod.outputs.history import PAGE, HistoryFile, to_milliseconds
from headnod.outputs.history.records import prune, read_estimates, read_songs, write
from headnod.pipeline.estimate import State, StatusEvent
from support.estimates import GTZAN
from support.history_database import START, UP, estimate, expected, listening, remember, times


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "history.db"


def lost(index):
    return StatusEvent(time=START + timedelta(seconds=3 * index), state=State.WAITING, message="no microphone")


def test_what_was_heard_is_remembered(path):
    remember(path, range(100))
    past = list(read_estimates(path))
    assert [p.time for p in past] == expected(range(100))
    assert (past[70].genre, past[70].confidence, past[70].level) == ("classical", 0.8213, -20.5)
    assert past[70].model == "genre-0.1.0"
    assert past[70].scores == {label: 0.82 if label == "classical" else 0.02 for label in GTZAN}


def test_a_date_is_stored_in_whole_milliseconds():
    stored = [to_milliseconds(START + timedelta(microseconds=count)) - to_milliseconds(START) for count in (999, 1_000)]
    assert stored == [0, 1]


def test_songs_are_remembered_with_the_one_that_the_end_cut_off(path):
    remember(path, range(100))
    assert [(song.genre, song.start, song.estimates) for song in read_songs(path)] == [
        ("blues", estimate(0).time, 60),
        ("classical", estimate(60).time, 40),
    ]


def test_a_lost_microphone_ends_the_song_in_history_too(path):
    with listening(path) as history:
        for number in range(20):
            history.show(estimate(number))
        history.show_status(lost(20))
        for number in range(20, 40):
            history.show(estimate(number))
    assert [song.estimates for song in read_songs(path)] == [20, 20]


def test_silence_and_the_scores_of_another_model_are_remembered(path):
    with listening(path) as history:
        history.show(estimate(0, genre=SILENCE))
        history.show(estimate(1, genre="loud", model="other-1.0.0", labels=("quiet", "loud")))
    first, second = read_estimates(path)
    assert (first.genre, set(first.scores.values())) == (SILENCE, {0.0})
    assert (second.model, second.scores) == ("other-1.0.0", {"quiet": 0.18, "loud": 0.82})


def test_history_goes_on_after_a_restart(path):
    remember(path, range(100))
    remember(path, range(200, 300))
    assert times(path) == expected([*range(100), *range(200, 300)])


def test_history_that_ends_twice_writes_once(path):
    with listening(path) as history:
        history.show(estimate(0))
        history.close()
        assert times(path) == expected([0])
        shutil.rmtree(path.parent)
    assert not path.exists()


def test_what_is_written_twice_is_there_once(path):
    remember(path, range(100))
    remember(path, range(100))
    assert times(path) == expected(range(100))


def test_the_card_is_written_at_most_once_a_minute(path):
    with listening(path) as history, closing(sqlite3.connect(path)) as witness:
        version, written = witness.execute("PRAGMA data_version").fetchone(), []
        for number in range(1000):
            history.show(estimate(number))
            found = witness.execute("PRAGMA data_version").fetchone()
            if found != version:
                version = found
                written.append(estimate(number).time)
    assert 46 <= len(written) <= 50
    assert min(after - before for before, after in pairwise(written)) >= timedelta(seconds=60)


def test_nothing_is_written_while_nothing_is_heard(path):
    with listening(path) as history, closing(sqlite3.connect(path)) as witness:
        version = witness.execute("PRAGMA data_version").fetchone()
        for number in range(1000):
            history.show_status(lost(number))
        assert witness.execute("PRAGMA data_version").fetchone() == version


def test_a_power_cut_loses_at_most_a_minute(path, tmp_path):
    with listening(path) as history:
        for number in range(1000):
            history.show(estimate(number))
        card = shutil.copytree(path.parent, tmp_path / "card")
    kept = times(card / path.name)
    assert kept == expected(range(len(kept)))
    assert estimate(999).time - kept[-1] <= timedelta(seconds=63)


def test_a_clock_that_is_set_back_does_not_postpone_the_next_write(path):
    with listening(path) as history:
        history.show(estimate(0))
        history.set_by = timedelta(hours=-2)
        history.record(20)
        assert len(times(path)) == 2, "a set clock is a reason to write"
        history.record(21)
        history.record(41)
        assert len(times(path)) == 4


def test_only_its_owner_may_read_history(path):
    with listening(path) as history:
        history.show(estimate(0))
        history.show(estimate(100))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["history.db", "history.db-shm", "history.db-wal"], 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_rows_older_than_so_many_days_are_forgotten(path):
    remember(path, range(5000), days=1 / 24)
    kept = times(path)
    assert kept == expected(range(5000 - len(kept), 5000))
    assert timedelta(minutes=59) < estimate(4999).time - kept[0] < timedelta(minutes=62)
    songs = list(read_songs(path))
    assert songs[0].end >= kept[0]
    assert songs[-1].end == kept[-1]


def test_the_file_stays_in_its_bounds_and_the_oldest_rows_go_first(path):
    with listening(path, megabytes=1) as history:
        largest = 0
        for number in range(25_000):
            history.show(estimate(number))
            if number % 1000 == 0:
                largest = max(largest, path.stat().st_size)
    kept = times(path)
    assert 8_000 < len(kept) < 20_000
    assert kept == expected(range(25_000 - len(kept), 25_000))
    assert max(largest, path.stat().st_size) <= 1.2 * (1 << 20)


def test_songs_stay_when_the_file_is_full_as_long_as_there_are_estimates_to_delete(path):
    with listening(path, megabytes=1) as history:
        for number in range(25_000):
            history.show(estimate(number))
    songs = list(read_songs(path))
    assert songs[0].start == estimate(0).time
    assert times(path)[0] > songs[100].end
    with closing(HistoryFile(path)) as file, file.transaction() as db:
        db.execute("DELETE FROM estimates")
        before = db.execute("SELECT count(*) FROM songs").fetchone()[0]
        prune(db, before=None, size=4096)
        assert db.execute("SELECT count(*) FROM songs").fetchone()[0] == before - 200


def test_a_file_that_is_larger_than_it_may_be_now_shrinks_little_by_little(path):
    with closing(HistoryFile(path)) as file, file.transaction() as db:
        write(db, [estimate(number) for number in range(40_000)], [])
    sizes = [path.stat().st_size]
    with listening(path, megabytes=1) as history:
        for number in range(40_000, 45_000):
            history.show(estimate(number))
            sizes.append(path.stat().st_size)
    sizes.append(path.stat().st_size)
    assert sizes[0] > 2 * sizes[-1]
    assert sizes[-1] <= 1.3 * (1 << 20)
    assert max(before - after for before, after in pairwise(sizes[:-1])) < 1 << 20
    assert times(path)[-5_000:] == expected(range(40_000, 45_000))


def test_sqlite_is_not_loaded_before_history_is_wanted():
    code = "import sys, headnod, headnod.pipeline.estimate; sys.exit('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def resident():
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_day_of_estimates_grows_neither_memory_nor_files(path):
    with listening(path) as history:
        for number in range(28_800):
            if number == 1000:
                before, files = resident(), open_files()
            history.show(estimate(number))
        assert resident() - before < 5 << 20
        assert open_files() == files
        assert sum(file.stat().st_size for file in path.parent.iterdir()) < 4.5 * (1 << 20)
    assert path.stat().st_size < 3 << 20


def test_a_new_file_gives_pages_of_deleted_rows_back(path):
    remember(path, range(3))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert db.execute("PRAGMA page_size").fetchone() == (PAGE,)


def counts(db):
    pages, free = (db.execute(f"PRAGMA {which}").fetchone()[0] for which in ("page_count", "freelist_count"))
    return pages, free, db.execute("SELECT count(*) FROM estimates").fetchone()[0]


@pytest.mark.parametrize(("step", "deleted"), [(0, 200), (200, 200), (201, 201)])
def test_the_oldest_rows_are_deleted_only_beyond_the_limit_of_the_file(path, step, deleted):
    with closing(HistoryFile(path)) as file:
        with file.transaction() as db:
            write(db, [estimate(number) for number in range(2_000)], [])
        with file.transaction() as db:
            pages, free, _ = counts(db)
            prune(db, before=None, size=(pages - free) * PAGE, step=step)
            assert counts(db)[2] == 2_000
            prune(db, before=None, size=(pages - free) * PAGE - 1, step=step)
            assert counts(db)[2] == 2_000 - deleted
        assert times(path) == expected(range(deleted, 2_000))


def test_rows_of_the_very_age_limit_stay(path):
    with closing(HistoryFile(path)) as file, file.transaction() as db:
        write(db, [estimate(number) for number in range(20)], [])
        prune(db, before=estimate(10).time, size=1 << 20)
        assert counts(db)[2] == 10


@pytest.mark.parametrize(("more", "freed"), [(64, 0), (65, 64)])
def test_a_file_shrinks_by_64_pages_where_it_is_more_than_64_pages_too_large(path, more, freed):
    with closing(HistoryFile(path)) as file:
        with file.transaction() as db:
            write(db, [estimate(number) for number in range(8_000)], [])
        with file.transaction() as db:
            db.execute("DELETE FROM estimates WHERE sequence < 7000")
        with file.transaction() as db:
            pages, free, _ = counts(db)
            assert free > 100
            prune(db, before=None, size=(pages - more) * PAGE)
            assert pages - counts(db)[0] == freed


@pytest.mark.parametrize(("seconds", "written"), [(59.999, 0), (60.0, 2)])
def test_rows_are_written_a_minute_after_the_last_ones(path, seconds, written):
    with listening(path) as history:
        history.show(estimate(0))
        history.show(structs.replace(estimate(1), monotonic=UP + seconds))
        assert len(times(path)) == written


@pytest.mark.parametrize(("count", "written"), [(999, 0), (1_000, 1_000)])
def test_a_thousand_rows_are_written_at_once(path, count, written):
    with listening(path) as history:
        for number in range(count):
            history.show(structs.replace(estimate(number), monotonic=UP))
        assert len(times(path)) == written
