"""A history whose bytes are cut or flipped goes aside, and what is heard after it is remembered."""

import contextlib
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from headnod.outputs.history import check_kind
from headnod.sqlite import DatabaseError, ForeignDatabaseError, move_aside
from support.history_database import estimate, expected, listening, remember, times


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "history.db"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound history of 500 estimates."""
    path = tmp_path_factory.mktemp("sound") / "history.db"
    remember(path, range(500))
    return path.read_bytes()


def cut(content, number):
    return content[: number * 512 % len(content)]


def flipped(content, number):
    rng, damaged = np.random.default_rng(number), bytearray(content)
    for place in rng.integers(len(damaged), size=1 << number % 8):
        damaged[place] = rng.integers(256)
    return bytes(damaged)


@pytest.mark.parametrize("damage", [cut, flipped])
def test_a_damaged_history_never_hinders_a_start(path, sound, damage, caplog):
    path.parent.mkdir()
    aside = 0
    for number in range(100):
        caplog.clear()
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        path.write_bytes(damaged := damage(sound, number))
        remember(path, range(1000, 1050))
        assert times(path)[-50:] == expected(range(1000, 1050)), number
        bad = path.with_name("history.db.bad")
        aside += bad.exists()
        if bad.exists():
            assert bad.read_bytes() == damaged
        assert len([r for r in caplog.records if "a new one is started" in r.message]) == bad.exists()
    assert aside > 30


def test_damage_that_comes_while_listening_loses_nothing_that_waits(path, caplog):
    with listening(path) as history:
        for number in range(100):
            history.show(estimate(number))
        with closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with path.open("r+b") as file:
            file.write(bytes(range(256)) * 16 * 4)
        for number in range(100, 200):
            history.show(estimate(number))
    assert times(path)[-100:] == expected(range(100, 200))
    assert len([record for record in caplog.records if "history.db.bad" in record.message]) == 1


def test_one_damaged_history_is_kept(path):
    for content in (b"first" * 4096, b"second" * 4096):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        remember(path, range(10))
    assert sorted(file.name for file in path.parent.iterdir()) == ["history.db", "history.db.bad"]
    assert path.with_name("history.db.bad").read_bytes() == b"second" * 4096


def test_the_log_of_a_damaged_history_goes_with_it_and_stays_with_no_other(tmp_path):
    path = tmp_path / "history.db"
    for name in (path.name, "history.db-wal", "history.db-shm"):
        (tmp_path / name).write_text(name)
    bad = move_aside(path)
    assert bad.read_text() == "history.db"
    assert (tmp_path / "history.db.bad-wal").read_text() == "history.db-wal"
    path.write_text("another, without a log")
    move_aside(path)
    assert [file.name for file in tmp_path.iterdir()] == ["history.db.bad"]


def test_a_place_for_it_that_is_taken_is_an_error_of_the_history(tmp_path):
    path = tmp_path / "history.db"
    path.touch()
    (tmp_path / "history.db.bad" / "of another").mkdir(parents=True)
    with pytest.raises(DatabaseError, match=r"history\.db: .*directory"):
        move_aside(path)


def test_damage_in_the_name_of_a_table_is_damage(path, sound, caplog):
    path.parent.mkdir()
    path.write_bytes(sound.replace(b"CREATE TABLE songs", b"CREATE \xff\xfe\xfd\xfc\xfb songs"))
    remember(path, range(10))
    assert times(path) == expected(range(10))
    assert "a new one is started" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "foreign"),
    [
        ("history", b"root:x:0:0", True),
        ("history", b"x" * 4_096, True),
        ("history", b"x" * 4_095 + b"\0", False),
        ("history", b"x" * 4_096 + b"\0", True),
        ("history", b"\0" * 4_095, True),
        ("history.txt", b"x" * 4_096, True),
        ("history.db", b"root:x:0:0", False),
        ("history.sqlite", b"root:x:0:0", False),
        ("history.sqlite3", b"root:x:0:0", False),
        ("history", b"SQLite", False),
        ("history", b"", False),
    ],
)
def test_a_file_without_pages_is_of_another_program_unless_its_name_is_that_of_a_database(
    tmp_path, name, content, foreign
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ForeignDatabaseError, match="is not an SQLite") if foreign else contextlib.nullcontext():
        check_kind(tmp_path / name)
