import csv
import io
import json
import logging
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headnod.errors import ConfigError, UsageError
from headnod.outputs.history import HistoryFile, records
from headnod.outputs.history.records import parse_since, print_history
from headnod.pipeline.estimate import Song
from headnod.sqlite import DamagedDatabaseError, DatabaseError
from support import estimates

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
VIENNA = timezone(timedelta(hours=1))


def ago(**time):
    return NOW - timedelta(**time)


def song(genre, start, *, lasting):
    return Song(start=start, end=start + lasting, genre=genre, stability=0.9333, estimates=42)


SONGS = [
    song("jazz", ago(days=3), lasting=timedelta(minutes=4, seconds=8)),
    song("metal", ago(hours=1), lasting=timedelta(minutes=3)),
    song("hip hop", ago(minutes=90), lasting=timedelta(hours=1, minutes=2, seconds=3)),
]


def estimate(index, scores, model="genre-0.1.0"):
    return structs.replace(
        estimates.estimate(max(scores, key=scores.get)),
        sequence=index,
        time=ago(minutes=10) + timedelta(seconds=3 * index),
        confidence=max(scores.values()),
        scores=scores,
        level=-20.5,
        model=model,
    )


ESTIMATES = [
    estimate(0, {"jazz": 0.75, "metal": 0.25}),
    estimate(1, {"loud": 0.9, "metal": 0.1}, model="other-1.0.0"),
]


def write(path, estimates=(), songs=()):
    with closing(HistoryFile(path)) as file, file.transaction() as db:
        records.write(db, estimates, songs)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "history.db"
    write(path, ESTIMATES, SONGS)
    return path


def printed(path, form="table", *, since=None, of="songs"):
    out = io.StringIO()
    print_history(path, since=since, form=form, of=of, out=out, now=NOW, zone=VIENNA)
    return out.getvalue()


def test_a_person_sees_songs_in_the_order_in_which_they_ended_and_in_local_time(path):
    assert printed(path) == (
        "start                end       genre             stability  duration\n"
        "2026-11-17 13:00:00  13:04:08  jazz                   0.93      4:08\n"
        "2026-11-20 12:00:00  12:03:00  metal                  0.93      3:00\n"
        "2026-11-20 11:30:00  12:32:03  hip hop                0.93   1:02:03\n"
    )


def test_a_person_sees_estimates(path):
    assert printed(path, of="estimates") == (
        "time                 genre             confidence   level  model\n"
        "2026-11-20 12:50:00  jazz                    0.75   -20.5  genre-0.1.0\n"
        "2026-11-20 12:50:03  loud                    0.90   -20.5  other-1.0.0\n"
    )


def test_a_program_reads_songs_as_json_lines(path):
    first = json.loads(printed(path, "json").splitlines()[0])
    assert first == {
        "start": "2026-11-17T12:00:00Z",
        "end": "2026-11-17T12:04:08Z",
        "genre": "jazz",
        "stability": 0.9333,
        "estimates": 42,
        "clock_synchronised": True,
    }


def test_a_program_reads_estimates_as_json_lines(path):
    second = json.loads(printed(path, "json", of="estimates").splitlines()[1])
    assert (second["time"], second["model"]) == ("2026-11-20T11:50:03Z", "other-1.0.0")
    assert second["scores"] == {"loud": 0.9, "metal": 0.1}


def test_a_spreadsheet_reads_songs(path):
    table = list(csv.DictReader(io.StringIO(printed(path, "csv"))))
    assert [row["genre"] for row in table] == ["jazz", "metal", "hip hop"]
    assert datetime.fromisoformat(table[0]["start"]) == ago(days=3)


def test_a_spreadsheet_reads_a_column_a_label_of_any_model(path):
    table = list(csv.DictReader(io.StringIO(printed(path, "csv", of="estimates"))))
    assert [row["scores_metal"] for row in table] == ["0.25", "0.1"]
    assert [row["scores_jazz"] for row in table] == ["0.75", ""]
    assert [row["scores_loud"] for row in table] == ["", "0.9"]


def test_labels_in_any_script_are_remembered_as_they_are(tmp_path):
    label = '日本, "R&B"'
    path = tmp_path / "history.db"
    write(path, [structs.replace(estimate(0, {"jazz": 1.0}), genre=label, scores={label: 0.8, "jazz": 0.2})])
    (row,) = csv.DictReader(io.StringIO(printed(path, "csv", of="estimates")))
    assert (row["genre"], row[f"scores_{label}"]) == (label, "0.8")
    assert json.loads(printed(path, "json", of="estimates"))["scores"] == {label: 0.8, "jazz": 0.2}


def test_columns_of_the_table_stand_under_each_other_whatever_letters_a_label_has(tmp_path):
    path = tmp_path / "history.db"
    write(
        path, songs=[song(each, ago(hours=h), lasting=timedelta(minutes=3)) for h, each in ((2, "日本"), (1, "jazz"))]
    )
    wide, narrow = printed(path, "table").splitlines()[1:]
    assert wide.partition("日本")[2] == narrow.partition("jazz")[2]


def test_only_what_ended_since_then_is_shown(path):
    assert len(printed(path, "json", since="2d").splitlines()) == 2
    assert len(printed(path, "json", since="45m").splitlines()) == 1
    assert printed(path, "json", since="1m") == ""


def test_more_rows_than_are_read_at_once_come_out_once_each_and_in_order(tmp_path):
    path = tmp_path / "history.db"
    write(path, [estimate(index, {"jazz": 1.0, "metal": 0.0}) for index in range(3500)])
    assert [past.time for past in records.read_estimates(path)] == [
        estimate(i, {"jazz": 1.0}).time for i in range(3500)
    ]


def test_a_reader_that_dawdles_sees_what_is_written_meanwhile_and_does_not_hinder_it(tmp_path):
    path = tmp_path / "history.db"
    write(path, [estimate(index, {"jazz": 1.0}) for index in range(1500)])
    reading = records.read_estimates(path)
    next(reading)
    write(path, [estimate(1500, {"jazz": 1.0})])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    assert len(list(reading)) == 1500


def test_a_row_is_damaged_and_the_others_are_shown(path, caplog):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE estimates SET scores = '[750, 2' WHERE sequence = 0")
    with caplog.at_level(logging.WARNING):
        assert len(printed(path, "json", of="estimates").splitlines()) == 1
    assert "1 damaged rows were left out" in caplog.text


def test_a_damaged_file_is_one_error_that_names_it(path):
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DamagedDatabaseError, match=r"history\.db: "):
        printed(path)


def test_a_file_that_is_no_database_is_one_error_that_names_it(path):
    path.write_text("jazz, mostly\n" * 1000)
    with pytest.raises(DamagedDatabaseError, match=r"history\.db: file is not a database"):
        printed(path)


def test_where_there_is_no_history_the_way_to_one_is_reported(tmp_path):
    with pytest.raises(DatabaseError, match="there is no history"):
        printed(tmp_path / "history.db")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90m", ago(minutes=90)),
        ("2h", ago(hours=2)),
        ("3d", ago(days=3)),
        ("1w", ago(weeks=1)),
        ("30s", ago(seconds=30)),
        ("2026-11-20", datetime(2026, 11, 19, 23, tzinfo=UTC)),
        ("2026-11-20T18:30", datetime(2026, 11, 20, 17, 30, tzinfo=UTC)),
        ("2026-11-20 18:30+05:00", datetime(2026, 11, 20, 13, 30, tzinfo=UTC)),
    ],
)
def test_since_is_a_duration_or_a_date_where_the_reader_lives(text, time):
    assert parse_since(text, now=NOW, zone=VIENNA) == time


@pytest.mark.parametrize("text", ["", "yesterday", "2 hours", "-2h", "1.5h", "99999999999999d", "2026-13-01", "٣d"])
def test_any_other_since_is_refused_with_examples(text):
    with pytest.raises(UsageError, match="neither a duration") as refused:
        parse_since(text, now=NOW, zone=VIENNA)
    assert f"'{text}'" in str(refused.value)


@given(st.text(max_size=30))
def test_no_since_is_worse_than_refused(text):
    with suppress(ConfigError):
        assert parse_since(text, now=NOW).tzinfo is UTC


@pytest.mark.parametrize(("later", "shown"), [(0, 2), (1, 1)])
def test_rows_are_read_from_the_very_millisecond_on(path, later, shown):
    since = ESTIMATES[0].time + timedelta(milliseconds=later)
    assert len(list(records.read_estimates(path, since=since))) == shown
    since = SONGS[1].end + timedelta(milliseconds=later)
    assert len(list(records.read_songs(path, since=since))) == shown


def test_scores_are_stored_in_thousandths(tmp_path):
    path = tmp_path / "history.db"
    write(path, [estimate(0, {"jazz": 0.7506, "metal": 0.2494})])
    (past,) = records.read_estimates(path)
    assert past.scores == {"jazz": 0.751, "metal": 0.249}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(59.4, "0:59"), (59.6, "1:00"), (3599.4, "59:59"), (3599.6, "1:00:00"), (36_061.0, "10:01:01")],
)
def test_durations_are_rounded_to_seconds(tmp_path, seconds, shown):
    path = tmp_path / "history.db"
    write(path, songs=[song("jazz", ago(days=1), lasting=timedelta(seconds=seconds))])
    assert printed(path).split()[-1] == shown
