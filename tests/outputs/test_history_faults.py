"""Each fault of storage, made for real: tmpfs too small or read-only, files of others, deleted and locked."""

import logging
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from headnod.sqlite import ForeignDatabaseError
from support.history_database import estimate, expected, listening, remember, times


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "history.db"


@pytest.fixture
def mount(tmp_path):
    """Mounts a disk of so many KiB; unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small or read-only disk")
    disk = tmp_path / "disk"
    disk.mkdir()

    def mounted(options, *, again=False):
        kind = ["-o", f"remount,{options}"] if again else ["-t", "tmpfs", "-o", options, "none"]
        subprocess.run(["mount", *kind, disk], check=True)
        return disk / "history.db"

    yield mounted
    while os.path.ismount(disk):
        subprocess.run(["umount", disk], check=True)


def test_a_history_of_a_newer_headnod_is_left_alone(path):
    remember(path, range(10))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(ForeignDatabaseError, match=r"history\.db: is of version 2, this headnod supports 1 \(upgrade"):
        remember(path, range(10))
    assert path.read_bytes() == before


def test_the_database_of_another_program_is_left_alone(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE states (id)")
    before = path.read_bytes()
    with pytest.raises(ForeignDatabaseError, match="another program's database"):
        remember(path, range(10))
    assert path.read_bytes() == before


def test_a_file_that_was_deleted_under_the_listener_is_begun_anew(path):
    with listening(path) as history:
        for number in range(100):
            history.show(estimate(number))
        shutil.rmtree(path.parent)
        for number in range(100, 200):
            history.show(estimate(number))
    assert times(path)[-100:] == expected(range(100, 200))


def test_a_program_that_locks_the_file_delays_history_and_loses_nothing(path, caplog):
    with listening(path) as history:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for number in range(25):
                history.show(estimate(number))
            other.execute("ROLLBACK")
        for number in range(25, 50):
            history.show(estimate(number))
        assert times(path)[:25] == expected(range(25))
    assert "database is locked" in caplog.text


def fill(path):
    """Fill the disk beside a file, to the last byte."""
    with (path.parent / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(4096)):
                pass
        except OSError:
            pass


def test_a_full_disk_is_waited_for(mount, caplog):
    path = mount("size=256k")
    with listening(path) as history:
        for number in range(100):
            history.show(estimate(number))
        fill(path)
        for number in range(100, 1000):
            history.show(estimate(number))
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        (path.parent / "ballast").unlink()
        for number in range(1000, 1022):
            history.show(estimate(number))
        assert times(path)[:1000] == expected(range(1000))
    assert 2 <= len(warnings) <= 1 + 45 // 5
    assert all("disk is full" in warning or "No space left" in warning for warning in warnings)


def test_a_disk_that_is_full_at_the_start_is_waited_for(mount, caplog):
    path = mount("size=256k")
    fill(path)
    with listening(path) as history:
        for number in range(100):
            history.show(estimate(number))
        (path.parent / "ballast").unlink()
        for number in range(100, 122):
            history.show(estimate(number))
        assert times(path)[:100] == expected(range(100))
    assert str(path) in caplog.text


def test_a_disk_that_never_has_room_again_costs_bounded_memory_and_no_crash(mount, caplog):
    path = mount("size=256k")
    fill(path)
    with listening(path) as history:
        for number in range(6_800):
            history.show(estimate(number))
    assert "6800 estimates" in caplog.messages[-1]
    assert "are lost" in caplog.messages[-1]


def test_the_newest_hours_are_kept_when_the_disk_was_full_for_longer(mount):
    path = mount("size=2m")
    fill(path)
    with listening(path) as history:
        for number in range(6_800):
            history.show(estimate(number))
        (path.parent / "ballast").unlink()
    assert times(path) == expected(range(2_000, 6_800))


def test_a_read_only_disk_is_waited_for(mount, caplog):
    path = mount("size=1m,ro")
    with listening(path) as history:
        for number in range(100):
            history.show(estimate(number))
        mount("rw", again=True)
        for number in range(100, 122):
            history.show(estimate(number))
        assert times(path)[:100] == expected(range(100))
    assert "Read-only file system" in caplog.text
    assert 1 <= len([record for record in caplog.records if record.levelno == logging.WARNING]) <= 2


def test_a_card_that_turns_read_only_under_the_listener_is_waited_for(mount, caplog):
    path = mount("size=1m")
    with listening(path) as history:
        for number in range(100):
            history.show(estimate(number))
        mount("size=1m,ro")
        for number in range(100, 200):
            history.show(estimate(number))
        mount("rw", again=True)
        for number in range(200, 222):
            history.show(estimate(number))
        assert expected(range(100, 200)) == [time for time in times(path) if time < estimate(200).time][-100:]
    assert "Read-only file system" in caplog.text


def test_history_on_a_read_only_card_can_be_read(mount):
    path = mount("size=1m")
    remember(path, range(100))
    mount("ro", again=True)
    assert times(path) == expected(range(100))
