"""The way of one estimate: from `show` to the broker and back, in few calls and few files."""

import threading

from benchmarks.calls import CallCounter
from support.mqtt_publisher import numbered_estimate, online, until


def test_an_estimate_and_its_state_take_at_most_80_calls_in_8_files_to_the_broker_and_back(
    subscriber, started, tmp_path
):
    counter = CallCounter()
    with counter.profiled_threads():
        mqtt = started(tmp_path / "mqtt.sqlite")
    online(subscriber)
    for number in range(3):
        published = mqtt.health().published
        mqtt.show(numbered_estimate(number))
        until(lambda published=published: mqtt.health().published > published)
    with counter.counting():
        mqtt.show(numbered_estimate(3))
        subscriber.until(lambda message: message.topic.endswith("/state") and b'"seq":3,' in message.payload, 60.0)
        until(lambda: counter.functions["mqtt/queue.py", "MessageQueue.done"] == 1)
        # Until the thread waits for the next event.
        threading.Event().wait(0.2)
    assert mqtt.health().published == 4
    assert counter.calls <= 80, counter.table()
    assert counter.files <= 8, counter.table()
