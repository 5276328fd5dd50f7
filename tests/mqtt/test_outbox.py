"""The outbox: order, bounds, what is on the card when, and disks that fail."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from doubles import Clock
from headnod.mqtt.outbox import HELD, LATE, Outbox

TOPIC, SONG = "headnod/kitchen/estimate", "headnod/kitchen/song"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def boxes(tmp_path, clock):
    """Makes outboxes on one file, the one before as good as dead."""

    def make(*, bound=1000, path=tmp_path / "mqtt.sqlite"):
        return Outbox(path, bound=bound, monotonic=clock.monotonic)

    return make


def put(box, *numbers, topic=TOPIC):
    for number in numbers:
        box.put(topic, b"%d" % number)


def taken(box, count=None, **how):
    """Payloads of the next items, all of them if no count is said."""
    items = []
    while (count is None or len(items) < count) and (item := box.take(**how)) is not None:
        items.append(item)
    return items


def payloads(items):
    return [int(item.payload) for item in items]


def deliver(box, items):
    for item in items:
        box.settle(item.number, delivered=True)


def rows(tmp_path):
    """What a power cut would leave, read by another program."""
    with closing(sqlite3.connect(f"file:{tmp_path}/mqtt.sqlite?mode=ro", uri=True)) as db:
        return [int(payload) for (payload,) in db.execute("SELECT payload FROM queue ORDER BY number")]


def test_items_come_out_in_order(boxes):
    box = boxes()
    put(box, *range(5))
    assert payloads(taken(box)) == [0, 1, 2, 3, 4]


def test_while_the_broker_answers_nothing_is_written(boxes, clock, tmp_path):
    box = boxes()
    before = (tmp_path / "mqtt.sqlite-wal").stat().st_size
    for number in range(100):
        put(box, number)
        deliver(box, taken(box))
        assert box.save_in() is None
        clock.seconds += 3.0
    assert (tmp_path / "mqtt.sqlite-wal").stat().st_size == before
    assert box.counts == (0, 0, 0)


def test_what_is_not_acknowledged_within_seconds_is_due_for_the_disk(boxes, clock):
    box = boxes()
    put(box, 1)
    assert box.save_in() == LATE
    clock.seconds += 3.0
    put(box, 2)
    assert box.save_in() == LATE - 3.0
    clock.seconds += 2.0
    assert box.save_in() == 0.0
    box.save()
    assert box.counts == (2, 2, 0)
    assert box.save_in() is None


def test_what_was_on_its_way_is_written_too(boxes):
    box = boxes()
    put(box, 1, 2)
    taken(box)
    box.save()
    box.close()
    assert payloads(taken(boxes())) == [1, 2]


def test_a_new_start_goes_on_in_order(boxes):
    box = boxes()
    put(box, *range(120))
    box.close()
    box = boxes()
    put(box, *range(120, 130))
    assert payloads(taken(box)) == list(range(130))


def test_fresh_items_wait_for_those_on_disk(boxes):
    box = boxes()
    put(box, *range(70))
    box.save()
    put(box, *range(70, 75))
    box.save()
    put(box, *range(75, 80))
    assert payloads(taken(box)) == list(range(80))


def test_what_was_lost_comes_again_first_and_in_order(boxes):
    box = boxes()
    put(box, *range(10))
    lost = taken(box, 4)
    for item in random.Random(1).sample(lost, 4):
        box.settle(item.number, delivered=False)
    assert payloads(taken(box)) == list(range(10))


def test_an_item_made_under_a_lost_connection_no_longer_belongs_to_one(boxes):
    box = boxes()
    box.put(TOPIC, b"1", connection=3)
    (item,) = taken(box)
    assert item.connection == 3
    box.settle(item.number, delivered=False)
    assert taken(box)[0].connection == 0


def test_delivered_rows_are_deleted_in_batches(boxes, clock, tmp_path):
    box = boxes()
    put(box, *range(10))
    box.save()
    deliver(box, taken(box, 6))
    assert box.counts == (4, 4, 0)
    assert box.save_in() == LATE, "the card is spared"
    clock.seconds += LATE
    box.save()
    box.close()
    assert rows(tmp_path) == [6, 7, 8, 9]


def test_an_acknowledgement_of_what_was_never_taken_changes_nothing(boxes):
    box = boxes()
    put(box, 1)
    box.settle(12345, delivered=True)
    assert box.counts == (1, 0, 0)


def test_a_topic_that_is_held_back_does_not_hold_back_others(boxes):
    box = boxes()
    put(box, 1, 2)
    put(box, 3, topic=SONG)
    box.save()
    put(box, 4)
    assert payloads(taken(box, held=[TOPIC])) == [3]
    assert payloads(taken(box)) == [1, 2, 4]


def test_two_topics_are_taken_by_age(boxes):
    box = boxes()
    for number in range(60):
        put(box, number, topic=SONG if number % 7 == 0 else TOPIC)
    box.save()
    assert payloads(taken(box)) == list(range(60))


def test_over_the_bound_the_oldest_go_and_are_counted(boxes):
    box = boxes(bound=50)
    for number in range(1050):
        put(box, number)
        if number % 10 == 9:
            box.save()
    assert box.counts == (50, 50, 1000)
    assert payloads(taken(box)) == list(range(1000, 1050))
    box.close()
    assert boxes(bound=50).counts == (50, 50, 1000), "what was lost is remembered"


def test_what_is_on_its_way_is_not_discarded(boxes):
    box = boxes(bound=20)
    put(box, *range(20))
    flying = taken(box, 5)
    box.save()
    put(box, *range(20, 40))
    box.save()
    assert box.counts == (20, 20, 20)
    deliver(box, flying)
    assert payloads(taken(box)) == list(range(25, 40))


def test_without_a_place_memory_holds_the_newest(boxes):
    box = boxes(path=None, bound=100_000)
    put(box, *range(HELD + 10))
    assert box.counts == (HELD, 0, 10)
    assert box.save_in() is None
    assert payloads(taken(box, 1)) == [10]


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
        box = Outbox(disk / "mqtt.sqlite", bound=1000, monotonic=clock.monotonic)
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
            box.settle(item.number, delivered=False)
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
    assert "begins anew" in caplog.text
    for item in flying:
        box.settle(item.number, delivered=False)
    assert payloads(taken(box))[:2] == [0, 1]
    assert (tmp_path / "mqtt.sqlite.bad").exists()


def test_every_row_that_was_reported_as_on_disk_survives_a_kill(tmp_path):
    """A process that is killed at any instant: what it said was on disk is there."""
    program = """
import sys
from pathlib import Path
from headnod.mqtt.outbox import Outbox
box = Outbox(Path(sys.argv[1]), bound=10000)
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
        assert len(taken(Outbox(path, bound=10_000))) >= told


def test_a_place_for_a_damaged_file_that_is_taken_is_told_and_memory_holds_the_queue(boxes, tmp_path, caplog):
    (tmp_path / "mqtt.sqlite").write_bytes(b"damaged" * 1000)
    (tmp_path / "mqtt.sqlite.bad" / "of another").mkdir(parents=True)
    box = boxes()
    put(box, 1, 2, 3)
    assert payloads(taken(box)) == [1, 2, 3]
    assert "mqtt.sqlite: is a directory" in caplog.text
