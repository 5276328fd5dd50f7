"""What the publisher publishes, and when, through a real broker."""

import statistics
import threading
import time

from headnod.escaping import SILENCE
from support.mqtt_broker import Broker, Subscriber
from support.mqtt_publisher import (
    BEGAN,
    EVERY,
    PATIENCE,
    TOPICS,
    Ahead,
    decoded,
    numbered_estimate,
    online,
    publisher,
    saves,
    sequences,
    until,
    without_repeats,
)


def test_an_estimate_is_published_once_and_is_the_state_too(subscriber, started):
    mqtt = started()
    online(subscriber)
    mqtt.show(numbered_estimate(7))
    (estimate,) = decoded(subscriber.until_on("/estimate", 1, PATIENCE))
    (state,) = decoded(subscriber.until_on("/state", 1, PATIENCE))
    assert estimate == state
    assert estimate["id"] == "kitchen-b007-7"
    assert estimate["replayed"] is False
    assert estimate["scores_jazz"] == 0.9


def test_an_estimate_expires_at_the_broker_after_a_day(subscriber, started):
    mqtt = started()
    online(subscriber)
    mqtt.show(numbered_estimate(0))
    estimate = subscriber.until(lambda message: message.topic == TOPICS.estimate, PATIENCE)
    assert 86_000 < estimate.properties.MessageExpiryInterval <= 86_400


def test_a_song_is_reported_when_it_ends(subscriber, started):
    mqtt = started()
    online(subscriber)
    for number in range(3, 13):
        mqtt.show(numbered_estimate(number))
    for number in range(13, 18):
        mqtt.show(numbered_estimate(number, SILENCE))
    (song,) = decoded(subscriber.until_on("/song", 1, PATIENCE))
    assert song["id"] == "kitchen-b007-3"
    assert song["genre"] == "jazz"
    assert song["duration_s"] == 9 * EVERY
    assert song["stability"] == 1.0
    assert song["replayed"] is False


def test_a_song_of_two_hours_is_reported_too(tmp_path, opened):
    broker = opened.enter_context(Broker(tmp_path / "quick", durable=False))
    subscriber = opened.enter_context(Subscriber(broker, "+/+/song"))
    mqtt = publisher(broker, rate=2000.0)
    opened.callback(mqtt.close)
    mqtt.start()
    for number in range(2400):
        mqtt.show(numbered_estimate(number))
    for number in range(2400, 2405):
        mqtt.show(numbered_estimate(number, SILENCE))
    (song,) = decoded(subscriber.until_on("/song", 1, 60.0))
    assert song["id"] == "kitchen-b007-0"
    assert song["duration_s"] == 2399 * EVERY


def test_the_song_that_plays_at_the_end_is_reported_too(subscriber, started):
    mqtt = started()
    online(subscriber)
    for number in range(10):
        mqtt.show(numbered_estimate(number))
    mqtt.close()
    assert len(subscriber.until_on("/song", 1, PATIENCE)) == 1
    assert sequences(subscriber.on("/estimate")) == list(range(10))


def test_showing_never_waits_for_a_frozen_broker_which_gets_all_when_it_thaws(broker, subscriber, started, tmp_path):
    ahead = Ahead()
    mqtt = started(tmp_path / "mqtt.sqlite", keepalive=1, rate=400.0, ahead=ahead)
    for number in range(5):
        mqtt.show(numbered_estimate(number))
    until(lambda: mqtt.health().published == 5)
    broker.freeze()
    times, end = [], time.monotonic() + 2.5
    while time.monotonic() < end:
        began = time.perf_counter()
        mqtt.show(numbered_estimate(5 + len(times)))
        times.append(time.perf_counter() - began)
        threading.Event().wait(0.02)
    # A busy machine delays some calls; waiting for the broker would take a second in most of them.
    assert statistics.median(times) < 0.5
    saves(mqtt, ahead, len(times))
    broker.thaw()
    count = 5 + len(times)
    until(lambda: len(set(sequences(subscriber.on("/estimate")))) == count, 60.0)
    assert without_repeats(sequences(subscriber.on("/estimate"))) == list(range(count))


def test_what_the_access_list_refuses_is_counted_kept_and_delivered_when_it_is_allowed(tmp_path, opened):
    acl = "user kitchen\ntopic write headnod/kitchen/{}\nuser all\ntopic readwrite #\n"
    users = {"kitchen": "secret", "all": "secret"}
    broker = opened.enter_context(Broker(tmp_path / "strict", users=users, acl=acl.format("song")))
    subscriber = opened.enter_context(Subscriber(broker, user="all", password="secret"))
    mqtt = publisher(broker, tmp_path / "mqtt.sqlite", username="kitchen", password="secret")
    opened.callback(mqtt.close)
    mqtt.start()
    for number in range(10):
        mqtt.show(numbered_estimate(number))
    for number in range(10, 15):
        mqtt.show(numbered_estimate(number, SILENCE))
    subscriber.until_on("/song", 1, PATIENCE)
    until(lambda: mqtt.health().refused >= 1 and mqtt.health().published == 1)
    assert mqtt.health().queued == 15
    broker.allow(acl.format("#"))
    broker.restart()
    assert sequences(subscriber.until_on("/estimate", 15, PATIENCE)) == list(range(15))
    assert decoded(subscriber.on("/estimate"))[0]["replayed"] is True
    until(lambda: mqtt.health().published == 16)
    assert mqtt.health().queued == 0


def test_times_are_those_of_the_estimates(subscriber, started):
    mqtt = started()
    online(subscriber)
    mqtt.show(numbered_estimate(100))
    (estimate,) = decoded(subscriber.until_on("/estimate", 1, PATIENCE))
    assert estimate["time_unix"] == BEGAN.timestamp() + 300.0
    assert estimate["monotonic"] == 300.0
