"""The queue: order, bounds, what is on disk when, and disks that fail."""

import math
import random
import shutil
from contextlib import closing
from itertools import pairwise

import pytest

from headnod.mqtt.queue import HELD, LATE, SYNC, MessageQueue
from support.mqtt_queue import SONG, TOPIC, deliver, payloads, put, rows, taken


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
        assert box.save_in() == math.inf
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
    assert box.save_in() == math.inf


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
        box.requeue(item.number)
    assert payloads(taken(box)) == list(range(10))


def test_an_item_made_under_a_lost_connection_no_longer_belongs_to_one(boxes):
    box = boxes()
    box.put(TOPIC, b"1", connection=3)
    (item,) = taken(box)
    assert item.connection == 3
    box.requeue(item.number)
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
    box.done(12345)
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
    assert (box.counts.queued, box.counts.discarded) == (50, 1000)
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
    assert (box.counts.queued, box.counts.discarded) == (20, 20)
    deliver(box, flying)
    assert payloads(taken(box)) == list(range(25, 40))


def test_without_a_place_memory_holds_the_newest(boxes):
    box = boxes(path=None, bound=100_000)
    put(box, *range(HELD + 10))
    assert box.counts == (HELD, 0, 10)
    assert box.save_in() == math.inf
    assert payloads(taken(box, 1)) == [10]


def test_while_the_broker_is_away_the_card_is_written_within_seconds_and_synced_once_a_minute(boxes, clock, tmp_path):
    box, synced, number, left = boxes(), [], 0, tmp_path / "left"
    left.mkdir()
    while clock.seconds < 4 * SYNC:
        if clock.seconds % 3.0 == 0.0:
            put(box, number)
            number += 1
        if box.save_in() == 0.0:
            before = box.counts.on_disk
            box.save()
            for file in ("mqtt.sqlite", "mqtt.sqlite-wal"):
                shutil.copy(tmp_path / file, left)
            assert rows(left) == list(range(number)), "the end of the process takes nothing that was written"
            if box.counts.on_disk > before:
                synced.append(clock.seconds)
        clock.seconds += 1.0
    assert len(synced) == 4
    assert all(SYNC <= later - sooner < SYNC + LATE for sooner, later in pairwise(synced))


def test_the_last_of_what_was_written_is_synced_although_nothing_follows(boxes, clock):
    box = boxes()
    put(box, 1)
    clock.seconds += LATE
    box.save()
    put(box, 2)
    clock.seconds += LATE
    box.save()
    assert box.counts == (2, 1, 0)
    assert box.save_in() == SYNC - LATE
    clock.seconds += SYNC - LATE
    box.save()
    assert box.counts == (2, 2, 0)
    assert box.save_in() == math.inf


@pytest.mark.parametrize("held", [[], [SONG]])
def test_rows_that_were_lost_come_again_first_and_in_order(boxes, held):
    box = boxes()
    put(box, *range(10))
    box.save()
    lost = taken(box, 4, held=held)
    assert payloads(lost) == [0, 1, 2, 3]
    for item in random.Random(1).sample(lost, 4):
        box.requeue(item.number)
    assert payloads(taken(box)) == list(range(10))


@pytest.mark.parametrize("seed", range(30))
def test_after_any_steps_the_oldest_message_comes_next_and_each_once(boxes, clock, seed):
    rng, box, waiting, in_flight = random.Random(seed), boxes(), [], {}
    for step in range(400):
        clock.seconds += 1.0
        match rng.choices(["put", "next", "done", "requeue", "save", "reopen"], [8, 8, 5, 4, 2, 0.3])[0]:
            case "put":
                topic = rng.choice([TOPIC, TOPIC, SONG])
                put(box, step, topic=topic)
                waiting.append((step, topic))
            case "next":
                held = rng.choice([[], [], [TOPIC], [SONG], [TOPIC, SONG]])
                oldest = next((each for each in waiting if each[0] not in in_flight and each[1] not in held), None)
                item = box.next(held=held)
                assert (item and (int(item.payload), item.topic)) == oldest
                if item is not None:
                    in_flight[int(item.payload)] = item.number
            case "done" if in_flight:
                payload = rng.choice(list(in_flight))
                box.done(in_flight.pop(payload))
                waiting = [each for each in waiting if each[0] != payload]
            case "requeue" if in_flight:
                box.requeue(in_flight.pop(rng.choice(list(in_flight))))
            case "save":
                box.save()
            case "reopen":
                box.close()
                box, in_flight = boxes(), {}
        assert box.counts.queued == len(waiting)
    assert payloads(taken(box)) == [payload for payload, _ in waiting if payload not in in_flight]


def test_the_times_and_sizes_of_the_queue_are_those_of_the_documents(boxes, clock):
    box = boxes(bound=10_000)
    put(box, 1)
    assert box.save_in() == 5.0
    clock.seconds += 5.0
    box.save()
    put(box, 2)
    clock.seconds += 5.0
    box.save()
    assert box.save_in() == 55.0
    memory = boxes(path=None, bound=10_000)
    put(memory, *range(4_801))
    assert memory.counts == (4_800, 0, 1)


def test_a_file_that_cannot_be_used_is_tried_again_after_a_minute(clock, tmp_path):
    path = tmp_path / "mqtt.sqlite"
    path.mkdir()
    with closing(MessageQueue(path, bound=10, monotonic=clock.monotonic)) as box:
        put(box, 1)
        assert box.save_in() == 60.0
        path.rmdir()
        clock.seconds += 60.0
        assert box.save_in() == 0.0
        box.save()
        assert box.counts == (1, 1, 0)


def test_a_message_that_can_never_be_delivered_is_counted_as_lost(boxes):
    box = boxes()
    put(box, 1, 2)
    (first,) = taken(box, 1)
    box.discard(first.number)
    assert box.counts == (1, 0, 1)
    box.save()
    box.close()
    assert boxes().counts == (1, 1, 1)


def test_a_message_is_written_and_synced_in_time_although_the_file_is_replaced(boxes, clock, tmp_path):
    box = boxes()
    put(box, 1)
    box.save()
    box.close()
    with (tmp_path / "mqtt.sqlite").open("r+b") as file:
        file.write(bytes(8_192))
    put(box, 2)
    clock.seconds += 4.5
    box.save()
    assert box.counts == (1, 0, 0)
    assert box.save_in() == 0.5
    clock.seconds += 0.5
    box.save()
    assert box.counts == (1, 1, 0)
