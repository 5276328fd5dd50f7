"""The queue on disk: written messages survive a kill, and a failing disk loses nothing else."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from headnod.mqtt.queue import MessageQueue
from support.mqtt_queue import SONG, TOPIC, payloads, put, rows, taken


def test_a_full_queue_takes_the_room_that_was_planned(boxes, tmp_path):
    box, payload = boxes(bound=2000), bytes(650)
    for number in range(6000):
        box.put(TOPIC, payload)
        if number % 50 == 49:
            box.save()
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    box.close()
    assert box.counts == (2000, 2000, 4000)
    # Pages of 4 KiB hold five rows of so many bytes; the log is a megabyte.
    assert size < 1.2 * (2000 / 5 * 4096) + (1 << 20)


def test_a_file_that_another_listener_has_is_left_alone(boxes, caplog):
    first = boxes()
    put(first, 1)
    first.save()
    second = boxes()
    put(second, 2)
    assert payloads(taken(second)) == [2]
    assert "locked" in caplog.text
    assert first.counts == (1, 1, 0)


def test_only_its_owner_may_read_the_file(boxes, tmp_path):
    box = boxes()
    put(box, 1)
    box.save()
    assert {oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == {"0o600"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_disk_that_fails_costs_nothing_but_memory_and_is_used_again(fault, tmp_path, clock, caplog):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        if fault == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        box = MessageQueue(disk / "mqtt.sqlite", bound=1000, monotonic=clock.monotonic)
        put(box, *range(10))
        box.save()
        if fault == "full":
            (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize))
        for number in range(10, 300):
            box.put(TOPIC, b"%05d" % number + bytes(200))
            clock.seconds += 3.0
            if box.save_in() == 0.0:
                box.save()
        assert box.counts.queued == 300
        assert box.counts.on_disk < 300
        assert sum("held in memory" in record.getMessage() for record in caplog.records) <= 4
        if fault == "full":
            (disk / "ballast").unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        clock.seconds += 60.0
        assert box.save_in() == 0.0
        items = taken(box, 300)
        assert [int(item.payload.rstrip(b"\0")) for item in items] == list(range(300))
        for item in items:
            box.requeue(item.number)
        box.save()
        assert box.counts == (300, 300, 0)
        box.close()
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_moved_aside_and_the_queue_begins_anew(seed, boxes, tmp_path, clock):
    file, rng = tmp_path / "mqtt.sqlite", random.Random(seed)
    box = boxes()
    for number in range(200):
        box.put(TOPIC if number % 3 else SONG, b"%d" % number)
    box.close()
    content = bytearray(file.read_bytes())
    if seed % 2:
        del content[rng.randrange(len(content)) :]
    else:
        for _ in range(rng.choice([1, 40, 4000])):
            content[rng.randrange(len(content))] = rng.randrange(256)
    file.write_bytes(content)
    box = boxes()
    put(box, 1000)
    assert 1000 in [int(item.payload) for item in taken(box) if item.payload.isdigit()]
    clock.seconds += 120.0
    box.save()
    box.save()
    put(box, 1001)
    box.save()
    box.close()
    assert 1001 in [int(item.payload) for item in taken(boxes()) if item.payload.isdigit()]


def test_damage_while_it_runs_loses_nothing_that_memory_has(boxes, tmp_path, clock, caplog):
    box = boxes()
    put(box, *range(5))
    box.save()
    flying = taken(box, 2)
    box.close()
    with (tmp_path / "mqtt.sqlite").open("r+b") as file:
        file.write(bytes(8192))
    put(box, 5, 6)
    clock.seconds += 120.0
    box.save()
    assert "a new queue is started" in caplog.text
    for item in flying:
        box.requeue(item.number)
    assert payloads(taken(box))[:2] == [0, 1]
    assert (tmp_path / "mqtt.sqlite.bad").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE queue SET payload = 'text' WHERE number = 1",
        "UPDATE queue SET payload = 7 WHERE number = 1",
        "UPDATE queue SET topic = x'ff' WHERE number = 1",
        "UPDATE queue SET topic = CAST(x'ff' AS TEXT) WHERE number = 1",
        "UPDATE lost SET discarded = 'many'",
    ],
)
def test_a_row_of_another_type_is_damage_and_what_follows_is_delivered(statement, boxes, tmp_path, caplog):
    box = boxes()
    put(box, 1, 2)
    box.close()
    with closing(sqlite3.connect(tmp_path / "mqtt.sqlite")) as db, db:
        db.execute(statement)
    box = boxes()
    put(box, 3)
    assert payloads(taken(box)) == [3]
    assert "a new queue is started" in caplog.text
    assert (tmp_path / "mqtt.sqlite.bad").exists()


def test_every_row_that_was_reported_as_on_disk_survives_a_kill(tmp_path):
    """A process that is killed at any instant: what it said was on disk is there."""
    program = """
import sys
from contextlib import closing
from pathlib import Path
from headnod.mqtt.queue import MessageQueue
box = MessageQueue(Path(sys.argv[1]), bound=10000)
number = 0
while True:
    for _ in range(7):
        box.put("t", b"%d" % number)
        number += 1
    box.save()
    print(box.counts.on_disk, flush=True)
"""
    for victim in range(5):
        path = tmp_path / f"{victim}.sqlite"
        with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as child:
            for _ in range(5 + victim):
                told = int(child.stdout.readline())
            child.kill()
            told = max([told, *map(int, child.stdout.read().split(b"\n")[:-1])])
        with closing(MessageQueue(path, bound=10_000)) as box:
            assert len(taken(box)) >= told


def test_a_place_for_a_damaged_file_that_is_taken_is_reported_and_memory_holds_the_queue(boxes, tmp_path, caplog):
    (tmp_path / "mqtt.sqlite").write_bytes(b"damaged" * 1000)
    (tmp_path / "mqtt.sqlite.bad" / "of another").mkdir(parents=True)
    box = boxes()
    put(box, 1, 2, 3)
    assert payloads(taken(box)) == [1, 2, 3]
    assert "mqtt.sqlite: is a directory" in caplog.text.lower()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.parametrize("clock_says", ["2027-01-01", "1970-01-02"])
def test_what_is_queued_while_the_file_cannot_be_opened_goes_out_after_its_rows_whatever_the_clock_says(
    tmp_path, clock_says
):
    faketime = shutil.which("faketime") or pytest.skip("faketime is not installed")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = """
import subprocess, sys
from pathlib import Path
from headnod.testing import ManualClock
from headnod.mqtt.queue import MessageQueue
from support.mqtt_queue import payloads, put, taken

disk, clock = Path(sys.argv[1]), ManualClock()
box = MessageQueue(disk / "mqtt.sqlite", bound=1000, monotonic=clock.monotonic)
put(box, *range(100, 200))
first = box.next()
box.requeue(first.number)
subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
clock.seconds += 120.0
box.save()
assert box.counts == (200, 200, 0), box.counts
print(payloads(taken(box)) == list(range(200)))
box.close()
"""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        # As an earlier version numbered its rows: by the wall clock, in microseconds.
        with closing(MessageQueue(disk / "mqtt.sqlite", bound=1000)) as box:
            put(box, *range(100))
        with closing(sqlite3.connect(disk / "mqtt.sqlite")) as db, db:
            db.execute("UPDATE queue SET number = number + 1800000000000000")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        ended = subprocess.run(
            [faketime, clock_says, sys.executable, "-c", script, disk],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.stdout == "True\n", ended.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


def test_two_starts_without_the_file_never_share_a_number(boxes, tmp_path):
    path, away = tmp_path / "mqtt.sqlite", tmp_path / "away"
    for start in range(3):
        path.mkdir()
        box = boxes()
        put(box, *range(10 * start, 10 * start + 10))
        path.rmdir()
        if away.exists():
            away.rename(path)
        box.save()
        box.close()
        path.rename(away)
    away.rename(path)
    assert rows(tmp_path) == list(range(30))
    assert payloads(taken(boxes())) == list(range(30))
