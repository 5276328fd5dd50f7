"""A queue of numbered messages: put in, taken, delivered, and read from its file by another program."""

import sqlite3
from contextlib import closing

TOPIC, SONG = "headnod/kitchen/estimate", "headnod/kitchen/song"


def put(box, *numbers, topic=TOPIC):
    for number in numbers:
        box.put(topic, b"%d" % number)


def taken(box, count=None, **how):
    """Payloads of the next items, all of them if no count is said."""
    items = []
    while (count is None or len(items) < count) and (item := box.next(**how)) is not None:
        items.append(item)
    return items


def payloads(items):
    return [int(item.payload) for item in items]


def deliver(box, items):
    for item in items:
        box.done(item.number)


def rows(tmp_path):
    """What a power cut would leave, read by another program."""
    with closing(sqlite3.connect(f"file:{tmp_path}/mqtt.sqlite?mode=ro", uri=True)) as db:
        return [int(payload) for (payload,) in db.execute("SELECT payload FROM queue ORDER BY number")]
