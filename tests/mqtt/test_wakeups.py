"""Wake-ups: an estimate wakes one thread, and silence wakes none."""

import threading
from pathlib import Path

import pytest

from support.mqtt_broker import Subscriber
from support.mqtt_connection import connected
from support.mqtt_connection import until as until_link
from support.mqtt_publisher import PATIENCE, numbered_estimate, online, until

ESTIMATES = 10


def slept(name):
    """How often the threads whose names begin so went to sleep of themselves so far."""
    return sum(
        int(line.split()[1])
        for thread in threading.enumerate()
        if thread.name.startswith(name)
        for line in Path(f"/proc/self/task/{thread.native_id}/status").read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )


def show_in_peace(mqtt, count):
    """Show estimates, each when the one before has arrived and everybody sleeps again."""
    for number in range(count):
        before = mqtt.health().published
        mqtt.show(numbered_estimate(number))
        until(lambda before=before: mqtt.health().published > before)


def test_an_estimate_and_the_state_wake_the_one_thread_of_mqtt_together(subscriber, started, tmp_path):
    mqtt = started(tmp_path / "mqtt.sqlite")
    online(subscriber)
    show_in_peace(mqtt, 1)
    assert sum(thread.name.startswith("MQTT") for thread in threading.enumerate()) == 1
    before = slept("MQTT")
    show_in_peace(mqtt, ESTIMATES)
    # Once to send them, once or twice to hear that they have arrived; and sometimes Python is another thread's.
    assert slept("MQTT") - before < 8 * ESTIMATES


@pytest.mark.long
def test_a_link_without_anything_to_say_sleeps_for_as_long_as_it_may_be_silent(broker, linked):
    until_link(linked(broker, keepalive=30), connected)
    threading.Event().wait(0.5)
    before = slept("MQTT")
    threading.Event().wait(8.0)
    assert slept("MQTT") - before <= 1


@pytest.mark.long
def test_what_a_frozen_broker_holds_is_on_disk_within_seconds_although_nothing_else_happens(
    broker, subscriber, started, tmp_path
):
    # No keepalive wakes the thread before.
    mqtt = started(tmp_path / "mqtt.sqlite", keepalive=600, health_every=600.0)
    online(subscriber)
    show_in_peace(mqtt, 1)
    broker.freeze()
    mqtt.show(numbered_estimate(1))
    until(lambda: mqtt.health().queued_on_disk == 1)
    broker.thaw()
    until(lambda: mqtt.health().queued == 0)


@pytest.mark.long
def test_a_silent_connection_is_asked_whether_it_lives_and_stays(broker, linked):
    link = until_link(linked(broker, keepalive=1), connected)
    with Subscriber(broker) as subscriber:
        # Twice the keepalive, after which a broker ends a connection that says nothing.
        threading.Event().wait(3.5)
        link.publish("a/b", b"1")
        assert subscriber.until_on("a/b", 1, PATIENCE) == [b"1"]
    assert broker.log.count("exceeded timeout") == 0
